"""Matching by intersection: how much of a detection lies in events, how much of an event under detections.

C. Bilen et al., "A framework for the robust evaluation of sound event detection", ICASSP 2020 (arXiv 1910.08440). A
detection passes (DTC) when enough of it lies in events of its class; an event is found (GTC) when enough of it lies
under detections that pass; a detection that does not pass is a false alarm, and a cross-trigger (CTTC) of every other
class whose events cover enough of it.

True positives are events and false alarms are detections, as in psds_eval. Of one threshold to the next nothing is
matched anew: see `curves.intersections`. Time is compared in whole ticks (`rules`), as sed_scores_eval compares it in
microseconds; psds_eval compares floats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.intersections import match_lists, match_runs, sum_parts
from desed_task.metrics.deltas import CrossRows, DeltaRows, Thresholds, differences
from desed_task.metrics.detections import PointDetections, ScoreBatch
from desed_task.metrics.truth import Times, Truth


@dataclass(frozen=True)
class Intersection:
    """The criterion: fractions in [0, 1], dtc and cttc of the detection, gtc of the event; cttc None: no cross-triggers."""

    dtc: float
    gtc: float
    cttc: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("dtc", self.dtc), ("gtc", self.gtc), ("cttc", self.cttc)):
            if value is not None and not 0.0 < value <= 1.0:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value}")

    def match_batch(self, batch: ScoreBatch, truth: Truth) -> DeltaRows:
        """All thresholds of a few clips."""
        runs = batch.runs
        rows, cross, parts = match_runs(
            runs.first_node,
            runs.onset,
            runs.offset,
            runs.threshold,
            runs.parent,
            batch.clip,
            *truth.event_arrays,
            self.dtc,
            self._cttc,
        )
        event, threshold, change = self._parts_found(truth, *parts)
        label, clip = truth.label[event], truth.event_clip()[event]
        return DeltaRows(
            np.concatenate((rows[0], label)),
            np.concatenate((rows[1], threshold)),
            np.concatenate((rows[2], clip)),
            np.concatenate((rows[3], change)),
            np.concatenate((rows[4], np.zeros_like(change))),
            None if self.cttc is None else CrossRows(*cross),
        )

    def match_points(self, points: PointDetections, truth: Truth) -> DeltaRows:
        """Given operating points of all clips."""
        columns = (points.label, points.clip, points.point, points.onset, points.offset)
        rows, cross = match_lists(
            *columns,
            *truth.event_arrays,
            self.dtc,
            self.gtc,
            self._cttc,
        )
        label, point, clip, found, failed = rows
        source, threshold, (found, failed) = differences(points.thresholds, point, found, failed)
        crosses = None
        if self.cttc is not None:
            cross_label, point, cross_clip, other, count = cross
            kept, cross_threshold, (count,) = differences(points.thresholds, point, count)
            crosses = CrossRows(cross_label[kept], cross_threshold, cross_clip[kept], other[kept], count)
        return DeltaRows(label[source], threshold, clip[source], found, failed, crosses)

    def count_reference(self, truth: Truth) -> NDArray[np.int32]:
        """(clips, classes) events."""
        return truth.num_events()

    @property
    def _cttc(self) -> float:
        return -1.0 if self.cttc is None else self.cttc

    def _parts_found(
        self, truth: Truth, event: NDArray[np.int64], threshold: Thresholds, time: Times
    ) -> tuple[NDArray[np.int64], Thresholds, NDArray[np.int32]]:
        order = np.lexsort((-threshold, event))
        columns = event[order], threshold[order], time[order]
        found: tuple[NDArray[np.int64], Thresholds, NDArray[np.int32]]
        found = sum_parts(*columns, truth.onset, truth.offset, truth.whole, self.gtc)
        return found
