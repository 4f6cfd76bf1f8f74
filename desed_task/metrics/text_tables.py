"""The text tables `event_f1.txt` and `segment_f1.txt` that the DCASE baselines publish, in sed_eval's layout.

Per class: Nref, Nsys (items there and said), F, precision, recall, error rate = deletions + insertions over Nref, and
for segments sensitivity, specificity, balanced accuracy, accuracy. Overall, what is missed and what is wrongly there at
one place is one substitution instead of a deletion and an insertion.

Where ours differ from sed_eval's: a class without detections has precision and F 0 in both tables; a class that the
reference does not hold has no recall, F and error rate (nan), and no part in their averages (sed_eval divides by 1e-16
and averages what comes out); classes stand in the order they are given; substitutions see `Collar.count_substitutions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from desed_task.metrics.collar import Collar
from desed_task.metrics.counts import ClassCounts
from desed_task.metrics.segment import SegmentTotals

_NAN = float("nan")


@dataclass(frozen=True)
class Evaluated:
    """How much was looked at: clips, and seconds up to the last event of each."""

    num_clips: int
    seconds: float


@dataclass(frozen=True)
class _Row:
    """What a table says about a class, or about all together; nan where undefined. accuracies: empty for events."""

    f1: float
    precision: float
    recall: float
    errors: tuple[float, ...]  # of all together: substitutions, deletions, insertions; of a class: the latter two
    accuracies: tuple[float, ...] = ()


def event_table(
    per_class: Mapping[str, ClassCounts], substitutions: int, evaluated: Evaluated, collar: Collar | None = None
) -> str:
    """The table of the collar criterion."""
    collar = collar or Collar()
    every = _sum(per_class)
    errors = (substitutions, every.fn - substitutions, every.fp - substitutions)
    header = [
        *_header("Event based metrics (onset-offset)", evaluated),
        _data("Evaluate onset", "True"),
        _data("Evaluate offset", "True"),
        _duration("T collar", collar.onset_seconds),
        _data("Offset (length)", f"{100 * collar.offset_fraction:.2f}", "%"),
    ]
    rows = {label: _row(counts, (counts.fn, counts.fp)) for label, counts in per_class.items()}
    return _table(header, _row(every, errors), rows, per_class)


def segment_table(
    per_class: Mapping[str, ClassCounts], totals: SegmentTotals, evaluated: Evaluated, segment_seconds: float
) -> str:
    """The table of the segment criterion."""
    every = _sum(per_class)
    errors = (totals.substitutions, totals.deletions, totals.insertions)
    header = [
        *_header("Segment based metrics", evaluated),
        _duration("Segment length", segment_seconds),
    ]
    rows = {label: _row(counts, (counts.fn, counts.fp), totals.num_segments) for label, counts in per_class.items()}
    return _table(header, _row(every, errors, totals.num_segments * len(per_class)), rows, per_class)


def _sum(per_class: Mapping[str, ClassCounts]) -> ClassCounts:
    columns = ([getattr(c, name) for c in per_class.values()] for name in ClassCounts.__dataclass_fields__)
    return ClassCounts(*(sum(column) for column in columns))


def _row(counts: ClassCounts, errors: tuple[int, ...], num_segments: int | None = None) -> _Row:
    f1 = _NAN if counts.f1 is None else counts.f1
    precision = counts.tp / counts.num_detected if counts.num_detected else 0.0
    rates = tuple(_share(number, counts.num_reference) for number in errors)
    accuracies = () if num_segments is None else _accuracies(counts, num_segments)
    return _Row(f1, precision, _share(counts.tp, counts.num_reference), rates, accuracies)


def _accuracies(counts: ClassCounts, num_segments: int) -> tuple[float, ...]:
    """Sensitivity, specificity, balanced accuracy, accuracy."""
    neither = num_segments - counts.tp - counts.fp - counts.fn
    sensitivity, specificity = _share(counts.tp, counts.tp + counts.fn), _share(neither, neither + counts.fp)
    balanced, accuracy = (sensitivity + specificity) / 2, _share(counts.tp + neither, num_segments)
    return sensitivity, specificity, balanced, accuracy


def _share(part: int, whole: int) -> float:
    return part / whole if whole else _NAN


def _table(header: Sequence[str], every: _Row, rows: Mapping[str, _Row], per_class: Mapping[str, ClassCounts]) -> str:
    lines = [*header, "", *_section("Overall metrics (micro-average)"), *_figures(every, "Substitution rate"), ""]
    lines += [*_section("Class-wise average metrics (macro-average)"), *_figures(_average(list(rows.values()))), "  "]
    lines += ["", *_section("Class-wise metrics"), *_class_lines(rows, per_class)]
    return "\n".join(lines) + "\n\n"


def _average(rows: Sequence[_Row]) -> _Row:
    def columns(values: Callable[[_Row], Iterable[float]]) -> tuple[float, ...]:
        return tuple(_mean(column) for column in zip(*(values(row) for row in rows), strict=True))

    f1, precision, recall = columns(lambda row: (row.f1, row.precision, row.recall))
    return _Row(f1, precision, recall, columns(lambda row: row.errors), columns(lambda row: row.accuracies))


def _mean(values: Iterable[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return sum(defined) / len(defined) if defined else _NAN


def _header(title: str, evaluated: Evaluated) -> list[str]:
    return [
        title,
        "=" * 40,
        _data("Evaluated length", f"{evaluated.seconds:.2f}", "sec"),
        _data("Evaluated files", str(evaluated.num_clips)),
    ]


def _section(title: str) -> list[str]:
    return [f"  {title}", f"  {'=' * 38}"]


def _figures(row: _Row, *first_error: str) -> list[str]:
    lines = ["  F-measure"]
    for name, value in (("F-measure (F1)", row.f1), ("Precision", row.precision), ("Recall", row.recall)):
        lines.append(_data(name, f"{100 * value:.2f}", "%", indent=4))
    lines += ["  Error rate", _data("Error rate (ER)", f"{sum(row.errors):.2f}", indent=4)]
    for name, value in zip((*first_error, "Deletion rate", "Insertion rate"), row.errors, strict=True):
        lines.append(_data(name, f"{value:.2f}", indent=4))
    if row.accuracies:
        lines.append("  Accuracy")
        names = ("Sensitivity", "Specificity", "Balanced accuracy", "Accuracy")
        for name, value in zip(names, row.accuracies, strict=True):
            lines.append(_data(name, f"{100 * value:.2f}", "%", indent=4))
    return lines


def _class_lines(rows: Mapping[str, _Row], per_class: Mapping[str, ClassCounts]) -> list[str]:
    accuracies = ("Sens", "Spec", "Bacc", "Acc") if next(iter(rows.values())).accuracies else ()
    names = ("Event label", "Nref", "Nsys", "F", "Pre", "Rec", "ER", "Del", "Ins", *accuracies)
    lines = [_cells(names), _cells([12 * "-", 5 * "-", 5 * "-", *(6 * "-" for _ in names[3:])])]
    for label, row in rows.items():
        counts = per_class[label]
        shares = (row.f1, row.precision, row.recall), row.accuracies
        percent = [[f"{100 * value:.1f}%" for value in part] for part in shares]
        errors = [f"{value:.2f}" for value in (sum(row.errors), *row.errors)]
        name = label if len(label) <= 12 else f"{label[:10]}.."
        lines.append(
            _cells([name, str(counts.num_reference), str(counts.num_detected), *percent[0], *errors, *percent[1]])
        )
    return lines


def _cells(cells: Sequence[str]) -> str:
    """Columns as wide as sed_eval's: name, two counts, shares and rates; lines after the first, third, sixth, ninth."""
    widths = (12, 5, 5, *(6 for _ in cells[3:]))
    line = ""
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        line += f"{' ' if column else ''}{cell:<{width}} {'|' if column in (0, 2, 5, 8) else ' '}"
    return f"    {line}"


def _duration(name: str, seconds: float) -> str:
    return _data(name, f"{1000 * seconds:.2f}", "ms") if seconds < 1 else _data(name, f"{seconds:.2f}", "sec")


def _data(name: str, value: str, unit: str = "", indent: int = 2) -> str:
    return f"{' ' * indent}{name:<{35 - indent}} : {value} {unit}"
