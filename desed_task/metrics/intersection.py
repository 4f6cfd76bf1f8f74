"""Matching by intersection: how much of a detection lies in events, how much of an event under detections.

C. Bilen et al., "A framework for the robust evaluation of sound event detection", ICASSP 2020 (arXiv 1910.08440). A
detection passes (DTC) when enough of it lies in events of its class; an event is found (GTC) when enough of it lies
under detections that pass; a detection that does not pass is a false alarm, and a cross-trigger (CTTC) of every other
class whose events cover enough of it.

True positives are events and false alarms are detections, as in psds_eval. Of one threshold to the next nothing is
matched anew: see `curves.intersections`. Time is compared in whole ticks (`rules`), as sed_scores_eval compares it in
microseconds; psds_eval compares floats.

A detection of an operating point that begins after the end of its clip is none, as in psds_eval, which looks for false
alarms within the clip (27 such detections are in the published operating points of the DESED dev-test: PSDS2 .000005
lower). Frames of scores after the end of the clip count, as in sed_scores_eval.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.intersections import (
    judge_runs,
    list_changes,
    list_cross_changes,
    list_groups,
    match_lists,
    match_lists_across,
    sum_parts,
)
from desed_task.metrics.deltas import CrossRows, DeltaRows, Thresholds, differences
from desed_task.metrics.detections import PointDetections, ScoreBatch
from desed_task.metrics.truth import Times, Truth


@dataclass(frozen=True)
class Intersection:
    """The criterion: fractions in (0, 1], dtc and cttc of the detection, gtc of the event.

    cttc None: cross-triggers are not counted. rates: (classes,) what a cross-trigger of each class is worth; where they
    are given, the runs of scores come with the worth of their cross-triggers instead of one count for each other class.
    """

    dtc: float
    gtc: float
    cttc: float | None = None
    rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, value in (("dtc", self.dtc), ("gtc", self.gtc), ("cttc", self.cttc)):
            if value is not None and not 0.0 < value <= 1.0:
                raise ValueError(f"{name} must be above 0 and at most 1, got {value}")

    def match_batch(self, batch: ScoreBatch, truth: Truth) -> DeltaRows:
        """All thresholds of a few clips."""
        runs = batch.runs
        nodes: tuple[Any, ...] = (runs.first_node, runs.onset, runs.offset, runs.threshold, runs.parent, batch.clip)
        fails, inside, parts = judge_runs(*nodes, *truth.event_arrays, self.dtc)
        changes = list_changes(runs.first_node, runs.threshold, runs.parent, batch.clip, fails, inside)
        event, threshold, found = self._sum_parts(truth, *parts)
        more = truth.label[event], threshold, truth.event_clip()[event], found, np.zeros_like(found)
        rows: Any = [np.concatenate(columns) for columns in zip(changes, more, strict=True)]
        if self.cttc is None:
            return DeltaRows(*rows)
        rates = np.array(self.rates, dtype=np.float64)
        cross = CrossRows(*list_cross_changes(*nodes, *truth.event_arrays, fails, self.cttc, rates))
        if not self.rates:
            cross = replace(cross, count=cross.count.astype(np.int32))
        return replace(DeltaRows(*rows), cross=cross)

    def match_points(self, points: PointDetections, truth: Truth) -> DeltaRows:
        """Given operating points of all clips."""
        points = points.select(np.flatnonzero(points.onset < truth.clip_ticks[points.clip]))
        first = list_groups(points.label, points.clip, points.point)
        label, clip, point = (column[first[:-1]] for column in (points.label, points.clip, points.point))
        lists: tuple[Any, ...] = (first, points.label, points.clip, points.onset, points.offset)
        found, failed, fails = match_lists(*lists, *truth.event_arrays, self.dtc, self.gtc)
        kept, threshold, (found, failed) = differences(points.thresholds, point, found, failed)
        rows: Any = label[kept], threshold, clip[kept], found, failed
        if self.cttc is None:
            return DeltaRows(*rows)
        group, other, count = match_lists_across(*lists, *truth.event_arrays, fails, self.cttc)
        kept, threshold, (count,) = differences(points.thresholds, point[group], count)
        cross = CrossRows(label[group][kept], threshold, clip[group][kept], other[kept], count)
        return replace(DeltaRows(*rows), cross=cross)

    def count_reference(self, truth: Truth) -> NDArray[np.int32]:
        """(clips, classes) events."""
        return truth.num_events()

    def _sum_parts(
        self, truth: Truth, event: NDArray[np.int64], threshold: Thresholds, time: Times
    ) -> tuple[NDArray[np.int64], Thresholds, NDArray[np.int32]]:
        """Where events that are cut are found (+1) or lost (-1): event, threshold, change, each (rows,)."""
        # where times are floats their sums depend on the order, so it must not be left to chance
        order = np.argsort(-threshold, kind=None if truth.whole else "stable")
        kind = np.uint16 if len(truth.onset) < 2**16 else np.int64  # 16 bits: sorted by counting
        order = order[np.argsort(event[order].astype(kind), kind="stable")]
        columns = event[order], threshold[order], time[order]
        found: tuple[NDArray[np.int64], Thresholds, NDArray[np.int32]]
        found = sum_parts(*columns, truth.onset, truth.offset, truth.whole, self.gtc)
        return found
