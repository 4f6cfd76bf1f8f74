"""The published scorers: psds_eval and sed_eval behind our nouns. The one file that knows them, and pandas.

Conventions, all of the DCASE Task 4 baselines unless said otherwise:
- Clips are matched by audio_id, so `x.wav` and `x` are one clip.
- PSDS and intersection F1 look at every clip in `durations`, the clips without events too; a detection in them is a
  false alarm. Their classes are those of the ground truth; detections of other classes are not counted.
- Collar and segment F1 look at the clips that the ground truth lists, with or without events. Their classes are those
  of ground truth and detections together. A clip's segments end with its last event, reference or detected.
- A class without detections has F1 0. Ours in two places: sed_eval's segment F1 leaves a class without detections out
  of the average, psds_eval's macro F1 a class without a true positive. That flatters weak systems; published systems
  have no such class.
- psds_eval 0.5.3 averages cross-trigger rates over the n - 1 other classes, as the paper does. Version 0.3.0, used for
  the published tables up to 2022, averages over n: PSDS2 is .0046 higher with it (the published student has .5327, it
  has .5281 here). PSDS1 is the same.
- Times are compared as floats. At the collar's edge (0.2 s within rounding) a pair may be a hit here and a miss in
  published tables: one pair of 4224 on the DESED dev-test.

The deprecations of pandas and numpy that both packages raise are silenced: the versions are pinned.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.events import EventTable, audio_id_of
from desed_task.metrics.counts import F1, ClassCounts, macro_f1, matched_counts, micro_f1
from desed_task.metrics.scenarios import (
    COLLAR_SECONDS,
    INTERSECTION_F1,
    OFFSET_COLLAR_FRACTION,
    SEGMENT_SECONDS,
    IntersectionCriteria,
    PsdsScenario,
)

_PACKAGES = {"psds_eval": "psds-eval", "sed_eval": "sed-eval", "pandas": "pandas"}


@dataclass(frozen=True)
class Psds:
    """The score, and the area of each class alone (no penalty for differing classes); None where undefined."""

    value: float | None
    per_class: Mapping[str, float]


def require_scorers() -> None:
    """DesedTaskError when a scorer is not installed: asked before a long run, not after it."""
    for module in _PACKAGES:
        _load(module)


def scorer_versions() -> dict[str, str | None]:
    """Package -> installed version, None where it is not installed."""
    return {package: _version_of(package) for package in _PACKAGES.values()}


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
    with _quiet():
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
    with _quiet():
        scorer = _IntersectionScorer(ground_truth, durations, criteria)
        if not scorer.labels:
            return F1(None, None, {})
        scorer.add(detections, "detections")
        per_class = scorer.counts(detections)
    return F1(macro_f1(per_class), None, per_class)


def collar_f1(detections: EventTable, ground_truth: EventTable) -> F1:
    """Event F1 by sed_eval: onset within 0.2 s, offset within the larger of 0.2 s and 20 % of the reference event."""
    with _quiet():
        metric = _load("sed_eval").sound_event.EventBasedMetrics(
            event_label_list=_labels_of(detections, ground_truth),
            t_collar=COLLAR_SECONDS,
            percentage_of_length=OFFSET_COLLAR_FRACTION,
            empty_system_output_handling="zero_score",
        )
        return _sed_eval_f1(metric, detections, ground_truth)


def segment_f1(detections: EventTable, ground_truth: EventTable) -> F1:
    """Segment F1 by sed_eval: is the class active anywhere in each second of the clip."""
    with _quiet():
        metric = _load("sed_eval").sound_event.SegmentBasedMetrics(
            event_label_list=_labels_of(detections, ground_truth), time_resolution=SEGMENT_SECONDS
        )
        metric.empty_system_output_handling = "zero_score"
        return _sed_eval_f1(metric, detections, ground_truth)


def _labels_of(detections: EventTable, ground_truth: EventTable) -> list[str]:
    return sorted({*detections.labels(), *ground_truth.labels()})


def _sed_eval_f1(metric: Any, detections: EventTable, ground_truth: EventTable) -> F1:
    detected, reference = _sed_eval_lists(detections), _sed_eval_lists(ground_truth)
    for audio_id, events in reference.items():
        metric.evaluate(reference_event_list=events, estimated_event_list=detected.get(audio_id, []))
    per_class = {
        label: matched_counts(int(counts["Nref"]), int(counts["Nsys"]), int(counts["Ntp"]))
        for label, counts in metric.class_wise.items()
    }
    return F1(macro_f1(per_class), micro_f1(per_class), per_class, str(metric) if per_class else "")


def _sed_eval_lists(table: EventTable) -> dict[str, list[dict[str, Any]]]:
    """audio_id -> events as sed_eval takes them, without the tables that the published loop converts per clip."""
    return {
        audio_id: [{"onset": e.onset, "offset": e.offset, "event_label": e.event_label} for e in events]
        for audio_id, events in table.by_audio_id().items()
    }


class _IntersectionScorer:
    """psds_eval with clips as numbers: names are matched by audio_id once, here."""

    def __init__(
        self, ground_truth: EventTable, durations: Mapping[str, float], criteria: IntersectionCriteria
    ) -> None:
        self._pandas = _load("pandas")
        self._clip = {audio_id_of(filename): number for number, filename in enumerate(durations)}
        if len(self._clip) != len(durations):
            raise EventTableError("two files of the table of durations differ in folder or extension only; rename one")
        self.labels = ground_truth.labels()
        if not self.labels:
            return
        metadata = self._pandas.DataFrame({"filename": range(len(durations)), "duration": list(durations.values())})
        self._scorer = _load("psds_eval").PSDSEval(
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


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _load(module: str) -> ModuleType:
    try:
        with _quiet():
            return importlib.import_module(module)
    except ImportError as error:
        raise DesedTaskError(
            f'scoring needs {_PACKAGES[module]} ({error}); install it with pip install "desed-task[train]"'
        ) from None


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
