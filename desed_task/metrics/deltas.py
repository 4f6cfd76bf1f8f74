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
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from desed_task.events import EventTable
from desed_task.metrics.detections import PointDetections, ScoreBatch, batch_scores, gather_points
from desed_task.metrics.truth import Truth
from desed_task.scores import ScoreTable

Thresholds = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CrossRows:
    """Cross-triggers: detections of class `label` that fail and lie in events of class `other`. All (rows,)."""

    label: NDArray[np.int32]
    threshold: Thresholds
    clip: NDArray[np.int32]
    other: NDArray[np.int32]
    count: NDArray[np.int32]


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
    reference holds, events or segments.
    """

    rows: DeltaRows
    first_row: NDArray[np.int64]
    cross: CrossRows | None
    first_cross: NDArray[np.int64]
    num_reference: NDArray[np.int32]
    truth: Truth


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
) -> list[Deltas]:
    """The deltas of every criterion over all thresholds, in one pass over the scores, which may be made on the way.

    scores: audio_id -> table, for at least every clip of the truth. DesedTaskError when they do not fit the truth.
    """
    pairs = scores.items() if isinstance(scores, Mapping) else scores
    batches = batch_scores(pairs, truth)

    def match(batch: ScoreBatch) -> list[DeltaRows]:
        return [criterion.match_batch(batch, truth) for criterion in criteria]

    parts = list(_mapped(match, batches, num_threads))
    return [_sorted([part[k] for part in parts], c, truth) for k, c in enumerate(criteria)]


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


def _sorted(parts: Sequence[DeltaRows], criterion: Criterion, truth: Truth) -> Deltas:
    num_classes = len(truth.labels)
    columns = ("label", "threshold", "clip", "true_positives", "false_positives")
    rows = [np.concatenate([getattr(part, column) for part in parts]) for column in columns]
    order, first_row = _order(rows[0], rows[1], num_classes)
    cross, first_cross = None, np.zeros(num_classes + 1, dtype=np.int64)
    crosses = [part.cross for part in parts if part.cross is not None]
    if crosses:
        columns = ("label", "threshold", "clip", "other", "count")
        cross_rows = [np.concatenate([getattr(part, column) for part in crosses]) for column in columns]
        cross_order, first_cross = _order(cross_rows[0], cross_rows[1], num_classes)
        cross = CrossRows(*(column[cross_order] for column in cross_rows))
    return Deltas(
        DeltaRows(*(column[order] for column in rows)),
        first_row,
        cross,
        first_cross,
        criterion.count_reference(truth),
        truth,
    )


def _order(
    label: NDArray[np.int32], threshold: Thresholds, num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order by class and falling threshold, and the first row of each class."""
    by_class = np.argsort(label.astype(np.int16), kind="stable")  # 16 bits: numpy sorts them by counting
    first = np.concatenate(([0], np.cumsum(np.bincount(label, minlength=num_classes)))).astype(np.int64)
    order = np.empty(len(label), dtype=np.int64)
    for start, stop in pairwise(first.tolist()):
        rows = by_class[start:stop]
        order[start:stop] = rows[np.argsort(-threshold[rows])]
    return order, first
