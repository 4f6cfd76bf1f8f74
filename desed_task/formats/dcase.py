"""The tables of DCASE Task 4: tab-separated, with a header, times in seconds.

strong      filename  onset  offset  event_label     a file without events has one row with the other cells empty
weak        filename  event_labels                    comma-separated class names
unlabeled   filename
detections  event_label  onset  offset  filename      one operating point; read as a strong table
durations   filename  duration
scores      one table per clip, named <audio_id>.tsv: onset  offset  <class 1> ... <class K>  (sed_scores_eval's layout)

Columns may stand in any order and further columns are ignored (published files carry `index` or `confidence`); a header
without a tab is read as comma-separated. Faults are refused with file and row, the header being row 1.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from desed_task.errors import EventTableError
from desed_task.events import Event, EventTable, audio_id_of
from desed_task.labels import LabelSet
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid

STRONG_COLUMNS = ("filename", "onset", "offset", "event_label")
DETECTION_COLUMNS = ("event_label", "onset", "offset", "filename")
_EMPTY_CELLS = {"", "nan", "NaN", "NA", "null"}


def read_strong(path: Path) -> EventTable:
    """Read a table of events. EventTableError on a missing column, a bad time, or an offset not after its onset."""
    clips: dict[str, list[Event]] = {}
    for row, cells in _rows(path, STRONG_COLUMNS):
        filename, onset, offset, label = (cells[column] for column in STRONG_COLUMNS)
        events = clips.setdefault(_filename(filename, path, row), [])
        empty = [cell in _EMPTY_CELLS for cell in (onset, offset, label)]
        if all(empty):
            continue
        if any(empty):
            raise EventTableError(f"{path}, row {row}: onset, offset and event_label must all be given or all be empty")
        times = _number(onset, "onset", path, row), _number(offset, "offset", path, row)
        try:
            events.append(Event(*times, label))
        except EventTableError as error:
            raise EventTableError(f"{path}, row {row}: {error}") from None
    return EventTable(clips)


def write_strong(table: EventTable, path: Path) -> None:
    """Write a table of events, times to the millisecond (as the published tables)."""
    rows = []
    for filename, events in table.items():
        rows += [(filename, f"{e.onset:.3f}", f"{e.offset:.3f}", e.event_label) for e in events]
        rows += [] if events else [(filename, "", "", "")]
    _write(path, STRONG_COLUMNS, rows)


def write_detections(table: EventTable, path: Path) -> None:
    """Write one operating point in the published column order; files without events have no row."""
    columns = (table.event_label, table.onset, table.offset, table.filename)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    _write(path, DETECTION_COLUMNS, ((label, f"{on:.3f}", f"{off:.3f}", name) for label, on, off, name in rows))


def read_weak(path: Path) -> dict[str, tuple[str, ...]]:
    """Read a table of tags: filename -> class names, in the table's order."""
    tags: dict[str, tuple[str, ...]] = {}
    for row, cells in _rows(path, ("filename", "event_labels")):
        filename = _filename(cells["filename"], path, row)
        if filename in tags:
            raise EventTableError(f"{path}, row {row}: {filename} stands twice")
        names = cells["event_labels"]
        tags[filename] = () if names in _EMPTY_CELLS else tuple(name.strip() for name in names.split(","))
    return tags


def write_weak(tags: Mapping[str, Sequence[str]], path: Path) -> None:
    """Write a table of tags."""
    _write(path, ("filename", "event_labels"), [(filename, ",".join(names)) for filename, names in tags.items()])


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


def write_durations(durations: Mapping[str, float], path: Path) -> None:
    """Write a table of durations, to the millisecond."""
    _write(path, ("filename", "duration"), [(filename, f"{seconds:.3f}") for filename, seconds in durations.items()])


def write_score_folder(scores: Mapping[str, Scores], folder: Path) -> None:
    """Write one score table per clip, `<audio_id>.tsv`: gapless windows, the last one ending at or before the duration.

    Values are written with nine digits, so a float32 is read back as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for audio_id, clip in scores.items():
        if clip.frame_values is None:
            raise EventTableError(f"{folder}: {audio_id} has clip scores only; score tables need frames")
        edges = clip.grid.timestamps(len(clip.frame_values))
        table = np.column_stack((edges[:-1], edges[1:], clip.frame_values))
        template = "\t".join(["%.6f", "%.6f"] + ["%.9g"] * len(clip.labels)) + "\n"
        header = "\t".join(("onset", "offset", *clip.labels)) + "\n"
        # One formatting call per table: five times as fast as one per number.
        _write_text(folder / f"{audio_id}.tsv", header + template * len(table) % tuple(table.ravel().tolist()))


def read_score_folder(folder: Path, grid: FrameGrid, durations: Mapping[str, float]) -> dict[str, Scores]:
    """Read a folder of score tables that were written on `grid`: audio_id -> Scores.

    `durations`: filename -> seconds. Clip values are the largest frame value per class, as the tables hold no others.
    """
    seconds_of = {audio_id_of(filename): seconds for filename, seconds in durations.items()}
    scores = {}
    for path in sorted(folder.glob("*.tsv")):
        if path.stem not in seconds_of:
            raise EventTableError(f"{path}: {path.stem} is not in the table of durations")
        with path.open(newline="", encoding="utf-8") as stream:
            header, *rows = csv.reader(stream, delimiter="\t")
        if header[:2] != ["onset", "offset"] or len(header) < 3:
            raise EventTableError(f"{path}, row 1: columns {header[:3]}; expected onset, offset and the classes")
        try:
            table = np.array(rows, dtype=np.float64).reshape(-1, len(header))
        except ValueError as error:
            raise EventTableError(f"{path}: {error}") from None
        if not np.allclose(table[:, 0], grid.timestamps(len(table))[:-1], atol=1e-4):
            raise EventTableError(f"{path}: the windows are not {grid.frame_seconds:g} s apart")
        values = table[:, 2:].astype(np.float32)
        scores[path.stem] = Scores(values, values.max(axis=0), grid, LabelSet(header[2:]), seconds_of[path.stem])
    return scores


def _rows(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        stream = path.open(newline="", encoding="utf-8-sig")
    except FileNotFoundError:
        raise EventTableError(f"{path}: no such table") from None
    with stream:
        try:
            header = stream.readline().rstrip("\r\n")
            if not header:
                raise EventTableError(f"{path}: the table is empty; expected the columns {', '.join(required)}")
            delimiter = "," if "\t" not in header and "," in header else "\t"
            columns = next(csv.reader([header], delimiter=delimiter))
            missing = [column for column in required if column not in columns]
            if missing:
                raise EventTableError(f"{path}, row 1: no column {missing[0]!r}; the columns are {', '.join(columns)}")
            for row, cells in enumerate(csv.reader(stream, delimiter=delimiter), start=2):
                if not cells:
                    continue
                padded = cells + [""] * (len(columns) - len(cells))
                if len(padded) != len(columns):
                    raise EventTableError(f"{path}, row {row}: {len(cells)} cells under {len(columns)} columns")
                yield row, {column: cell.strip() for column, cell in zip(columns, padded, strict=True)}
        except UnicodeDecodeError:
            raise EventTableError(f"{path}: not a UTF-8 text table") from None


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


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    partial.replace(path)
