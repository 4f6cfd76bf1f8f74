"""Comparing second by second: in which segments of a clip is a class active, in the reference and as detected.

A. Mesaros, T. Heittola, T. Virtanen, "Metrics for polyphonic sound event detection", Applied Sciences 6 (2016). A
segment is active where an event [onset, offset) touches it. The score of a segment is the largest score of the frames
that touch it, so each segment enters once, at its score, as a true positive or a false alarm.

A clip has as many segments as cover its duration (the last may be cut), as in sed_scores_eval, and more where an event
of the ground truth goes beyond; frames beyond are not looked at. Detections of given operating points may go further,
as in sed_eval, where a clip ends with its last event; what lies between only counts where nothing is active (true
negatives). A segment of the clip that no frame touches has score 0, as in sed_scores_eval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.segments import score_segments
from desed_task.metrics.deltas import DeltaRows, differences
from desed_task.metrics.detections import PointDetections, ScoreBatch
from desed_task.metrics.scenarios import SEGMENT_SECONDS
from desed_task.metrics.truth import Times, Truth


@dataclass(frozen=True)
class SegmentTotals:
    """One operating point, all classes together: segments and the errors in them.

    In a segment where both a class is missed and another is wrongly there, one is substituted for the other; what is
    missed or wrongly there beyond that is deleted or inserted. num_segments: those of all clips, each ending with its
    last event.
    """

    num_segments: int
    substitutions: int
    deletions: int
    insertions: int


@dataclass(frozen=True)
class Segments:
    """The criterion: segments of `segment_seconds`."""

    segment_seconds: float = SEGMENT_SECONDS

    def __post_init__(self) -> None:
        if not 0.0 < self.segment_seconds < np.inf:
            raise ValueError(f"segment_seconds must be above 0, got {self.segment_seconds}")

    def match_batch(self, batch: ScoreBatch, truth: Truth) -> DeltaRows:
        """All thresholds of a few clips."""
        begins_in, ends_in = self._touched(truth, batch.edges, batch.edges)
        rows = score_segments(
            batch.values,
            batch.first_frame,
            batch.edges,
            begins_in,
            ends_in,
            batch.clip,
            self.count_segments(truth),
            truth.first_event,
            truth.label,
            *self._touched(truth, truth.onset, truth.offset),
        )
        return DeltaRows(*rows)

    def match_points(self, points: PointDetections, truth: Truth) -> DeltaRows:
        """Given operating points of all clips. Detections of a class may overlap."""
        num_points, num_clips = len(points.thresholds), truth.num_clips
        detected = self._active(truth, points.group(num_clips), points.onset, points.offset)
        reference = self._active(truth, _class_and_clip(truth), truth.onset, truth.offset)
        right = np.isin(_ids(detected[0] // max(num_points, 1), detected[1]), _ids(*reference))
        group, rows = np.unique(detected[0], return_inverse=True)
        found = np.bincount(rows, right, len(group)).astype(np.int32)
        failed = np.bincount(rows, ~right, len(group)).astype(np.int32)
        label, rest = np.divmod(group, max(num_points * num_clips, 1))
        clip, point = np.divmod(rest, max(num_points, 1))
        source, threshold, (found, failed) = differences(points.thresholds, point.astype(np.int32), found, failed)
        return DeltaRows(label[source].astype(np.int32), threshold, clip[source].astype(np.int32), found, failed)

    def count_reference(self, truth: Truth) -> NDArray[np.int32]:
        """(clips, classes) active segments."""
        group, _ = self._active(truth, _class_and_clip(truth), truth.onset, truth.offset)
        counts = np.bincount(group, minlength=len(truth.labels) * truth.num_clips)
        return np.ascontiguousarray(counts.reshape(len(truth.labels), truth.num_clips).T.astype(np.int32))

    def count_segments(self, truth: Truth) -> NDArray[np.int64]:
        """(clips,) segments."""
        covered = np.searchsorted(self._edges(truth, truth.clip_ticks), truth.clip_ticks, "left")
        _, after = self._touched(truth, truth.onset, truth.offset)
        counts = np.asarray(covered, dtype=np.int64)
        np.maximum.at(counts, truth.event_clip(), after)
        return counts

    def count_negatives(self, truth: Truth) -> NDArray[np.int64]:
        """(clips, classes) segments in which the reference has nothing of the class."""
        return np.asarray(self.count_segments(truth)[:, None] - self.count_reference(truth), dtype=np.int64)

    def count_totals(self, points: PointDetections, truth: Truth) -> SegmentTotals:
        """One operating point, as sed_eval's overall metrics count it: the durations of the clips are not looked at."""
        clips = np.concatenate((truth.event_clip(), points.clip)).astype(np.int64)
        onset: Times = np.concatenate((truth.onset, points.onset))  # type: ignore[assignment]
        offset: Times = np.concatenate((truth.offset, points.offset))  # type: ignore[assignment]
        first, after = self._touched(truth, onset, offset)
        last = np.zeros(truth.num_clips, dtype=np.int64)
        np.maximum.at(last, clips, after)
        before = np.concatenate(([0], np.cumsum(last)))  # segments of the clips before
        count = len(truth.onset)
        reference = np.unique(_ids(*_spread(truth.label, (first + before[clips])[:count], (after - first)[:count])))
        detected = np.unique(_ids(*_spread(points.label, (first + before[clips])[count:], (after - first)[count:])))
        both = np.intersect1d(reference, detected, assume_unique=True)
        there, said, right = (
            np.bincount(_segment_of(ids), minlength=before[-1]) for ids in (reference, detected, both)
        )
        return SegmentTotals(
            int(before[-1]),
            int((np.minimum(there, said) - right).sum()),
            int(np.maximum(there - said, 0).sum()),
            int(np.maximum(said - there, 0).sum()),
        )

    def _edges(self, truth: Truth, times: Times) -> Times:
        """(segments + 1,) ends of segments, one beyond the latest of `times`."""
        step = self.segment_seconds * truth.rules.ticks_per_second
        edges = np.arange(int(np.ceil(times.max(initial=0) / step)) + 2, dtype=np.float64) * step
        return np.rint(edges).astype(np.int64) if truth.whole else edges

    def _touched(self, truth: Truth, onset: Times, offset: Times) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first segment that [onset, offset) touches, and the one after the last."""
        edges = self._edges(truth, offset)
        first = np.searchsorted(edges, onset, "right") - 1
        return first.astype(np.int64), np.searchsorted(edges, offset, "left").astype(np.int64)

    def _active(
        self, truth: Truth, group: NDArray[np.int64], onset: Times, offset: Times
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Group and segment of every active segment, once each, ascending."""
        first, after = self._touched(truth, onset, offset)
        ids = np.unique(_ids(*_spread(group, first, after - first)))
        return ids >> 32, _segment_of(ids)


def _class_and_clip(truth: Truth) -> NDArray[np.int64]:
    """(events,) one number for each class and clip."""
    return np.asarray(truth.event_clip() + truth.num_clips * truth.label.astype(np.int64), dtype=np.int64)


def _spread(
    group: NDArray[np.int64] | NDArray[np.int32], first: NDArray[np.int64], count: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Intervals of `count` segments from `first` on -> group and number of each segment."""
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(group.astype(np.int64), count), np.repeat(first, count) + within


def _ids(group: NDArray[np.int64], segment: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray((group << 32) | segment, dtype=np.int64)


def _segment_of(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(ids & 0xFFFFFFFF, dtype=np.int64)
