"""Deltas: how the counts of each class change as the threshold falls.

A criterion (intersection, collar, segment) turns detections into rows "in this clip, at this threshold, so many true
positives and false alarms more (or fewer)". Summed from the highest threshold down they are the counts at every
threshold. Rows keep their clip: weighing them by how often a clip was drawn gives the counts of a bootstrap sample
without matching anything again. (J. Ebbers et al., "Threshold independent evaluation of sound event detection scores",
ICASSP 2022, introduces such deltas.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from itertools import islice, pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError
from desed_task.events import EventTable
from desed_task.metrics.detections import PointDetections, ScoreBatch, batch_scores, gather_points
from desed_task.metrics.limits import Limits
from desed_task.metrics.truth import Truth
from desed_task.scores import ScoreTable

Thresholds = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CrossRows:
    """Cross-triggers: detections of class `label` that fail and lie in events of class `other`. All (rows,).

    count: how many more, or what they are worth (see `Intersection.rates`).
    """

    label: NDArray[np.int32]
    threshold: Thresholds
    clip: NDArray[np.int32]
    other: NDArray[np.int32]
    count: NDArray[np.int32] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DeltaRows:
    """What one batch of clips adds; all (rows,), in any order."""

    label: NDArray[np.int32]
    threshold: Thresholds
    clip: NDArray[np.int32]
    true_positives: NDArray[np.int32]
    false_positives: NDArray[np.int32]
    cross: CrossRows | None = None


@dataclass(frozen=True, eq=False)
class Deltas:
    """Rows sorted by class and then from the highest threshold down; first_row: (classes + 1,), those of each class.

    first_cross: (classes + 1,) likewise for the cross-triggers. num_reference: (clips, classes) items that the
    reference holds, events or segments. max_false_alarms: rows beyond so many false alarms of a class are left out;
    None: all are there.
    """

    rows: DeltaRows
    first_row: NDArray[np.int64]
    cross: CrossRows | None
    first_cross: NDArray[np.int64]
    num_reference: NDArray[np.int32]
    truth: Truth
    max_false_alarms: int | None = None


class Criterion(Protocol):
    """When a detection counts as right. Frozen dataclasses of numbers, so that they can be named and compared."""

    def match_batch(self, batch: ScoreBatch, truth: Truth) -> DeltaRows:
        """All thresholds of a few clips."""

    def match_points(self, points: PointDetections, truth: Truth) -> DeltaRows:
        """Given operating points of all clips."""

    def count_reference(self, truth: Truth) -> NDArray[np.int32]:
        """(clips, classes) items of the reference."""


def score_deltas(
    scores: Mapping[str, ScoreTable] | Iterable[tuple[str, ScoreTable]],
    truth: Truth,
    criteria: Sequence[Criterion],
    num_threads: int = 1,
    max_false_alarms: int | None = None,
) -> list[Deltas]:
    """The deltas of every criterion over all thresholds, in one pass over the scores, which may be made on the way.

    scores: audio_id -> table, for at least every clip of the truth. max_false_alarms: leave out what lies at thresholds
    with more false alarms of a class (see `limits`), which saves time and memory; for criteria whose every detection of
    an absent class is a false alarm. DesedTaskError when scores do not fit the truth, or it holds no clip.
    """
    if not truth.num_clips:
        raise DesedTaskError("there is no clip to evaluate: none is in the table of durations, or none has events")
    limits = None if max_false_alarms is None else Limits(truth, max_false_alarms)
    if limits is not None:
        scores = limits.watch(scores)
    parts: list[list[DeltaRows]] = []
    pairs = scores.items() if isinstance(scores, Mapping) else scores
    for part in _mapped(_matching(criteria, truth, limits), batch_scores(pairs, truth), num_threads):
        parts.append(part)
        if limits is not None and limits.have_risen():
            _keep_above(parts, limits.values)
    limit = None if limits is None else limits.settle()
    of_criterion = [[part[k] for part in parts] for k in range(len(criteria))]
    parts.clear()  # what a criterion has sorted is let go before the next one
    every = [_sorted(of_criterion.pop(0), criterion, truth, limit) for criterion in criteria]
    return [replace(deltas, max_false_alarms=max_false_alarms) for deltas in every]


def _matching(
    criteria: Sequence[Criterion], truth: Truth, limits: Limits | None
) -> Callable[[ScoreBatch], list[DeltaRows]]:
    def match(batch: ScoreBatch) -> list[DeltaRows]:
        if limits is None:
            return [criterion.match_batch(batch, truth) for criterion in criteria]
        # below the limits all is one run: what is there is left out
        at = limits.values
        above = replace(batch, values=np.maximum(batch.values, limits.below(batch.values.dtype)[:, None]))
        return [_rows_above(criterion.match_batch(above, truth), at) for criterion in criteria]

    return match


def _keep_above(parts: list[list[DeltaRows]], limit: NDArray[np.float64]) -> None:
    """In place, so that no more than one part is in memory twice."""
    for number, part in enumerate(parts):
        parts[number] = [_rows_above(rows, limit) for rows in part]


def _rows_above(rows: DeltaRows, limit: NDArray[np.float64]) -> DeltaRows:
    """Without the rows at or below the limit of their class."""
    kept = np.flatnonzero(rows.threshold > limit[rows.label])
    cross = rows.cross
    if cross is not None:
        of_cross = np.flatnonzero(cross.threshold > limit[cross.label])
        cross = CrossRows(*(getattr(cross, field.name)[of_cross] for field in fields(cross)))
    columns: tuple[NDArray[Any], ...] = (rows.label, rows.threshold, rows.clip)
    columns = (*columns, rows.true_positives, rows.false_positives)
    label, threshold, clip, found, failed = (column[kept] for column in columns)
    return DeltaRows(label, threshold, clip, found, failed, cross)


def point_deltas(points: Mapping[float, EventTable], truth: Truth, criteria: Sequence[Criterion]) -> list[Deltas]:
    """The deltas of every criterion at given operating points (threshold -> detections)."""
    gathered = gather_points(points, truth)
    return [_sorted([criterion.match_points(gathered, truth)], criterion, truth) for criterion in criteria]


def differences(
    thresholds: NDArray[np.float64], point: NDArray[np.int32], *counts: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.float64], list[NDArray[np.int32]]]:
    """Counts of operating points as rows that add them at their own threshold and take them back at the next.

    The counts of a point do not hold at the next one, unlike those of a curve. thresholds: (points,) descending; point
    and counts: (counts,). Returns the position of each row's count, its threshold, and the changes.
    """
    ends = np.flatnonzero(point + 1 < len(thresholds))
    source = np.concatenate((np.arange(len(point)), ends))
    threshold = thresholds[np.concatenate((point, point[ends] + 1))]
    return source, threshold, [np.concatenate((count, -count[ends])) for count in counts]


def _mapped(
    match: Callable[[ScoreBatch], list[DeltaRows]], batches: Iterator[ScoreBatch], num_threads: int
) -> Iterator[list[DeltaRows]]:
    """In order, with no more batches in memory than threads."""
    if num_threads == 1:
        yield from map(match, batches)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        while group := list(islice(batches, num_threads)):
            yield from pool.map(match, group)


def _sorted(
    parts: list[DeltaRows], criterion: Criterion, truth: Truth, limit: NDArray[np.float64] | None = None
) -> Deltas:
    num_classes = len(truth.labels)
    crosses = [part.cross for part in parts if part.cross is not None]
    columns = {name: [getattr(part, name) for part in parts] for name in _names(DeltaRows)}
    parts.clear()
    cross, first_cross = None, np.zeros(num_classes + 1, dtype=np.int64)
    if crosses:
        cross_columns = {name: [getattr(part, name) for part in crosses] for name in _names(CrossRows)}
        crosses.clear()
        joined, first_cross = _by_class(cross_columns, num_classes, limit)
        cross = CrossRows(**joined)
    joined, first_row = _by_class(columns, num_classes, limit)
    rows: Any = joined
    return Deltas(DeltaRows(**rows), first_row, cross, first_cross, criterion.count_reference(truth), truth)


def _names(rows: type[DeltaRows] | type[CrossRows]) -> list[str]:
    return [column.name for column in fields(rows) if column.name != "cross"]


def _by_class(
    columns: dict[str, list[NDArray[Any]]], num_classes: int, limit: NDArray[np.float64] | None
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Columns of several parts -> one of each, by class and falling threshold, and the first row of each class.

    limit: (classes,) rows at or below it are left out. A class at a time, so that its rows are sorted near the
    processor, and a column at a time, whose parts are let go: the rows of a large corpus fill the memory once.
    """
    pieces = _pieces(columns.pop("label"), columns, num_classes)
    parts = columns.pop("threshold")
    falling, thresholds = [], []
    for label, own in enumerate(pieces):
        values = np.concatenate([part[rows] for part, rows in zip(parts, own, strict=True)])
        order = np.argsort(-values).astype(np.int32)
        thresholds.append(values[order])
        if limit is not None:
            thresholds[-1] = thresholds[-1][thresholds[-1] > limit[label]]
        falling.append(order[: len(thresholds[-1])])
    first_row = np.cumsum([0, *(len(order) for order in falling)], dtype=np.int64)
    label_of = np.repeat(np.arange(num_classes, dtype=np.int32), np.diff(first_row))
    joined = {"label": label_of, "threshold": np.concatenate(thresholds)}
    del thresholds
    for name in list(columns):
        parts = columns.pop(name)
        joined[name] = np.empty(first_row[-1], dtype=parts[0].dtype)
        for label, own in enumerate(pieces):
            values = np.concatenate([part[rows] for part, rows in zip(parts, own, strict=True)])
            joined[name][first_row[label] : first_row[label + 1]] = values[falling[label]]
    return joined, first_row


def _pieces(
    labels: list[NDArray[np.int32]], columns: dict[str, list[NDArray[Any]]], num_classes: int
) -> list[list[slice]]:
    """Where each part holds the rows of each class, [class][part].

    Puts the columns of parts that are not in the order of the classes into it.
    """
    spans = []
    for number, label in enumerate(labels):
        if (np.diff(label) < 0).any():
            order = np.argsort(label.astype(np.int16), kind="stable")  # 16 bits: sorted by counting
            for parts in columns.values():
                parts[number] = parts[number][order]
        bounds = np.concatenate(([0], np.cumsum(np.bincount(label, minlength=num_classes))))
        spans.append([slice(start, stop) for start, stop in pairwise(bounds.tolist())])
    return [list(of_class) for of_class in zip(*spans, strict=True)]
