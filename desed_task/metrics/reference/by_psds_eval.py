"""psds_eval (0.5.3) behind our nouns: PSDS over given operating points, and intersection F1.

- Evaluated is every clip in `durations`, clips without events too: a detection in them is a false alarm. The classes
  are those of the ground truth; detections of other classes are not counted.
- A class without a true positive has F1 0; psds_eval's macro F1 leaves it out of the average.
- Cross-trigger rates are averaged over the n - 1 other classes, as in the paper. Version 0.3.0, used for the published
  tables up to 2022, averages over n: PSDS2 is .0046 higher with it (the published student has .5327, it has .5281
  here). PSDS1 is the same.
- Times are compared as floats, shares as `shared / length >= fraction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import EventTableError
from desed_task.events import EventTable, audio_id_of
from desed_task.metrics.counts import F1, ClassCounts, macro_f1
from desed_task.metrics.psds import Psds
from desed_task.metrics.reference.packages import load, quiet
from desed_task.metrics.scenarios import INTERSECTION_F1, IntersectionCriteria, PsdsScenario


def psds(
    operating_points: Mapping[float, EventTable],
    ground_truth: EventTable,
    durations: Mapping[str, float],
    scenario: PsdsScenario,
) -> Psds:
    """Polyphonic sound detection score of `operating_points` (threshold -> detections), by psds_eval.

    durations: filename -> seconds of every evaluated clip. EventTableError when events of one class overlap in a clip
    or a table names a clip without a duration. The value is None when the ground truth holds no event.
    """
    with quiet():
        scorer = _IntersectionScorer(ground_truth, durations, scenario.criteria)
        if not scorer.labels:
            return Psds(None, {})
        for threshold, detections in operating_points.items():
            scorer.add(detections, f"operating point {threshold:g}")
        return scorer.psds(scenario)


def intersection_f1(
    detections: EventTable,
    ground_truth: EventTable,
    durations: Mapping[str, float],
    criteria: IntersectionCriteria = INTERSECTION_F1,
) -> F1:
    """F1 by intersection, counted by psds_eval. True positives are events, false alarms are detections: no micro."""
    with quiet():
        scorer = _IntersectionScorer(ground_truth, durations, criteria)
        if not scorer.labels:
            return F1(None, None, {})
        scorer.add(detections, "detections")
        per_class = scorer.counts(detections)
    return F1(macro_f1(per_class), None, per_class)


class _IntersectionScorer:
    """psds_eval with clips as numbers: names are matched by audio_id once, here."""

    def __init__(
        self, ground_truth: EventTable, durations: Mapping[str, float], criteria: IntersectionCriteria
    ) -> None:
        self._pandas = load("pandas")
        self._clip = {audio_id_of(filename): number for number, filename in enumerate(durations)}
        if len(self._clip) != len(durations):
            raise EventTableError("two files of the table of durations differ in folder or extension only; rename one")
        self.labels = ground_truth.labels()
        if not self.labels:
            return
        metadata = self._pandas.DataFrame({"filename": range(len(durations)), "duration": list(durations.values())})
        self._scorer = load("psds_eval").PSDSEval(
            dtc_threshold=criteria.dtc,
            gtc_threshold=criteria.gtc,
            cttc_threshold=criteria.cttc,
            ground_truth=self._frame(ground_truth, "ground truth"),
            metadata=metadata,
        )
        self._num_reference = [int((ground_truth.event_label == label).sum()) for label in self.labels]

    def add(self, detections: EventTable, name: str) -> None:
        # An operating point without detections is the origin of the curve, which psds_eval adds by itself.
        if len(detections):
            self._scorer.add_operating_point(self._frame(detections, name))

    def psds(self, scenario: PsdsScenario) -> Psds:
        points = self._scorer.operating_points
        if not len(points):
            return Psds(0.0, dict.fromkeys(self.labels, 0.0))
        true_ratio, false_rate = np.stack(points.tpr), np.stack(points.fpr)
        if len(self.labels) > 1:
            false_rate = false_rate + scenario.alpha_ct * np.nanmean(np.stack(points.ctr), axis=2)
        per_class = {
            label: _staircase_area(false_rate[:, position], true_ratio[:, position], scenario.max_efpr)
            for position, label in enumerate(self.labels)
        }
        if len(self.labels) == 1:
            # psds_eval averages the rates of no other class to NaN; one class has neither cross-triggers nor deviation.
            return Psds(per_class[self.labels[0]], per_class)
        value = self._scorer.psds(scenario.alpha_ct, scenario.alpha_st, scenario.max_efpr).value
        return Psds(float(value), per_class)

    def counts(self, detections: EventTable) -> dict[str, ClassCounts]:
        num_classes = len(self.labels)
        # (classes + 1, classes + 1): detected by reference, the last reference "none of them".
        matrix = self._scorer.operating_points.counts[0] if len(detections) else np.zeros((num_classes + 1,) * 2)
        per_class = {}
        for position, (label, there) in enumerate(zip(self.labels, self._num_reference, strict=True)):
            tp, fp = int(matrix[position, position]), int(matrix[position, -1])
            said = int((detections.event_label == label).sum())
            per_class[label] = ClassCounts(there, said, tp, fp, there - tp)
        return per_class

    def _frame(self, table: EventTable, name: str) -> Any:
        number = {filename: self._clip.get(audio_id_of(filename)) for filename in table.filenames}
        absent = [filename for filename in dict.fromkeys(table.filename.tolist()) if number[filename] is None]
        if absent:
            raise EventTableError(f"{name}: {absent[0]} is not in the table of durations; add it")
        clip = np.array([number[filename] for filename in table.filename.tolist()], dtype=np.int64)
        _refuse_overlaps(table, clip, name)
        columns = {"filename": clip, "onset": table.onset, "offset": table.offset, "event_label": table.event_label}
        return self._pandas.DataFrame(columns)


def _refuse_overlaps(table: EventTable, clip: NDArray[np.int64], name: str) -> None:
    """psds_eval since 0.4 refuses overlapping events of one class, without saying which."""
    _, label = np.unique(table.event_label, return_inverse=True)
    order = np.lexsort((table.onset, label, clip))
    same = (np.diff(clip[order]) == 0) & (np.diff(label[order]) == 0)
    overlapping = np.flatnonzero(same & (table.onset[order][1:] < table.offset[order][:-1]))
    if len(overlapping):
        row = order[overlapping[0] + 1]
        raise EventTableError(
            f"{name}: two {table.event_label[row]} events of {table.filename[row]} overlap at "
            f"{table.onset[row]:.3f} s, for which PSDS is not defined; merge them"
        )


def _staircase_area(false_rate: NDArray[np.float64], true_ratio: NDArray[np.float64], max_rate: float) -> float:
    """Area, as a fraction, under the best true ratio reached at or below each false rate: (points,), (points,)."""
    order = np.argsort(false_rate)
    rate = np.append(np.minimum(false_rate[order], max_rate), max_rate)
    return float(np.sum(np.diff(rate) * np.maximum.accumulate(true_ratio[order]))) / max_rate
