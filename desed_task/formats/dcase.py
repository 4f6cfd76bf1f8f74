"""The tables of DCASE Task 4: tab-separated, with a header, times in seconds.

strong      filename  onset  offset  event_label     a file without events has one row with the other cells empty
weak        filename  event_labels                    comma-separated class names
unlabeled   filename
detections  event_label  onset  offset  filename      one operating point; read as a strong table
durations   filename  duration
scores      one table per clip, named <audio_id>.tsv: onset  offset  <class 1> ... <class K>  (sed_scores_eval's layout)

Columns may stand in any order and further columns are ignored (published files carry `index` or `confidence`); a header
without a tab is read as comma-separated. Tab-separated cells are never quoted. Times are written to the millisecond, as
in the published tables, or to the microsecond where they have one. Faults are refused with file and row, the header
being row 1.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.events import Event, EventTable, audio_id_of
from desed_task.labels import LabelSet
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid

STRONG_COLUMNS = ("filename", "onset", "offset", "event_label")
WEAK_COLUMNS = ("filename", "event_labels")
DETECTION_COLUMNS = ("event_label", "onset", "offset", "filename")
_EMPTY_CELLS = {"", "nan", "NaN", "NA", "null"}


def read_strong(path: Path, labels: Collection[str] | None = None) -> EventTable:
    """Read a table of events, of the classes in `labels` where they are given.

    EventTableError on a missing column, a bad time, an offset not after its onset, or another class.
    """
    clips: dict[str, list[Event]] = {}
    for row, cells in _rows(path, STRONG_COLUMNS):
        filename, onset, offset, label = (cells[column] for column in STRONG_COLUMNS)
        events = clips.setdefault(_filename(filename, path, row), [])
        empty = [cell in _EMPTY_CELLS for cell in (onset, offset, label)]
        if all(empty):
            continue
        if any(empty):
            raise EventTableError(f"{path}, row {row}: onset, offset and event_label must all be given or all be empty")
        _require_label(label, labels, path, row)
        times = _number(onset, "onset", path, row), _number(offset, "offset", path, row)
        try:
            events.append(Event(*times, label))
        except EventTableError as error:
            raise EventTableError(f"{path}, row {row}: {error}") from None
    return EventTable(clips)


def write_strong(table: EventTable, path: Path) -> None:
    """Write a table of events; a file without any has one row."""
    rows = [row for filename, events in table.items() for row in _strong_rows(filename, events)]
    _write(path, STRONG_COLUMNS, rows)


def strong_text(filename: str, events: Sequence[Event]) -> str:
    """The rows of one file in a table of events; EventTableError when its name cannot stand in one."""
    return _text(_strong_rows(filename, events), filename)


def _strong_rows(filename: str, events: Sequence[Event]) -> Sequence[Sequence[str]]:
    rows = [(filename, _seconds(e.onset), _seconds(e.offset), e.event_label) for e in events]
    return rows or [(filename, "", "", "")]


def write_detections(table: EventTable, path: Path) -> None:
    """Write one operating point in the published column order; files without events have no row."""
    columns = (table.event_label, table.onset, table.offset, table.filename)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    _write(path, DETECTION_COLUMNS, ((label, _seconds(on), _seconds(off), name) for label, on, off, name in rows))


def read_weak(path: Path, labels: Collection[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Read a table of tags, of the classes in `labels` where they are given: filename -> class names, in its order."""
    tags: dict[str, tuple[str, ...]] = {}
    for row, cells in _rows(path, WEAK_COLUMNS):
        filename = _filename(cells["filename"], path, row)
        if filename in tags:
            raise EventTableError(f"{path}, row {row}: {filename} stands twice")
        cell = cells["event_labels"]
        # Three rows of DESED's weak.tsv name a class twice; a clip has it or has it not.
        names = () if cell in _EMPTY_CELLS else tuple(dict.fromkeys(name.strip() for name in cell.split(",")))
        for name in names:
            _require_label(name, labels, path, row)
        tags[filename] = names
    return tags


def write_weak(tags: Mapping[str, Sequence[str]], path: Path) -> None:
    """Write a table of tags. EventTableError on a name with a comma, which the table could not tell from two."""
    rows = [_weak_row(filename, names, str(path)) for filename, names in tags.items()]
    _write(path, WEAK_COLUMNS, rows)


def weak_text(filename: str, names: Sequence[str]) -> str:
    """The row of one file in a table of tags; EventTableError as `write_weak`."""
    return _text([_weak_row(filename, names, filename)], filename)


def _weak_row(filename: str, names: Sequence[str], place: str) -> tuple[str, str]:
    for name in names:
        if "," in name:
            raise EventTableError(f"{place}: class {name!r} of {filename} has a comma; rename it")
    return filename, ",".join(names)


def read_filenames(path: Path) -> tuple[str, ...]:
    """Read a table of unlabeled files."""
    return tuple(_filename(cells["filename"], path, row) for row, cells in _rows(path, ("filename",)))


def write_filenames(filenames: Iterable[str], path: Path) -> None:
    """Write a table of unlabeled files."""
    _write(path, ("filename",), [(filename,) for filename in filenames])


def read_durations(path: Path) -> dict[str, float]:
    """Read a table of durations: filename -> seconds."""
    durations: dict[str, float] = {}
    for row, cells in _rows(path, ("filename", "duration")):
        seconds = _number(cells["duration"], "duration", path, row)
        if seconds <= 0:
            raise EventTableError(f"{path}, row {row}: duration {seconds} s is not positive")
        filename = _filename(cells["filename"], path, row)
        if durations.setdefault(filename, seconds) != seconds:
            raise EventTableError(f"{path}, row {row}: {filename} stands twice with different durations")
    return durations


def write_durations(durations: Mapping[str, float], path: Path, decimals: int | None = None) -> None:
    """Write a table of durations, to the millisecond or finer, or to so many decimals (the published have one)."""
    _write(
        path,
        ("filename", "duration"),
        [
            (filename, _seconds(seconds) if decimals is None else f"{max(seconds, 10.0**-decimals):.{decimals}f}")
            for filename, seconds in durations.items()
        ],
    )


def write_score_folder(scores: Mapping[str, Scores], folder: Path) -> None:
    """Write one score table per clip, `<audio_id>.tsv`: gapless windows, none of which goes beyond the duration.

    Values are written with nine digits, so a float32 is read back as it was. Frames that begin after the clip's end,
    in the padding, are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for audio_id, clip in scores.items():
        if clip.frame_values is None:
            raise EventTableError(f"{folder}: {audio_id} has clip scores only; score tables need frames")
        values = clip.frame_values[: clip.grid.frames_covering(clip.duration)]
        edges = np.minimum(clip.grid.timestamps(len(values)), clip.duration)
        table = np.column_stack((edges[:-1], edges[1:], values))
        template = "\t".join(["%.6f", "%.6f"] + ["%.9g"] * len(clip.labels)) + "\n"
        header = "\t".join(("onset", "offset", *clip.labels)) + "\n"
        # One formatting call per table: five times as fast as one per number.
        _write_text(folder / f"{audio_id}.tsv", header + template * len(table) % tuple(table.ravel().tolist()))


def read_score_folder(folder: Path, grid: FrameGrid, durations: Mapping[str, float]) -> dict[str, Scores]:
    """Read a folder of score tables that were written on `grid`: audio_id -> Scores.

    `durations`: filename -> seconds. Clip values are the largest frame value per class, as the tables hold no others.
    EventTableError on a table that is not of this grid, not of the same classes as the first, or not scores.
    """
    if not folder.is_dir():
        raise EventTableError(f"{folder}: no such folder of score tables")
    seconds_of = {audio_id_of(filename): seconds for filename, seconds in durations.items()}
    scores: dict[str, Scores] = {}
    first: Path | None = None
    for path in sorted(folder.glob("*.tsv")):
        if path.stem not in seconds_of:
            raise EventTableError(f"{path}: {path.stem} is not in the table of durations; add it or remove the file")
        labels, values = _read_score_table(path, grid)
        if first is not None and labels != scores[first.stem].labels:
            raise EventTableError(f"{path}, row 1: other classes than in {first.name}; write both with one system")
        first = first or path
        scores[path.stem] = Scores(values, values.max(axis=0), grid, labels, seconds_of[path.stem])
    return scores


def _read_score_table(path: Path, grid: FrameGrid) -> tuple[LabelSet, NDArray[np.float32]]:
    """The classes, and the values (frames, classes), of one clip."""
    columns, rows = read_cells(path, ("onset", "offset"))
    if tuple(columns[:2]) != ("onset", "offset") or len(columns) < 3:
        raise EventTableError(f"{path}, row 1: columns {columns[:3]}; expected onset, offset and the classes")
    try:
        labels = LabelSet(columns[2:])
    except DesedTaskError as error:
        raise EventTableError(f"{path}, row 1: {error}") from None
    numbered = list(rows)
    if not numbered:
        raise EventTableError(f"{path}: a header without any frame")
    try:
        table = np.array([cells for _, cells in numbered], dtype=np.float64)
    except ValueError as error:
        # Look for the culprit only now: a float per cell in Python takes several times as long as the array.
        for row, cells in numbered:
            for column, cell in zip(columns, cells, strict=True):
                _number(cell, column, path, row)
        raise EventTableError(f"{path}: {error}") from None
    wrong = ~((table[:, 2:] >= 0.0) & (table[:, 2:] <= 1.0)).all(axis=1)
    if wrong.any():
        raise EventTableError(f"{path}, row {numbered[int(wrong.argmax())][0]}: scores must lie in [0, 1]")
    if not np.allclose(table[:, 0], grid.timestamps(len(table))[:-1], rtol=0.0, atol=1e-4):
        raise EventTableError(f"{path}: the windows are not {grid.frame_seconds:g} s apart; name the grid they are on")
    return labels, table[:, 2:].astype(np.float32)


def _rows(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(row, column -> cell) of every row that is not blank; columns beyond `required` may be there."""
    columns, rows = read_cells(path, required)
    for row, cells in rows:
        yield row, dict(zip(columns, cells, strict=True))


def read_cells(path: Path, required: Sequence[str]) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The columns, and (row, cells) of every row that is not blank, as many cells as columns."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise EventTableError(f"{path}: no such table") from None
    except UnicodeDecodeError:
        raise EventTableError(f"{path}: not a UTF-8 text table") from None
    except OSError as error:
        raise EventTableError(f"{path}: cannot be read ({error.strerror})") from None
    header = text.partition("\n")[0]
    if not header.strip():
        raise EventTableError(f"{path}: the table is empty; expected the columns {', '.join(required)}")
    numbered = _split(io.StringIO(text, newline=""), "," if "\t" not in header and "," in header else "\t", path)
    columns = next(numbered)[1]
    missing = [column for column in required if column not in columns]
    if missing:
        raise EventTableError(f"{path}, row 1: no column {missing[0]!r}; the columns are {', '.join(columns)}")
    twice = [column for column in required if columns.count(column) > 1]
    if twice:
        raise EventTableError(f"{path}, row 1: the column {twice[0]!r} stands twice")
    return columns, _padded(numbered, len(columns), path)


def _split(stream: TextIO, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    # A lone quote in a tab-separated table is a character; read as a quote it would swallow the rows after it.
    reader = csv.reader(stream, delimiter=delimiter, quoting=csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL)
    try:
        for row, cells in enumerate(reader, start=1):
            yield row, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise EventTableError(f"{path}, row {reader.line_num}: not a table ({error})") from None


def _padded(rows: Iterator[tuple[int, list[str]]], width: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows may lack their last cells (editors drop trailing tabs); they may not have more than there are columns."""
    for row, cells in rows:
        if len(cells) > width:
            raise EventTableError(f"{path}, row {row}: {len(cells)} cells under {width} columns")
        if any(cells):
            yield row, cells + [""] * (width - len(cells))


def _require_label(label: str, labels: Collection[str] | None, path: Path, row: int) -> None:
    if labels is not None and label not in labels:
        raise EventTableError(
            f"{path}, row {row}: class {label!r} is not in the label set ({', '.join(labels)}); "
            "correct the table or add it to `labels`"
        )


def _filename(cell: str, path: Path, row: int) -> str:
    if cell in _EMPTY_CELLS:
        raise EventTableError(f"{path}, row {row}: the filename is empty")
    return cell


def _number(cell: str, column: str, path: Path, row: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise EventTableError(f"{path}, row {row}: {column} {cell!r} is not a number") from None
    if not math.isfinite(value):
        raise EventTableError(f"{path}, row {row}: {column} {cell!r} is not finite")
    return value


def _seconds(value: float) -> str:
    """Three decimals where they say it all, else six."""
    text = f"{value:.6f}"
    return text.removesuffix("000")


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = _text([columns, *rows], str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_text(path, text)


def _text(rows: Iterable[Sequence[str]], place: str) -> str:
    lines = []
    for cells in rows:
        if any(char in cell for cell in cells for char in "\t\n\r"):
            raise EventTableError(f"{place}: {list(cells)} has a tab or a line break inside a cell; rename it")
        lines.append("\t".join(cells) + "\n")
    return "".join(lines)
