"""Audacity's label tracks: `onset<TAB>offset<TAB>text`, seconds with six decimals, no header.

A label may be followed by a line that begins with a backslash and gives the frequencies it was selected in; that line
is read over. A label without a length is a point of time, which is no event, and refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from desed_task.errors import EventTableError
from desed_task.events import Event
from desed_task.formats.whole_files import write_text


def labels_text(events: Iterable[Event]) -> str:
    """The label track of one clip."""
    return "".join(f"{event.onset:.6f}\t{event.offset:.6f}\t{event.event_label}\n" for event in events)


def write_labels(events: Iterable[Event], path: Path) -> None:
    """Write the label track of one clip."""
    write_text(labels_text(events), path)


def read_labels(path: Path) -> list[Event]:
    """The events of a label track, in its order; EventTableError names the line of what is none."""
    events = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if line.strip() and not line.startswith("\\"):
            events.append(_event(line.split("\t", 2), f"{path}, line {number}"))
    return events


def _event(cells: list[str], place: str) -> Event:
    if len(cells) < 3 or not cells[2].strip():
        raise EventTableError(f"{place}: not onset, offset and a text with tabs between; name the label")
    try:
        return Event(float(cells[0]), float(cells[1]), cells[2].strip())
    except ValueError:
        raise EventTableError(f"{place}: {cells[0]!r} and {cells[1]!r} are not seconds") from None
    except EventTableError as error:
        raise EventTableError(f"{place}: {error}") from None
