"""Report: everything that is measured about one system on one set of clips.

`evaluate` filters the scores once and takes PSDS over every threshold, F1s at the system's own operating point and at
the best ones. A clip that has scores and no entry in the ground truth is a clip without events. All figures are
fractions in [0, 1], None (null) where undefined. A metric that fails is None and leaves a sentence in `problems`; the
others stand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from desed_task.events import EventTable
from desed_task.metrics.bootstrap import Interval
from desed_task.metrics.counts import F1
from desed_task.metrics.deltas import point_deltas
from desed_task.metrics.event_f1 import collar_f1, segment_f1
from desed_task.metrics.figures import (
    NO_F1,
    SCENARIOS,
    Attempt,
    Figures,
    figures_of_scores,
    truth_for_figures,
    without_psds,
)
from desed_task.metrics.matched_clips import match_clips
from desed_task.metrics.psds import criterion_of, psds
from desed_task.metrics.rules import DEFAULT_RULES, Rules
from desed_task.metrics.tagging import tagging_f1
from desed_task.metrics.truth import Truth
from desed_task.metrics.uncertainty import NUM_SAMPLES, figure_intervals
from desed_task.postprocessing.operating_points import detect_at_thresholds
from desed_task.postprocessing.pipeline import PostProcessing
from desed_task.postprocessing.thresholds import NUM_OPERATING_POINTS, threshold_grid
from desed_task.scores import Scores, ScoreTable

CONVENTIONS = (
    "times: in every figure and table as scorer.rules says; published collar F1s compare floats (time_decimals null)",
    "decision: score > threshold, after the median filter",
    "collar F1: onset 0.2 s, offset max(0.2 s, 20 % of the reference event), optimal matching",
    "segment F1, AUROC and pAUROC (false positive rate up to 0.1): segments of 1 s",
    "intersection F1: dtc 0.5, gtc 0.5, macro",
    "PSDS1: dtc 0.7, gtc 0.7, alpha_ct 0, alpha_st 1, 100 per hour, exact over all thresholds",
    "PSDS2: dtc 0.1, gtc 0.1, cttc 0.3, alpha_ct 0.5, alpha_st 1, 100 per hour, exact over all thresholds",
    "noPSDS: PSDS without leaving out thresholds that only the ground truth tells one to avoid",
    "sampled: over so many thresholds in equal steps, as psds_eval is used in published tables",
    "best: at the thresholds that suit each class best, which only the ground truth tells",
    "tagging F1: clip score > 0.5",
    "macro: mean over the classes of the reference, a class never detected counts 0",
)


@dataclass(frozen=True)
class ClassReport:
    """One class: PSDS of the class alone, F1s, and the counts of the collar criterion."""

    psds1: float | None
    psds2: float | None
    collar_f1: float | None
    intersection_f1: float | None
    segment_f1: float | None
    tagging_f1: float | None
    num_reference: int
    num_detected: int | None
    tp: int | None
    fp: int | None
    fn: int | None
    collar_f1_best: float | None = None
    collar_best_threshold: float | None = None
    segment_auroc: float | None = None


@dataclass(frozen=True)
class Evidence:
    """What the figures were computed from. Tables are by filename, scores by audio_id."""

    figures: Figures
    detections: EventTable
    operating_points: Mapping[float, EventTable]
    raw_scores: Mapping[str, Scores]
    filtered_scores: Mapping[str, Scores]
    event_f1_table: str
    segment_f1_table: str


@dataclass(frozen=True)
class Report:
    """Figures of one system. Energy is filled in by who measured it (`dataclasses.replace`)."""

    psds1: float | None
    psds2: float | None
    nopsds1: float | None
    nopsds2: float | None
    collar_f1_macro: float | None
    collar_f1_micro: float | None
    intersection_f1_macro: float | None
    segment_f1_macro: float | None
    segment_f1_micro: float | None
    tagging_f1_macro: float | None
    tagging_f1_micro: float | None
    collar_f1_best_macro: float | None
    intersection_f1_best_macro: float | None
    segment_f1_best_macro: float | None
    segment_auroc: float | None
    segment_pauroc: float | None
    per_class: Mapping[str, ClassReport]
    files_present: int
    files_expected: int
    scorer: Mapping[str, Any]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    evidence: Evidence | None = field(default=None, repr=False, compare=False)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    psds1_sampled: float | None = None
    psds2_sampled: float | None = None
    energy_kwh_training: float | None = None
    energy_kwh_inference: float | None = None
    energy_kwh_scoring: float | None = None
    energy_estimated: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """The flat mapping that `report.json` holds."""
        figures = {name: value for name, value in vars(self).items() if name != "evidence"}
        figures["per_class"] = {label: asdict(of_class) for label, of_class in self.per_class.items()}
        figures["intervals"] = {name: [interval.low, interval.high] for name, interval in self.intervals.items()}
        return {**figures, "warnings": list(self.warnings), "problems": list(self.problems)}


def evaluate(
    scores: Mapping[str, Scores],
    ground_truth: EventTable,
    durations: Mapping[str, float],
    postprocessing: PostProcessing,
    *,
    files_expected: int | None = None,
    num_thresholds: int = NUM_OPERATING_POINTS,
    rules: Rules = DEFAULT_RULES,
    num_samples: int = NUM_SAMPLES,
) -> Report:
    """Scores (audio_id -> Scores) of a system against the ground truth.

    durations: filename -> seconds, for at least every clip with scores. files_expected: clips that the set has when
    complete; by default those that the ground truth lists. Clips of the ground truth without scores are left out, with
    a warning. num_thresholds: of the sampled PSDS; num_samples: of the bootstrap, 0 for no intervals.
    DesedTaskError when the inputs do not fit one another.
    """
    labels = postprocessing.labels
    ground_truth.require_labels(labels, "ground truth")
    clips = match_clips(scores, ground_truth, durations, rules)
    attempt = Attempt()
    clip_values = {audio_id: clip.clip_values for audio_id, clip in clips.scores.items()}
    tagging = attempt("tagging F1", lambda: tagging_f1(clip_values, clips.tags, labels), NO_F1)
    truth, undefined = truth_for_figures(clips.reference, clips.durations, labels, rules)
    expected = files_expected or len({*clips.listed, *scores})
    if not clips.have_frames:
        figures = Figures(truth, {}, tuple(attempt.problems))
        report = build_report(figures, tagging, len(scores), expected)
        return replace(report, warnings=(*report.warnings, "the scores have no frames: only tagging is evaluated"))
    filtered = {audio_id: postprocessing.filter(clip) for audio_id, clip in clips.scores.items()}
    figures = figures_of_scores(_tables(filtered), truth, postprocessing.thresholds)
    if undefined is not None:
        figures = without_psds(figures, undefined)
    figures = replace(figures, problems=(*attempt.problems, *figures.problems))
    by_filename = {clips.filename[audio_id]: clip for audio_id, clip in filtered.items()}
    points = detect_at_thresholds(by_filename, threshold_grid(num_thresholds))
    as_listed = replace(rules, overlap="allow")
    detections = EventTable({name: postprocessing.detect_at(clip) for name, clip in by_filename.items()})
    return replace(
        build_report(figures, tagging, len(scores), expected),
        scorer=_scorer(truth, postprocessing, num_thresholds),
        intervals=figure_intervals(figures, num_samples),
        evidence=Evidence(
            figures,
            detections,
            points,
            clips.scores,
            filtered,
            collar_f1(detections, clips.reference, as_listed).table,
            segment_f1(detections, clips.reference, as_listed).table,
        ),
        **({} if undefined is not None else _sampled(points, truth)),
    )


def build_report(figures: Figures, tagging: F1, files_present: int, files_expected: int) -> Report:
    """The report of some figures."""
    truth = figures.truth
    best = figures.best
    return Report(
        psds1=figures.psds1.value,
        psds2=figures.psds2.value,
        nopsds1=figures.nopsds1.value,
        nopsds2=figures.nopsds2.value,
        collar_f1_macro=figures.collar.macro,
        collar_f1_micro=figures.collar.micro,
        intersection_f1_macro=figures.intersection.macro,
        segment_f1_macro=figures.segment.macro,
        segment_f1_micro=figures.segment.micro,
        tagging_f1_macro=tagging.macro,
        tagging_f1_micro=tagging.micro,
        collar_f1_best_macro=best["collar"].macro if best else None,
        intersection_f1_best_macro=best["intersection"].macro if best else None,
        segment_f1_best_macro=best["segment"].macro if best else None,
        segment_auroc=figures.auroc.mean,
        segment_pauroc=figures.pauroc.mean,
        per_class={label: _class_report(label, figures, tagging) for label in truth.labels},
        files_present=files_present,
        files_expected=files_expected,
        scorer={"rules": asdict(truth.rules), "clips_evaluated": truth.num_clips, "conventions": list(CONVENTIONS)},
        warnings=file_warnings(files_present, files_expected),
        problems=figures.problems,
    )


def file_warnings(files_present: int, files_expected: int) -> tuple[str, ...]:
    """What to say next to every figure when clips are missing."""
    if files_present == files_expected:
        return ()
    return (f"{files_present} of {files_expected} files present: not comparable with published numbers",)


def _class_report(label: str, figures: Figures, tagging: F1) -> ClassReport:
    def f1_of(f1: F1) -> float | None:
        return f1.per_class[label].f1 if label in f1.per_class else None

    truth = figures.truth
    collar, best = figures.collar.per_class.get(label), figures.best.get("collar", NO_F1)
    return ClassReport(
        psds1=figures.psds1.per_class.get(label),
        psds2=figures.psds2.per_class.get(label),
        collar_f1=f1_of(figures.collar),
        intersection_f1=f1_of(figures.intersection),
        segment_f1=f1_of(figures.segment),
        tagging_f1=f1_of(tagging),
        num_reference=int((truth.label == truth.labels.index(label)).sum()),
        num_detected=collar.num_detected if collar else None,
        tp=collar.tp if collar else None,
        fp=collar.fp if collar else None,
        fn=collar.fn if collar else None,
        collar_f1_best=f1_of(best),
        collar_best_threshold=_finite(best.thresholds.get(label)),
        segment_auroc=figures.auroc.per_class.get(label),
    )


def _finite(threshold: float | None) -> float | None:
    """None also where nothing, or everything, is best taken for an event."""
    return threshold if threshold is not None and math.isfinite(threshold) else None


def _sampled(points: Mapping[float, EventTable], truth: Truth) -> dict[str, Any]:
    """PSDS over a grid of thresholds, beside the exact one."""
    deltas = point_deltas(points, truth, [criterion_of(scenario) for scenario in SCENARIOS.values()])
    pairs = zip(SCENARIOS.items(), deltas, strict=True)
    return {f"{name}_sampled": psds(of_points, scenario).value for (name, scenario), of_points in pairs}


def _tables(scores: Mapping[str, Scores]) -> dict[str, ScoreTable]:
    return {audio_id: clip.table() for audio_id, clip in scores.items()}


def _scorer(truth: Truth, postprocessing: PostProcessing, num_thresholds: int) -> dict[str, Any]:
    labels = postprocessing.labels
    return {
        "rules": asdict(truth.rules),
        "psds_sampled_thresholds": num_thresholds,
        "threshold": dict(zip(labels, postprocessing.thresholds, strict=True)),
        "median_filter_seconds": dict(zip(labels, postprocessing.median_filter_seconds, strict=True)),
        "clips_evaluated": truth.num_clips,
        "conventions": list(CONVENTIONS),
    }
