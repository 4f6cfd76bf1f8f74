"""Reports as files and as tables to read.

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
from pathlib import Path

from desed_task.events import EventTable
from desed_task.formats.dcase import write_detections, write_score_folder
from desed_task.metrics.report import Report
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2, PsdsScenario


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
