"""sed_scores_eval (0.0.4) behind our nouns: figures that look at every threshold.

J. Ebbers, R. Serizel, R. Haeb-Umbach, "Threshold independent evaluation of sound event detection scores", ICASSP 2022.

- Evaluated is every clip in `durations`, clips without events too (its own recipes leave these out).
- It knows neither classes without events, which are left out here as in our figures, nor touching or overlapping events
  of one class, which are refused here in a sentence.
- Times are rounded to microseconds; a share is enough where `shared >= round(fraction * length)`. Ours equals it to
  1e-9.
- Memory and time grow with the square of the frames of a clip.
- Its best F1 averages over the classes each at its own best threshold. `auroc` of this version sums a staircase, where
  later sources join the points by lines.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.events import EventTable, audio_id_of
from desed_task.metrics.psds import Psds, RocCurve
from desed_task.metrics.reference.packages import load, quiet
from desed_task.metrics.scenarios import (
    COLLAR_SECONDS,
    INTERSECTION_F1,
    OFFSET_COLLAR_FRACTION,
    SEGMENT_SECONDS,
    IntersectionCriteria,
    PsdsScenario,
)
from desed_task.scores import ScoreTable


@dataclass(frozen=True)
class BestF1:
    """F1 with every class at the threshold that suits it best; per_class and thresholds: the classes with events."""

    macro: float | None
    micro: float | None
    per_class: Mapping[str, float]
    thresholds: Mapping[str, float]


def exact_psds(
    scores: Mapping[str, ScoreTable],
    ground_truth: EventTable,
    durations: Mapping[str, float],
    scenario: PsdsScenario,
    *,
    oracle: bool = True,
) -> Psds:
    """PSDS over all thresholds. DesedTaskError for `oracle=False` where the installed version does not know it."""
    with quiet():
        scorer = load("sed_scores_eval.intersection_based")
        if not oracle and "non_oracle" not in inspect.signature(scorer.psds).parameters:
            raise DesedTaskError("the installed sed_scores_eval does not know noPSDS (oracle=False)")
        inputs = _inputs(scores, ground_truth, durations)
        if inputs is None:
            return Psds(None, {})
        options = _scenario_options(scenario, inputs.labels) | ({} if oracle else {"non_oracle": True})
        return _psds_of(scorer.psds(inputs.frames, inputs.events, inputs.seconds, **options))


def independent_psds(
    scores: Sequence[Mapping[str, ScoreTable]],
    ground_truth: EventTable,
    durations: Mapping[str, float],
    scenario: PsdsScenario,
) -> Psds:
    """PSDS of the best of several post-processings of one system, chosen for each class and rate."""
    with quiet():
        every = [_inputs(of_one, ground_truth, durations) for of_one in scores]
        known = [inputs for inputs in every if inputs is not None]
        if not known:
            return Psds(None, {})
        scorer, options = load("sed_scores_eval.intersection_based"), _scenario_options(scenario, known[0].labels)
        matching = {name: value for name, value in options.items() if name.endswith("_threshold")}
        found = scorer.postprocessing_independent_psds(
            None,
            known[0].events,
            known[0].seconds,
            postprocessing_functions=None,
            # given scores, this version asks for no process at all and fails; given deltas, it needs none
            deltas=[scorer.intermediate_statistics_deltas(one.frames, one.events, **matching) for one in known],
            **options,
        )
        return _psds_of(found)


def best_intersection_f1(
    scores: Mapping[str, ScoreTable],
    ground_truth: EventTable,
    durations: Mapping[str, float],
    criteria: IntersectionCriteria = INTERSECTION_F1,
) -> BestF1:
    """Best F1 by intersection; true positives are events, false alarms detections."""
    options = {"dtc_threshold": criteria.dtc, "gtc_threshold": criteria.gtc}
    return _best_f1("intersection_based", scores, ground_truth, durations, options)


def best_collar_f1(
    scores: Mapping[str, ScoreTable], ground_truth: EventTable, durations: Mapping[str, float]
) -> BestF1:
    """Best event F1: onset within 0.2 s, offset within the larger of 0.2 s and 20 % of the reference event."""
    options = {
        "onset_collar": COLLAR_SECONDS,
        "offset_collar": COLLAR_SECONDS,
        "offset_collar_rate": OFFSET_COLLAR_FRACTION,
    }
    return _best_f1("collar_based", scores, ground_truth, durations, options)


def best_segment_f1(
    scores: Mapping[str, ScoreTable], ground_truth: EventTable, durations: Mapping[str, float]
) -> BestF1:
    """Best segment F1: is the class active anywhere in each second of the clip."""
    options = {"segment_length": SEGMENT_SECONDS}
    return _best_f1("segment_based", scores, ground_truth, durations, options, with_durations=True)


def segment_auroc(
    scores: Mapping[str, ScoreTable],
    ground_truth: EventTable,
    durations: Mapping[str, float],
    max_false_rate: float | None = None,
) -> tuple[float | None, Mapping[str, float]]:
    """Area under the ROC of one-second segments: mean and per class; up to max_false_rate, as a fraction of it."""
    with quiet():
        inputs = _inputs(scores, ground_truth, durations)
        if inputs is None:
            return None, {}
        areas, _ = load("sed_scores_eval.segment_based").auroc(
            inputs.frames, inputs.events, inputs.seconds, segment_length=SEGMENT_SECONDS, max_fpr=max_false_rate
        )
    per_class = {label: float(area) for label, area in areas.items() if label in inputs.labels}
    return float(areas["mean"]), per_class


@dataclass(frozen=True, eq=False)
class _Inputs:
    """What sed_scores_eval takes, by audio_id: score frames, events, seconds; and the classes with events."""

    labels: tuple[str, ...]
    frames: Mapping[str, Any]
    events: Mapping[str, Sequence[tuple[float, float, str]]]
    seconds: Mapping[str, float]


def _inputs(
    scores: Mapping[str, ScoreTable], ground_truth: EventTable, durations: Mapping[str, float]
) -> _Inputs | None:
    """Scores, ground truth and durations by audio_id; None when there are no events, so nothing to score."""
    labels = ground_truth.labels()
    if not labels:
        return None
    seconds = {audio_id_of(filename): duration for filename, duration in durations.items()}
    listed = ground_truth.by_audio_id()
    events = {name: [(e.onset, e.offset, e.event_label) for e in listed.get(name, ())] for name in seconds}
    _refuse_touching(events)
    by_id = {audio_id_of(name): table for name, table in scores.items()}
    absent = sorted(seconds.keys() - by_id.keys())
    if absent:
        raise DesedTaskError(f"{len(absent)} clips of the table of durations have no scores, the first {absent[0]}")
    return _Inputs(labels, {name: _frame_of(by_id[name], labels) for name in seconds}, events, seconds)


def _frame_of(table: ScoreTable, labels: Sequence[str]) -> Any:
    pandas = load("pandas")
    columns: dict[str, NDArray[Any]] = {"onset": table.edges[:-1], "offset": table.edges[1:]}
    values = np.asarray(table.values, dtype=np.float64)
    return pandas.DataFrame(columns | {label: values[:, table.labels.index(label)] for label in labels})


def _refuse_touching(events: Mapping[str, Sequence[tuple[float, float, str]]]) -> None:
    for name, of_clip in events.items():
        end: dict[str, float] = {}
        for onset, offset, label in sorted(of_clip):
            if onset <= end.get(label, -1.0):
                raise EventTableError(
                    f"ground truth: two {label} events of {name} touch or overlap at {onset:.3f} s, which "
                    "sed_scores_eval refuses"
                )
            end[label] = offset


def _scenario_options(scenario: PsdsScenario, labels: Sequence[str]) -> dict[str, Any]:
    criteria = scenario.criteria
    options: dict[str, Any] = {"dtc_threshold": criteria.dtc, "gtc_threshold": criteria.gtc}
    options |= {"alpha_st": scenario.alpha_st, "max_efpr": scenario.max_efpr}
    if scenario.alpha_ct and len(labels) > 1:  # it fails on cross-triggers of a single class, of which there are none
        options |= {"cttc_threshold": criteria.cttc, "alpha_ct": scenario.alpha_ct}
    return options


def _psds_of(found: tuple[Any, ...]) -> Psds:
    value, per_class, (ratios, rates), curves, *_ = found
    return Psds(
        float(value),
        {label: float(area) for label, area in per_class.items()},
        RocCurve(rates, ratios),
        {label: RocCurve(curve[1], curve[0]) for label, curve in curves.items()},
    )


def _best_f1(
    kind: str,
    scores: Mapping[str, ScoreTable],
    ground_truth: EventTable,
    durations: Mapping[str, float],
    options: Mapping[str, float],
    with_durations: bool = False,
) -> BestF1:
    with quiet():
        scorer = load(f"sed_scores_eval.{kind}")
        inputs = _inputs(scores, ground_truth, durations)
        if inputs is None:
            return BestF1(None, None, {}, {})
        seconds = (inputs.seconds,) if with_durations else ()
        best, _, _, thresholds, _ = scorer.best_fscore(inputs.frames, inputs.events, *seconds, **options)
    return BestF1(
        float(best["macro_average"]),
        float(best["micro_average"]),
        {label: float(best[label]) for label in inputs.labels},
        {label: float(thresholds[label]) for label in inputs.labels},
    )
