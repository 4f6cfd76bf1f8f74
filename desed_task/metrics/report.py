"""Report: everything that is measured about one system on one set of clips, its files and its tables.

`evaluate` filters the scores once, takes PSDS over a grid of thresholds and the F1s at the system's own operating
point. A clip that has scores and no entry in the ground truth is a clip without events. All figures are fractions in
[0, 1], None (null) where undefined. A metric that fails is None and leaves a sentence in `problems`; the others stand.

A written report is a folder in the layout of the DCASE Task 4 baselines:

    report.json              written last, so a folder with one is complete
    event_f1.txt  segment_f1.txt                  sed_eval's own tables
    detections.tsv                                the system's operating point
    scenario{1,2}/predictions_dtc..._gtc..._cttc.../predictions_th_0.01.tsv ... 0.99
    scores/{raw,postprocessed}/<audio_id>.tsv     for evaluators that look at every threshold
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from desed_task.events import EventTable
from desed_task.formats.dcase import write_detections, write_score_folder
from desed_task.metrics.counts import F1, ClassCounts
from desed_task.metrics.figures import Figures, MatchedClips, compute_figures, match_clips
from desed_task.metrics.reference import scorer_versions
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2, PsdsScenario
from desed_task.postprocessing.pipeline import PostProcessing
from desed_task.postprocessing.thresholds import NUM_OPERATING_POINTS
from desed_task.scores import Scores

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
    clips = match_clips(scores, ground_truth, durations, count_clips_without_events)
    figures = compute_figures(clips, postprocessing, num_thresholds)
    expected = len({*clips.listed, *scores}) if files_expected is None else files_expected
    return _report(figures, clips, postprocessing, num_thresholds, len(scores), expected)


def write_report(report: Report, folder: Path) -> None:
    """Write the report with what it was computed from (see the top of this file); `report.json` last."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").unlink(missing_ok=True)
    evidence = report.evidence
    for name, table in (("event_f1.txt", evidence.event_f1_table), ("segment_f1.txt", evidence.segment_f1_table)):
        if table:
            _write_text(table, folder / name)
    if evidence.operating_points:
        write_detections(evidence.detections, folder / "detections.tsv")
        _write_operating_points(evidence.operating_points, PSDS_SCENARIO_1, folder / "scenario1")
        _write_operating_points(evidence.operating_points, PSDS_SCENARIO_2, folder / "scenario2")
        write_score_folder(evidence.raw_scores, folder / "scores" / "raw")
        write_score_folder(evidence.filtered_scores, folder / "scores" / "postprocessed")
    _write_text(json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n", folder / "report.json")


def format_table(reports: Mapping[str, Report]) -> str:
    """Markdown: one row per system, then its warnings and problems."""
    columns: tuple[tuple[str, Callable[[Report], str]], ...] = (
        ("PSDS1", lambda r: _fraction(r.psds1)),
        ("PSDS2", lambda r: _fraction(r.psds2)),
        ("collar F1 macro", lambda r: _fraction(r.collar_f1_macro)),
        ("collar F1 micro", lambda r: _fraction(r.collar_f1_micro)),
        ("intersection F1", lambda r: _fraction(r.intersection_f1_macro)),
        ("segment F1 macro", lambda r: _fraction(r.segment_f1_macro)),
        ("segment F1 micro", lambda r: _fraction(r.segment_f1_micro)),
        ("tagging F1", lambda r: _fraction(r.tagging_f1_macro)),
        ("files", lambda r: f"{r.files_present}/{r.files_expected}"),
        ("kWh training", lambda r: _energy(r.energy_kwh_training, r.energy_estimated)),
        ("kWh inference", lambda r: _energy(r.energy_kwh_inference, r.energy_estimated)),
    )
    rows = [("system", *(title for title, _ in columns))]
    rows += [(name, *(cell(report) for _, cell in columns)) for name, report in reports.items()]
    notes = [f"{name}: {note}" for name, report in reports.items() for note in (*report.warnings, *report.problems)]
    return _markdown(rows) + "".join(f"\n{note}\n" for note in notes)


def format_class_table(reports: Mapping[str, Report]) -> str:
    """Markdown: one row per class, the collar F1 of every system side by side."""
    labels = list(dict.fromkeys(label for report in reports.values() for label in report.per_class))
    rows = [("collar F1", "events", *reports)]
    for label in labels:
        of_class = [report.per_class.get(label) for report in reports.values()]
        count = next(str(c.num_reference) for c in of_class if c is not None)
        rows.append((label, count, *(_fraction(c.collar_f1 if c else None) for c in of_class)))
    return _markdown(rows)


def _report(
    figures: Figures,
    clips: MatchedClips,
    postprocessing: PostProcessing,
    num_thresholds: int,
    files_present: int,
    files_expected: int,
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
        problems=figures.problems,
        evidence=Evidence(
            figures.detections,
            figures.operating_points,
            clips.scores,
            figures.filtered,
            figures.collar.table,
            figures.segment.table,
        ),
    )


def _class_report(label: str, figures: Figures, reference: EventTable) -> ClassReport:
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


def _write_operating_points(points: Mapping[float, EventTable], scenario: PsdsScenario, folder: Path) -> None:
    criteria = scenario.criteria
    folder = folder / f"predictions_dtc{criteria.dtc:g}_gtc{criteria.gtc:g}_cttc{criteria.cttc:g}"
    digits = next(digits for digits in range(2, 20) if len({f"{x:.{digits}f}" for x in points}) == len(points))
    for threshold, detections in points.items():
        write_detections(detections, folder / f"predictions_th_{threshold:.{digits}f}.tsv")


def _write_text(text: str, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _fraction(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _energy(kwh: float | None, estimated: bool | None) -> str:
    return "-" if kwh is None else f"{kwh:.3g}{' (estimated)' if estimated else ''}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        lines.append("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"
