"""Report: everything that is measured about one system on one set of clips.

`evaluate` filters the scores once, takes PSDS over a grid of thresholds and the F1s at the system's own operating
point. A clip that has scores and no entry in the ground truth is a clip without events. All figures are fractions in
[0, 1], None (null) where undefined. A metric that fails is None and leaves a sentence in `problems`; the others stand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.events import EventTable, audio_id_of
from desed_task.metrics.counts import F1, ClassCounts
from desed_task.metrics.reference import Psds, collar_f1, intersection_f1, psds, scorer_versions, segment_f1
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2
from desed_task.metrics.tagging import tagging_f1
from desed_task.postprocessing.operating_points import detect_at_thresholds
from desed_task.postprocessing.pipeline import PostProcessing
from desed_task.postprocessing.thresholds import NUM_OPERATING_POINTS, threshold_grid
from desed_task.scores import Scores

Result = TypeVar("Result")

_NO_PSDS = Psds(None, {})
_NO_F1 = F1(None, None, {})
_CONVENTIONS = (
    "decision: score > threshold, after the median filter",
    "collar F1 (sed_eval): onset 0.2 s, offset max(0.2 s, 20 % of the reference event), optimal matching",
    "segment F1 (sed_eval): segments of 1 s",
    "intersection F1 (psds_eval): dtc 0.5, gtc 0.5, macro",
    "PSDS1: dtc 0.7, gtc 0.7, alpha_ct 0, alpha_st 1, 100 per hour",
    "PSDS2: dtc 0.1, gtc 0.1, cttc 0.3, alpha_ct 0.5 (mean over n - 1 classes), alpha_st 1, 100 per hour",
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
    num_detected: int
    tp: int | None
    fp: int | None
    fn: int | None


@dataclass(frozen=True)
class Evidence:
    """What the figures were computed from. Tables are by filename, scores by audio_id."""

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
    collar_f1_macro: float | None
    collar_f1_micro: float | None
    intersection_f1_macro: float | None
    segment_f1_macro: float | None
    segment_f1_micro: float | None
    tagging_f1_macro: float | None
    tagging_f1_micro: float | None
    per_class: Mapping[str, ClassReport]
    files_present: int
    files_expected: int
    scorer: Mapping[str, Any]
    warnings: tuple[str, ...]
    problems: tuple[str, ...]
    evidence: Evidence = field(repr=False, compare=False)
    energy_kwh_training: float | None = None
    energy_kwh_inference: float | None = None
    energy_kwh_scoring: float | None = None
    energy_estimated: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """The flat mapping that `report.json` holds."""
        figures = {name: value for name, value in vars(self).items() if name != "evidence"}
        figures["per_class"] = {label: asdict(of_class) for label, of_class in self.per_class.items()}
        return {**figures, "warnings": list(self.warnings), "problems": list(self.problems)}


def evaluate(
    scores: Mapping[str, Scores],
    ground_truth: EventTable,
    durations: Mapping[str, float],
    postprocessing: PostProcessing,
    *,
    files_expected: int | None = None,
    num_thresholds: int = NUM_OPERATING_POINTS,
    count_clips_without_events: bool = True,
) -> Report:
    """Scores (audio_id -> Scores) of a system against the ground truth.

    durations: filename -> seconds, for at least every clip with scores. files_expected: clips that the set has when
    complete; by default those that the ground truth lists. Clips of the ground truth without scores are left out, with
    a warning. Clips without events count (psds_eval does so; sed_scores_eval's recipes do not), unless
    `count_clips_without_events` is False. DesedTaskError when the inputs do not fit one another.
    """
    ground_truth.require_labels(postprocessing.labels, "ground truth")
    clips = _match(scores, ground_truth, durations, count_clips_without_events)
    filtered = {audio_id: postprocessing.filter(clip) for audio_id, clip in clips.scores.items()}
    problems: list[str] = []
    taggers = {audio_id for audio_id, clip in filtered.items() if clip.frame_values is None}
    if taggers and len(taggers) < len(filtered):
        raise DesedTaskError(f"{min(taggers)} has clip scores only, other clips have frames; score all with one model")
    figures = _tagging_figures(clips, filtered, postprocessing, problems)
    if not taggers:
        figures = _detection_figures(figures, clips, filtered, postprocessing, num_thresholds, problems)
    expected = len({*clips.listed, *scores}) if files_expected is None else files_expected
    return _report(figures, clips, postprocessing, num_thresholds, len(scores), expected, tuple(problems))


@dataclass(frozen=True)
class _Clips:
    """The evaluated clips, everything by the filename of the table of durations except scores (audio_id)."""

    scores: Mapping[str, Scores]
    filename: Mapping[str, str]
    reference: EventTable
    durations: Mapping[str, float]
    listed: frozenset[str]


@dataclass(frozen=True)
class _Figures:
    tagging: F1
    psds1: Psds = _NO_PSDS
    psds2: Psds = _NO_PSDS
    collar: F1 = _NO_F1
    segment: F1 = _NO_F1
    intersection: F1 = _NO_F1
    detections: EventTable = field(default_factory=lambda: EventTable({}))
    operating_points: Mapping[float, EventTable] = field(default_factory=dict)
    filtered: Mapping[str, Scores] = field(default_factory=dict)


def _match(
    scores: Mapping[str, Scores], ground_truth: EventTable, durations: Mapping[str, float], without_events: bool
) -> _Clips:
    events = ground_truth.by_audio_id()
    filename = {audio_id_of(name): name for name in durations}
    unknown = [audio_id for audio_id in scores if audio_id not in filename]
    if unknown:
        raise EventTableError(f"{unknown[0]} has scores but is not in the table of durations; add it or leave it out")
    evaluated = [audio_id for audio_id in scores if without_events or events.get(audio_id)]
    if not evaluated:
        raise DesedTaskError(
            f"no clip to evaluate: {len(scores)} clips have scores, the ground truth holds {len(ground_truth)} events"
        )
    return _Clips(
        scores={audio_id: scores[audio_id] for audio_id in evaluated},
        filename={audio_id: filename[audio_id] for audio_id in evaluated},
        reference=EventTable({filename[audio_id]: events.get(audio_id, ()) for audio_id in evaluated}),
        durations={filename[audio_id]: durations[filename[audio_id]] for audio_id in evaluated},
        listed=frozenset(events),
    )


def _tagging_figures(
    clips: _Clips, filtered: Mapping[str, Scores], postprocessing: PostProcessing, problems: list[str]
) -> _Figures:
    clip_values = {clips.filename[audio_id]: clip.clip_values for audio_id, clip in filtered.items()}
    reference = dict(clips.reference.items())
    attempt = _Attempt(problems)
    return _Figures(attempt("tagging F1", lambda: tagging_f1(clip_values, reference, postprocessing.labels), _NO_F1))


def _detection_figures(
    figures: _Figures,
    clips: _Clips,
    filtered: Mapping[str, Scores],
    postprocessing: PostProcessing,
    num_thresholds: int,
    problems: list[str],
) -> _Figures:
    by_filename = {clips.filename[audio_id]: clip for audio_id, clip in filtered.items()}
    points = detect_at_thresholds(by_filename, threshold_grid(num_thresholds))
    detections = EventTable({name: postprocessing.detect_at(clip) for name, clip in by_filename.items()})
    reference, durations = clips.reference, clips.durations
    attempt = _Attempt(problems)
    return _Figures(
        tagging=figures.tagging,
        psds1=attempt("PSDS1", lambda: psds(points, reference, durations, PSDS_SCENARIO_1), _NO_PSDS),
        psds2=attempt("PSDS2", lambda: psds(points, reference, durations, PSDS_SCENARIO_2), _NO_PSDS),
        collar=attempt("collar F1", lambda: collar_f1(detections, reference), _NO_F1),
        segment=attempt("segment F1", lambda: segment_f1(detections, reference), _NO_F1),
        intersection=attempt("intersection F1", lambda: intersection_f1(detections, reference, durations), _NO_F1),
        detections=detections,
        operating_points=points,
        filtered=filtered,
    )


class _Attempt:
    """Runs one metric; what it raises becomes a sentence in `problems` and the figure stays undefined."""

    def __init__(self, problems: list[str]) -> None:
        self._problems = problems

    def __call__(self, name: str, metric: Callable[[], Result], undefined: Result) -> Result:
        try:
            return metric()
        except Exception as error:  # scorers are outside packages: hours of training must not end in their traceback
            kind = "" if isinstance(error, DesedTaskError) else f"{type(error).__name__}: "
            self._problems.append(f"{name} could not be computed: {kind}{' '.join(str(error).split())}")
            return undefined


def _report(
    figures: _Figures,
    clips: _Clips,
    postprocessing: PostProcessing,
    num_thresholds: int,
    files_present: int,
    files_expected: int,
    problems: tuple[str, ...],
) -> Report:
    return Report(
        psds1=figures.psds1.value,
        psds2=figures.psds2.value,
        collar_f1_macro=figures.collar.macro,
        collar_f1_micro=figures.collar.micro,
        intersection_f1_macro=figures.intersection.macro,
        segment_f1_macro=figures.segment.macro,
        segment_f1_micro=figures.segment.micro,
        tagging_f1_macro=figures.tagging.macro,
        tagging_f1_micro=figures.tagging.micro,
        per_class={label: _class_report(label, figures, clips.reference) for label in postprocessing.labels},
        files_present=files_present,
        files_expected=files_expected,
        scorer=_scorer(postprocessing, num_thresholds, len(clips.scores)),
        warnings=_warnings(files_present, files_expected, bool(figures.filtered)),
        problems=problems,
        evidence=Evidence(
            figures.detections,
            figures.operating_points,
            clips.scores,
            figures.filtered,
            figures.collar.table,
            figures.segment.table,
        ),
    )


def _class_report(label: str, figures: _Figures, reference: EventTable) -> ClassReport:
    def f1_of(f1: F1) -> float | None:
        return f1.per_class[label].f1 if label in f1.per_class else None

    collar: ClassCounts | None = figures.collar.per_class.get(label)
    num_reference = int((reference.event_label == label).sum())
    num_detected = int((figures.detections.event_label == label).sum())
    if collar is None and figures.collar.per_class and not num_reference + num_detected:
        collar = ClassCounts(0, 0, 0, 0, 0)
    return ClassReport(
        psds1=figures.psds1.per_class.get(label),
        psds2=figures.psds2.per_class.get(label),
        collar_f1=f1_of(figures.collar),
        intersection_f1=f1_of(figures.intersection),
        segment_f1=f1_of(figures.segment),
        tagging_f1=f1_of(figures.tagging),
        num_reference=num_reference,
        num_detected=num_detected,
        tp=collar.tp if collar else None,
        fp=collar.fp if collar else None,
        fn=collar.fn if collar else None,
    )


def _scorer(postprocessing: PostProcessing, num_thresholds: int, clips_evaluated: int) -> dict[str, Any]:
    labels = postprocessing.labels
    return {
        "packages": scorer_versions(),
        "psds_thresholds": num_thresholds,
        "threshold": dict(zip(labels, postprocessing.thresholds, strict=True)),
        "median_filter_seconds": dict(zip(labels, postprocessing.median_filter_seconds, strict=True)),
        "clips_evaluated": clips_evaluated,
        "conventions": list(_CONVENTIONS),
    }


def _warnings(files_present: int, files_expected: int, has_frames: bool) -> tuple[str, ...]:
    warnings = []
    if files_present != files_expected:
        warnings.append(f"{files_present} of {files_expected} files present: not comparable with published numbers")
    if not has_frames:
        warnings.append("the scores have no frames: only tagging is evaluated")
    return tuple(warnings)
