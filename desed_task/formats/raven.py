"""Raven's selection tables: tab-separated, one selection per row, seconds and hertz.

Selection, View, Channel, Begin Time (s), End Time (s), Low Freq (Hz) and High Freq (Hz) are the columns that Raven
itself writes; Begin Path, Annotation and Score come after them. An event has no frequencies, so a selection spans all
of them: from 0 to half the recording's sample rate. Tables of others are read when they have the two times and a column
Annotation, Species or Label; Raven writes a selection once per view, and only the first is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from desed_task.errors import EventTableError
from desed_task.events import Event
from desed_task.formats.dcase import read_cells
from desed_task.formats.whole_files import write_text

COLUMNS = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
    *("Begin Path", "Annotation", "Score"),
)
_TIMES = ("Begin Time (s)", "End Time (s)")
_LABEL_COLUMNS = ("Annotation", "Species", "Label")


def selections_text(events: Iterable[Event], sample_rate: int, begin_path: str = "") -> str:
    """The selection table of one clip. sample_rate: of the recording; begin_path: its name."""
    rows = ["\t".join(COLUMNS)]
    for number, event in enumerate(events, start=1):
        score = "" if event.score is None else f"{event.score:.4f}"
        times = f"{event.onset:.6f}\t{event.offset:.6f}\t0.0\t{sample_rate / 2:.1f}"
        rows.append(f"{number}\tSpectrogram 1\t1\t{times}\t{begin_path}\t{event.event_label}\t{score}")
    return "\n".join(rows) + "\n"


def write_selections(events: Iterable[Event], path: Path, sample_rate: int, begin_path: str = "") -> None:
    """Write the selection table of one clip."""
    write_text(selections_text(events, sample_rate, begin_path), path)


def read_selections(path: Path) -> list[Event]:
    """The events of a selection table, in its order, with their scores where it has any; EventTableError by row."""
    columns, rows = read_cells(path, _TIMES)
    label_column = next((column for column in _LABEL_COLUMNS if column in columns), None)
    if label_column is None:
        raise EventTableError(f"{path}, row 1: no column {', '.join(_LABEL_COLUMNS)}; add one with the class names")
    events = []
    seen: set[str] = set()
    for row, cells in rows:
        selection = dict(zip(columns, cells, strict=True))
        number = selection.get("Selection", str(row))
        if number not in seen:
            seen.add(number)
            events.append(_event(selection, label_column, f"{path}, row {row}"))
    return events


def _event(selection: dict[str, str], label_column: str, place: str) -> Event:
    label = selection[label_column]
    if not label:
        raise EventTableError(f"{place}: {label_column} is empty; name the class")
    try:
        onset, offset = (float(selection[column]) for column in _TIMES)
        score = float(selection["Score"]) if selection.get("Score") else None
        return Event(onset, offset, label, score)
    except ValueError:
        raise EventTableError(f"{place}: a time or the score is not a number") from None
    except EventTableError as error:
        raise EventTableError(f"{place}: {error}") from None
