"""Detections of many clips, as the criteria match them with the ground truth.

Two kinds: `ScoreBatch`, a few clips with their scores, gives every detection at every threshold (see `curves.trees`);
`PointDetections` holds those of given operating points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.events import EventTable, audio_id_of
from desed_task.metrics.curves.trees import list_runs
from desed_task.metrics.truth import Times, Truth
from desed_task.scores import ScoreTable

# Scores that are looked at together: enough to keep the kernels busy, little enough to stay near the processor.
BATCH_VALUES = 500_000


@dataclass(frozen=True, eq=False)
class Runs:
    """Every distinct run of frames at or above some threshold, of several clips and all classes.

    first_node: (classes * clips + 1,), class by class, clip by clip; per node: onset, offset in ticks, the threshold at
    which it appears, and its parent, the node that replaces it at a lower threshold (-1: none).
    """

    first_node: NDArray[np.int64]
    onset: Times
    offset: Times
    threshold: NDArray[np.float32] | NDArray[np.float64]
    parent: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ScoreBatch:
    """Scores of a few clips, end to end.

    clip: (clips,) positions in the truth; first_frame: (clips + 1,); edges: (frames + clips,) ticks, clip k's beginning
    at first_frame[k] + k; values: (classes, frames).
    """

    clip: NDArray[np.int32]
    first_frame: NDArray[np.int64]
    edges: Times
    values: NDArray[np.float32] | NDArray[np.float64]

    @cached_property
    def runs(self) -> Runs:
        """Listed when first asked for, and shared by the criteria."""
        return Runs(*list_runs(self.values, self.first_frame, self.edges))


@dataclass(frozen=True, eq=False)
class PointDetections:
    """Detections at given operating points, sorted by class, clip, point and onset.

    thresholds: (points,) descending; per detection: label, clip, point (positions), onset, offset (ticks). Detections
    of a class may overlap.
    """

    thresholds: NDArray[np.float64]
    label: NDArray[np.int32]
    clip: NDArray[np.int32]
    point: NDArray[np.int32]
    onset: Times
    offset: Times

    def group(self, num_clips: int) -> NDArray[np.int64]:
        """(detections,) one number for each class, clip and point, ascending in that order."""
        clip = self.clip + num_clips * self.label.astype(np.int64)
        return np.asarray(self.point + len(self.thresholds) * clip, dtype=np.int64)

    def select(self, rows: NDArray[np.int64]) -> PointDetections:
        """The detections at `rows`, in their order."""
        label, clip, point = self.label[rows], self.clip[rows], self.point[rows]
        return PointDetections(self.thresholds, label, clip, point, self.onset[rows], self.offset[rows])


def batch_scores(scores: Iterable[tuple[str, ScoreTable]], truth: Truth) -> Iterator[ScoreBatch]:
    """(audio_id, scores) of every clip of the truth, in any order, a batch at a time.

    Clips that the truth does not hold are left out. DesedTaskError when scores are of other classes, are missing for
    clips of the truth, or are there twice.
    """
    position = {audio_id: number for number, audio_id in enumerate(truth.audio_ids)}
    missing = dict.fromkeys(truth.audio_ids)
    waiting: list[tuple[int, ScoreTable]] = []
    num_values = 0
    for audio_id, table in scores:
        if table.labels != truth.labels:
            raise DesedTaskError(f"the scores of {audio_id} are not of the classes of the ground truth, in its order")
        clip = position.get(audio_id)
        if clip is None:
            clip = position.get(audio_id_of(audio_id))
        if clip is None:
            continue
        if truth.audio_ids[clip] not in missing:
            raise DesedTaskError(f"there are two scores of {truth.audio_ids[clip]}; give one of them")
        del missing[truth.audio_ids[clip]]
        waiting.append((clip, table))
        num_values += table.values.size
        if num_values >= BATCH_VALUES:
            yield _batch(waiting, truth)
            waiting, num_values = [], 0
    if missing:
        raise DesedTaskError(
            f"{len(missing)} clips of the ground truth have no scores, the first {next(iter(missing))}"
        )
    if waiting:
        yield _batch(waiting, truth)


def _batch(clips: list[tuple[int, ScoreTable]], truth: Truth) -> ScoreBatch:
    tables = [table for _, table in clips]
    return ScoreBatch(
        np.array([clip for clip, _ in clips], dtype=np.int32),
        np.cumsum([0, *(len(table.values) for table in tables)], dtype=np.int64),
        truth.ticks(np.concatenate([table.edges for table in tables])),
        np.ascontiguousarray(np.concatenate([table.values for table in tables]).T),
    )


def gather_points(points: Mapping[float, EventTable], truth: Truth) -> PointDetections:
    """threshold -> detections, for every clip of the truth. Detections of other classes or other clips are left out.

    EventTableError when two detections of a class overlap in a clip and the truth's overlap rule is "error"; with
    "merge" they are joined.
    """
    thresholds = np.array(sorted(points, reverse=True), dtype=np.float64)
    clip_of = {audio_id: number for number, audio_id in enumerate(truth.audio_ids)}
    label_of = {name: number for number, name in enumerate(truth.labels)}
    clip_of_file: dict[str, int] = {}
    columns: list[list[NDArray[Any]]] = []
    for point, threshold in enumerate(thresholds.tolist()):
        table = points[threshold]
        # most names come again at every point
        new = (filename for filename in table.filenames if filename not in clip_of_file)
        clip_of_file.update({filename: clip_of.get(audio_id_of(filename), -1) for filename in new})
        clip = np.array([clip_of_file[name] for name in table.filename.tolist()], dtype=np.int64)
        label = np.array([label_of.get(name, -1) for name in table.event_label.tolist()], dtype=np.int64)
        times = truth.ticks(table.onset), truth.ticks(table.offset)
        kept = (clip >= 0) & (label >= 0) & (times[1] > times[0])
        columns.append([column[kept] for column in (label, clip, np.full(len(clip), point), *times)])
    joined = [np.concatenate([part[k] for part in columns]) for k in range(5)] if columns else [np.empty(0, int)] * 5
    numbers = [column.astype(np.int32) for column in joined[:3]]
    found = PointDetections(thresholds, numbers[0], numbers[1], numbers[2], joined[3], joined[4])
    found = found.select(np.lexsort((found.onset, found.group(truth.num_clips))))
    return found if truth.rules.overlap == "allow" else _without_overlaps(found, truth)


def _without_overlaps(found: PointDetections, truth: Truth) -> PointDetections:
    """Refuse overlapping detections of a class, or join them, as the rules say."""
    group = found.group(truth.num_clips)
    # sorted by onset, so where any two overlap, two neighbours do
    overlapping = np.flatnonzero((group[1:] == group[:-1]) & (found.onset[1:] < found.offset[:-1])) + 1
    if not len(overlapping):
        return found
    if truth.rules.overlap == "error":
        row = int(overlapping[0])
        raise EventTableError(
            f"operating point {found.thresholds[found.point[row]]:g}: two {truth.labels[int(found.label[row])]} events "
            f"of {truth.audio_ids[int(found.clip[row])]} overlap at "
            f"{found.onset[row] / truth.rules.ticks_per_second:.3f} s, for which PSDS is not defined; merge them, or "
            "choose the overlap rule merge"
        )
    end = _latest_offset(group, found.offset)
    apart = (group[1:] != group[:-1]) | (found.onset[1:] >= end[:-1])
    first = np.flatnonzero(np.concatenate(([True], apart)))
    return replace(found.select(first), offset=np.maximum.reduceat(found.offset, first))


def _latest_offset(group: NDArray[np.int64], offset: Times) -> Times:
    """The largest offset so far within the group, for rows sorted by group."""
    values, rank = np.unique(offset, return_inverse=True)  # whole numbers: float times keep their last digits
    start = np.cumsum(np.concatenate(([0], group[1:] != group[:-1]))) * len(values)
    return np.asarray(values[np.maximum.accumulate(rank + start) - start])
