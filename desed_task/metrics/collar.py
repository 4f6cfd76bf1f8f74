"""Matching by collars: a detection is right when both its ends lie near those of an event.

A. Mesaros, T. Heittola, T. Virtanen, "Metrics for polyphonic sound event detection", Applied Sciences 6 (2016). The
onset may deviate by the onset collar, the offset by the larger of the offset collar and a fraction of the reference
event. Each detection pairs with at most one event of its class and each event with one detection; true positives are
the pairs of an optimal (maximum) matching, false alarms the detections without a pair. Collars of DCASE Task 4 by
default.

Deviations are compared in whole ticks (`rules`), so 0.2 s is within 0.2 s, as in sed_scores_eval; sed_eval compares
floats, and may call it a miss: one pair of the published student on the DESED dev-test (Running_water, 1 of 4224
events). With `time_decimals` None we compare floats, too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.collars import match_lists, match_runs
from desed_task.metrics.deltas import DeltaRows, differences
from desed_task.metrics.detections import PointDetections, ScoreBatch
from desed_task.metrics.scenarios import COLLAR_SECONDS, OFFSET_COLLAR_FRACTION
from desed_task.metrics.truth import Truth


@dataclass(frozen=True)
class Collar:
    """The criterion: collars in seconds, offset_fraction of the reference event's length."""

    onset_seconds: float = COLLAR_SECONDS
    offset_seconds: float = COLLAR_SECONDS
    offset_fraction: float = OFFSET_COLLAR_FRACTION

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0.0 <= value < np.inf:
                raise ValueError(f"{name} must be a number from 0 on, got {value}")

    def match_batch(self, batch: ScoreBatch, truth: Truth) -> DeltaRows:
        """All thresholds of a few clips."""
        runs = batch.runs
        nodes = runs.first_node, runs.onset, runs.offset, runs.threshold, runs.parent
        return DeltaRows(*match_runs(*nodes, batch.clip, *_events(truth), *self._collars(truth)))

    def match_points(self, points: PointDetections, truth: Truth) -> DeltaRows:
        """Given operating points of all clips. Detections of a class may overlap."""
        (label, point, clip, found, failed), _ = self._match(points, truth)
        source, threshold, (found, failed) = differences(points.thresholds, point, found, failed)
        return DeltaRows(label[source], threshold, clip[source], found, failed)

    def count_reference(self, truth: Truth) -> NDArray[np.int32]:
        """(clips, classes) events."""
        return truth.num_events()

    def pair(self, points: PointDetections, truth: Truth) -> NDArray[np.int64]:
        """(detections,) the event of the truth that each detection of one operating point pairs with, -1 for none."""
        return self._match(points, truth)[1]

    def count_substitutions(self, points: PointDetections, truth: Truth) -> int:
        """Detections of one operating point that miss their class, but lie within the collars of an event of another.

        Counted among the detections and events that the classes' own matchings leave over. Each of both counts once,
        in an optimal matching; sed_eval takes the first event that fits, which can give fewer.
        """
        _, paired_with = self._match(points, truth)
        leftover = np.ones(len(truth.onset), dtype=bool)
        leftover[paired_with[paired_with >= 0]] = False
        rows = np.flatnonzero(paired_with < 0)
        rows = rows[np.lexsort((points.onset[rows], points.clip[rows]))]
        others = points.select(rows)
        (_, _, _, found, _), _ = self._match(
            replace(others, label=np.zeros_like(others.label)), _as_one_class(truth, leftover)
        )
        return int(found.sum())

    def _match(self, points: PointDetections, truth: Truth) -> tuple[Any, NDArray[np.int64]]:
        columns = points.label, points.clip, points.point, points.onset, points.offset
        matched: tuple[Any, NDArray[np.int64]] = match_lists(*columns, *_events(truth), *self._collars(truth))
        return matched

    def _collars(self, truth: Truth) -> tuple[Any, NDArray[Any]]:
        """The onset collar and the offset collar of each event, rounded to ticks where times are whole."""
        ticks = truth.rules.ticks_per_second
        onset_collar = self.onset_seconds * ticks
        offset_collar = np.maximum(self.offset_seconds * ticks, self.offset_fraction * (truth.offset - truth.onset))
        if not truth.whole:
            return onset_collar, offset_collar
        # half a tick is within: sed_scores_eval rounds what a deviation exceeds its collar by, and .5 to 0
        return np.int64(np.floor(onset_collar + 0.5)), np.floor(offset_collar + 0.5).astype(np.int64)


def _events(truth: Truth) -> tuple[Any, ...]:
    return truth.first_event, truth.label, truth.onset, truth.offset


def _as_one_class(truth: Truth, kept: NDArray[np.bool_]) -> Truth:
    """The events in `kept`, all of the first class."""
    rows = np.flatnonzero(kept)
    clip = truth.event_clip()[rows]
    order = np.lexsort((truth.onset[rows], clip))
    rows = rows[order]
    return replace(
        truth,
        first_event=np.searchsorted(clip[order], np.arange(truth.num_clips + 1)).astype(np.int64),
        label=np.zeros(len(rows), dtype=np.int32),
        onset=truth.onset[rows],
        offset=truth.offset[rows],
        disjoint=False,
    )
