"""Reports as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from desed_task.metrics.report import Report
from desed_task.metrics.tag_report import TagReport


def format_table(reports: Mapping[str, Report]) -> str:
    """Markdown: one row per system, 95 % intervals in brackets, then its warnings and problems."""
    columns: tuple[tuple[str, Callable[[Report], str]], ...] = (
        ("PSDS1", lambda r: with_interval(r, "psds1")),
        ("PSDS2", lambda r: with_interval(r, "psds2")),
        ("collar F1 macro", lambda r: with_interval(r, "collar_f1_macro")),
        ("collar F1 micro", lambda r: fraction(r.collar_f1_micro)),
        ("intersection F1", lambda r: fraction(r.intersection_f1_macro)),
        ("segment F1 macro", lambda r: fraction(r.segment_f1_macro)),
        ("segment F1 micro", lambda r: fraction(r.segment_f1_micro)),
        ("tagging F1", lambda r: fraction(r.tagging_f1_macro)),
        ("files", lambda r: f"{r.files_present}/{r.files_expected}"),
        ("kWh training", lambda r: energy(r.energy_kwh_training, r.energy_estimated)),
        ("kWh inference", lambda r: energy(r.energy_kwh_inference, r.energy_estimated)),
    )
    rows = [("system", *(title for title, _ in columns))]
    rows += [(name, *(cell(report) for _, cell in columns)) for name, report in reports.items()]
    notes = [f"{name}: {note}" for name, report in reports.items() for note in (*report.warnings, *report.problems)]
    return markdown(rows) + "".join(f"\n{note}\n" for note in notes)


def format_tag_table(reports: Mapping[str, TagReport]) -> str:
    """As `format_table`, for taggers."""
    columns: tuple[tuple[str, Callable[[TagReport], str]], ...] = (
        ("mAP", lambda r: with_interval(r, "map")),
        ("mAUC", lambda r: with_interval(r, "mauc")),
        ("d'", lambda r: fraction(r.dprime)),
        ("accuracy", lambda r: with_interval(r, "accuracy")),
        ("tagging F1", lambda r: fraction(r.tagging_f1_macro)),
        ("files", lambda r: f"{r.files_present}/{r.files_expected}"),
        ("kWh training", lambda r: energy(r.energy_kwh_training, r.energy_estimated)),
        ("kWh inference", lambda r: energy(r.energy_kwh_inference, r.energy_estimated)),
    )
    rows = [("tagger", *(title for title, _ in columns))]
    rows += [(name, *(cell(report) for _, cell in columns)) for name, report in reports.items()]
    notes = [f"{name}: {note}" for name, report in reports.items() for note in (*report.warnings, *report.problems)]
    return markdown(rows) + "".join(f"\n{note}\n" for note in notes)


def format_class_table(reports: Mapping[str, Report]) -> str:
    """Markdown: one row per class, the collar F1 of every system side by side."""
    labels = list(dict.fromkeys(label for report in reports.values() for label in report.per_class))
    rows = [("collar F1", "events", *reports)]
    for label in labels:
        of_class = [report.per_class.get(label) for report in reports.values()]
        count = next(str(c.num_reference) for c in of_class if c is not None)
        rows.append((label, count, *(fraction(c.collar_f1 if c else None) for c in of_class)))
    return markdown(rows)


def with_interval(report: Report | TagReport, name: str) -> str:
    """The figure, and its 95 % interval over test clips."""
    interval = report.intervals.get(name)
    value = fraction(getattr(report, name))
    if interval is None or interval.low is None or interval.high is None:
        return value
    return f"{value} ({interval.low:.3f}-{interval.high:.3f})"


def fraction(value: float | None) -> str:
    """Four digits, or a dash where undefined."""
    return "-" if value is None else f"{value:.4f}"


def energy(kwh: float | None, estimated: bool | None) -> str:
    """kWh in three digits, or a dash where nothing was metered."""
    return "-" if kwh is None else f"{kwh:.3g}{' (estimated)' if estimated else ''}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a Markdown table, its columns aligned; the first row is the header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        lines.append("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"
