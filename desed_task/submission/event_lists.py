"""Event lists: the decisions of one operating point, tab- or comma-separated, with the columns in any order.

    filename  onset  offset  event_label       seconds; an index column and others are ignored, a row may have a
                                               filename alone: a clip without events

Checked are the columns, the numbers, the classes (those of the ground truth), the clips (those of the durations), rows
that stand twice, and, where the overlap rule is "error", events of one class that overlap in a clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.events import EventTable, audio_id_of
from desed_task.formats.dcase import STRONG_COLUMNS, read_cells
from desed_task.submission.evaluation_set import END_TOLERANCE_SECONDS, MAX_STRANGERS_TOLD, EvaluationSet
from desed_task.submission.faults import Faults

TABLE_SUFFIXES = (".tsv", ".csv")
_EMPTY_CELLS = {"", "nan", "NaN", "NA", "null"}


@dataclass(frozen=True)
class _Rows:
    """The rows with an event. row: its number in the file; times: seconds as they are written."""

    filenames: list[str]
    row: list[int]
    filename: list[str]
    label: list[str]
    onset: list[str]
    offset: list[str]


@dataclass(frozen=True, eq=False)
class EventList:
    """One checked list. `padded`: events that pass the end of their clip."""

    path: Path
    table: EventTable
    padded: int


def is_event_list(header: str) -> bool:
    """Whether a table with this first line lists events."""
    cells = {cell.strip() for cell in header.split("\t" if "\t" in header else ",")}
    return set(STRONG_COLUMNS) <= cells


def check_event_list(path: Path, evaluation_set: EvaluationSet, faults: Faults) -> EventList | None:
    """Read and check one list; None when it has faults, which are added."""
    before = len(faults)
    with faults.collecting():
        rows = _read(path)
        times = _times(path, rows, faults)
        if times is not None:
            onset, offset = times
            _check_names(path, rows, evaluation_set, faults)
            sentences = [*_time_faults(rows, onset, offset, evaluation_set)]
            sentences += _repetition_faults(rows, onset, offset, evaluation_set)
            for row, sentence in sentences:
                faults.add(f"{path}, row {row}: {sentence}")
            if len(faults) == before:
                return _event_list(path, rows, onset, offset, evaluation_set)
    return None


def _read(path: Path) -> _Rows:
    if b"\0" in path.read_bytes()[:4096]:
        raise EventTableError(f"{path}: a binary file, not a table; write text")
    rows = _Rows([], [], [], [], [], [])
    columns, numbered = read_cells(path, STRONG_COLUMNS)
    name, on, off, what = (columns.index(column) for column in STRONG_COLUMNS)
    for row, cells in numbered:
        empty = [cells[column] in _EMPTY_CELLS for column in (on, off, what)]
        if cells[name] in _EMPTY_CELLS:
            raise EventTableError(f"{path}, row {row}: the filename is empty; name the clip")
        rows.filenames.append(cells[name])
        if all(empty):
            continue
        if any(empty):
            raise EventTableError(f"{path}, row {row}: half an event; onset, offset and event_label go together")
        rows.filename.append(cells[name])
        rows.label.append(cells[what])
        rows.onset.append(cells[on])
        rows.offset.append(cells[off])
        rows.row.append(row)
    return rows


def _times(path: Path, rows: _Rows, faults: Faults) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    times = []
    for name, cells in (("onset", rows.onset), ("offset", rows.offset)):
        try:
            seconds = np.array(cells, dtype=np.float64)
        except ValueError:
            seconds = np.array([_number(cell) for cell in cells])
        wrong = np.flatnonzero(~np.isfinite(seconds))
        if len(wrong):
            first = int(wrong[0])
            faults.add(f"{path}, row {rows.row[first]}: {name} {cells[first]!r} is not a finite number; write seconds")
            return None
        times.append(seconds)
    return times[0], times[1]


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _check_names(path: Path, rows: _Rows, evaluation_set: EvaluationSet, faults: Faults) -> None:
    """Classes that are not of the set, each once; clips that are not of the set, each once."""
    row_of_label: dict[str, int] = {}
    row_of_clip: dict[str, int] = {}
    for row, filename, label in zip(rows.row, rows.filename, rows.label, strict=True):
        row_of_label.setdefault(label, row)
        row_of_clip.setdefault(filename, row)
    for label, row in row_of_label.items():
        if label not in evaluation_set.event_labels:
            faults.add(
                f"{path}, row {row}: class {label!r} is not in the label set "
                f"({', '.join(evaluation_set.event_labels)}); name it as the ground truth does, or remove its events"
            )
    strangers = {name: row for name, row in row_of_clip.items() if audio_id_of(name) not in evaluation_set.seconds_of}
    if strangers and len(strangers) == len(row_of_clip):
        faults.add(
            f"{path}, row {min(strangers.values())}: none of the {len(strangers)} clips, such as "
            f"{next(iter(strangers))}, is in the table of durations; name the events of this evaluation set"
        )
        return
    if len(strangers) > MAX_STRANGERS_TOLD:
        first, row = next(iter(strangers.items()))
        faults.add(
            f"{path}, row {row}: {first} and {len(strangers) - 1} other clips are not in the table of durations; "
            "remove their events or add the clips"
        )
        return
    for filename, row in strangers.items():
        faults.add(f"{path}, row {row}: {filename} is not in the table of durations; remove its events or add the clip")


def _time_faults(
    rows: _Rows, onset: NDArray[np.float64], offset: NDArray[np.float64], evaluation_set: EvaluationSet
) -> Iterator[tuple[int, str]]:
    longest = evaluation_set.longest
    checks = (
        (onset < 0, "onset {onset:.3f} s is negative", "times begin at 0 with the clip"),
        (
            offset <= onset,
            "offset {offset:.3f} s is not after onset {onset:.3f} s",
            "mend the times or remove the event",
        ),
        (
            offset > longest + END_TOLERANCE_SECONDS,
            f"offset {{offset:.3f}} s is beyond every clip of the set, the longest of which has {longest:g} s "
            f"(tolerance {END_TOLERANCE_SECONDS} s)",
            "write times in seconds of the clip",
        ),
    )
    for wrong, what, remedy in checks:
        places = np.flatnonzero(wrong)
        if len(places):
            first = int(places[0])
            told = what.format(onset=onset[first], offset=offset[first])
            yield rows.row[first], f"{told}{_more(len(places))}; {remedy}"


def _repetition_faults(
    rows: _Rows, onset: NDArray[np.float64], offset: NDArray[np.float64], evaluation_set: EvaluationSet
) -> Iterator[tuple[int, str]]:
    """Rows that stand twice; then events of a class that overlap, unless the rules say what to do with them."""
    if not len(onset) or (offset <= onset).any():
        return
    names = np.unique([audio_id_of(name) for name in rows.filename], return_inverse=True)[1]
    labels = np.unique(rows.label, return_inverse=True)[1]
    order = np.lexsort((offset, onset, labels, names))
    names, labels, onset, offset = names[order], labels[order], onset[order], offset[order]
    same = (names[1:] == names[:-1]) & (labels[1:] == labels[:-1])
    twice = same & (onset[1:] == onset[:-1]) & (offset[1:] == offset[:-1])
    ended = _latest(names, labels, offset)
    # To the microsecond, as Rules does: 2.0999999999999996 is 2.1.
    overlapping = same & ~twice & (np.rint((ended[:-1] - onset[1:]) * 1e6) > 0)
    places = np.flatnonzero(twice)
    if len(places):
        first, second = sorted(rows.row[int(order[places[0] + k])] for k in (0, 1))
        yield second, f"the same event as in row {first}{_more(len(places))}; remove one"
    places = np.flatnonzero(overlapping)
    if len(places) and evaluation_set.rules.overlap == "error":
        at = int(places[0]) + 1
        yield (
            rows.row[int(order[at])],
            f"this {rows.label[int(order[at])]} event at {onset[at]:.3f} s overlaps another of its class in the clip"
            f"{_more(len(places))}, for which PSDS is not defined; merge them, or choose --overlap merge",
        )


def _latest(names: NDArray[Any], labels: NDArray[Any], offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """The latest offset so far within the clip and class, for sorted rows."""
    group = np.cumsum(np.concatenate(([False], (names[1:] != names[:-1]) | (labels[1:] != labels[:-1]))))
    span = float(offset.max()) + 1.0
    return np.asarray(np.maximum.accumulate(offset + group * span) - group * span, dtype=np.float64)


def _more(count: int) -> str:
    return "" if count == 1 else f" ({count} rows)"


def _event_list(
    path: Path, rows: _Rows, onset: NDArray[np.float64], offset: NDArray[np.float64], evaluation_set: EvaluationSet
) -> EventList | None:
    seconds = np.array([evaluation_set.seconds_of[audio_id_of(name)] for name in rows.filename], dtype=np.float64)
    try:
        table = EventTable.from_columns(
            rows.filenames,
            np.array(rows.filename, dtype=np.str_),
            onset,
            offset,
            np.array(rows.label, dtype=np.str_),
        )
    except DesedTaskError as error:
        raise EventTableError(f"{path}: {error}") from None
    return EventList(path, table, int((offset > seconds + 1e-6).sum()))
