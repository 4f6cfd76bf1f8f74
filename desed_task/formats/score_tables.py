"""Score tables on windows of any length: one table per clip, as sed_scores_eval and DCASE Task 4 have them since 2023.

<audio_id>.tsv, tab-separated, a header, one row per window:

    onset  offset  <class 1> ... <class K>       seconds, seconds, any finite numbers (only their order counts)

Windows may be of any length, and of different lengths; together they cover the clip from 0 without a gap. The tables of
one `FrameGrid`, with scores in [0, 1], are also read by `dcase.read_score_folder`. Values are float64 here: two scores
that differ in the eighth digit are two thresholds. sed_scores_eval wants neighbouring windows to meet exactly; we allow
10 microseconds, which is what float32 keeps of a clip of a minute.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.events import audio_id_of
from desed_task.labels import LabelSet
from desed_task.scores import ScoreTable

EDGE_TOLERANCE_SECONDS = 1e-5
SCORE_SUFFIX = ".tsv"
_TIME_COLUMNS = ["onset", "offset"]


def is_score_table(header: str) -> bool:
    """Whether a table with this first line is one of scores and not one of events."""
    cells = [cell.strip().lower() for cell in header.split("\t" if "\t" in header else ",")]
    return cells[:2] == _TIME_COLUMNS and not {"filename", "event_label"} & set(cells)


def clip_of_table(path: Path) -> str:
    """The audio_id that a score table is of: `Y1_0.000_10.000.tsv`, and also `Y1_0.000_10.000.wav.tsv`."""
    return audio_id_of(path.name[: -len(SCORE_SUFFIX)])


def read_score_table(path: Path) -> ScoreTable:
    """Read one table; EventTableError with the first of its faults."""
    table, faults = check_score_table(path)
    if table is None:
        raise EventTableError(faults[0])
    return table


def check_score_table(path: Path) -> tuple[ScoreTable | None, list[str]]:
    """The table, or None and every kind of fault in it: one sentence each, with the first row that has it."""
    try:
        columns, lines = _split(path)
    except EventTableError as error:
        return None, [str(error)]
    faults = [f"{path}, row 1: {fault}" for fault in _column_faults(columns)]
    faults += [f"{path}, row {row}: {fault}" for row, fault in _cell_count_faults(lines, len(columns))]
    if faults:
        return None, faults
    numbers = _numbers(lines)
    row_of = [row for row, _ in lines]
    found = _number_faults(columns, lines) if numbers is None else _value_faults(columns, numbers)
    faults = [f"{path}, row {row_of[index]}: {fault}" for index, fault in found]
    if faults or numbers is None:
        return None, faults or [f"{path}: its numbers cannot be read; write them as 0.25 or 2.5e-1"]
    edges = np.append(numbers[:, 0], numbers[-1, 1])
    return ScoreTable(edges, np.ascontiguousarray(numbers[:, 2:]), LabelSet(columns[2:])), []


def _split(path: Path) -> tuple[list[str], list[tuple[int, str]]]:
    """The columns, and (row, line) of every row that is not blank."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EventTableError(f"{path}: cannot be read ({error.strerror}); check the file") from None
    if b"\0" in content:
        raise EventTableError(f"{path}: a binary file, not a table; write tab-separated text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        raise EventTableError(f"{path}, row {row}: not UTF-8 text; save the table as UTF-8") from None
    lines = [(row, line.rstrip("\r")) for row, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise EventTableError(f"{path}: the table is empty; expected onset, offset and a column per class")
    if len(lines) == 1:
        raise EventTableError(f"{path}, row {lines[0][0]}: a header without any window; write a row per window")
    return [cell.strip() for cell in lines[0][1].split("\t")], lines[1:]


def _column_faults(columns: list[str]) -> Iterator[str]:
    if columns[:2] != _TIME_COLUMNS or len(columns) < 3:
        yield f"columns {', '.join(columns[:3])}; write onset, offset and a column per class, separated by tabs"
        return
    try:
        LabelSet(columns[2:])
    except DesedTaskError as error:
        yield f"{error}; rename the column"


def _cell_count_faults(lines: list[tuple[int, str]], width: int) -> Iterator[tuple[int, str]]:
    wrong = [(row, line.count("\t") + 1) for row, line in lines if line.count("\t") != width - 1]
    if wrong:
        row, count = wrong[0]
        yield row, f"{count} cells under {width} columns{_more(len(wrong))}; write one cell per column"


def _numbers(lines: list[tuple[int, str]]) -> NDArray[np.float64] | None:
    """(windows, columns), or None when a cell is no number."""
    try:
        # The parser in C: a Python float per cell takes several times as long.
        return np.loadtxt(io.StringIO("\n".join(line for _, line in lines)), delimiter="\t", comments=None, ndmin=2)
    except ValueError:
        return None


def _number_faults(columns: list[str], lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for index, (_, line) in enumerate(lines):
        for column, cell in zip(columns, line.split("\t"), strict=True):
            if not _is_number(cell):
                yield index, f"{column} {cell.strip()!r} is not a number; write one"
                return


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_0 as 10, tables do not


def _value_faults(columns: list[str], numbers: NDArray[np.float64]) -> Iterator[tuple[int, str]]:
    infinite = np.argwhere(~np.isfinite(numbers))
    if len(infinite):
        index, column = infinite[0].tolist()
        more = _more(len({row for row, _ in infinite.tolist()}))
        yield index, f"{columns[column]} {numbers[index, column]} is not finite{more}; write a finite number"
        return
    yield from _window_faults(numbers[:, 0], numbers[:, 1])


def _window_faults(onset: NDArray[np.float64], offset: NDArray[np.float64]) -> Iterator[tuple[int, str]]:
    if abs(onset[0]) > EDGE_TOLERANCE_SECONDS:
        yield 0, f"the first window begins at {onset[0]:.6g} s; begin at 0"
    yield from _length_faults(onset, offset) if (offset <= onset).any() else _order_faults(onset, offset)


def _length_faults(onset: NDArray[np.float64], offset: NDArray[np.float64]) -> Iterator[tuple[int, str]]:
    empty = np.flatnonzero(offset == onset)
    if len(empty):
        first = int(empty[0])
        yield first, f"the window at {onset[first]:.6g} s has no length{_more(len(empty))}; remove it or mend its times"
    backward = np.flatnonzero(offset < onset)
    if len(backward):
        first = int(backward[0])
        times = f"offset {offset[first]:.6g} s lies before onset {onset[first]:.6g} s"
        yield first, f"{times}{_more(len(backward))}; mend the times"


def _order_faults(onset: NDArray[np.float64], offset: NDArray[np.float64]) -> Iterator[tuple[int, str]]:
    """Neighbours that do not meet, of windows that all have a length."""
    step = onset[1:] - offset[:-1]
    backward = onset[1:] < onset[:-1]
    kinds = (
        (backward, "begins before the window above it", "sort the rows by onset"),
        (step > EDGE_TOLERANCE_SECONDS, "leaves a gap after the window above it", "write gapless windows"),
        ((step < -EDGE_TOLERANCE_SECONDS) & ~backward, "overlaps the window above it", "write gapless windows"),
    )
    for wrong, what, remedy in kinds:
        rows = np.flatnonzero(wrong) + 1
        if len(rows):
            first = int(rows[0])
            ends = f"which ends at {offset[first - 1]:.6g} s{_more(len(rows))}"
            yield first, f"the window at {onset[first]:.6g} s {what}, {ends}; {remedy}"


def _more(count: int) -> str:
    """How many rows have the fault, when it is more than the one that is named."""
    return "" if count == 1 else f" ({count} rows)"
