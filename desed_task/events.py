"""Events: what happens when, in one clip; and EventTable: the events of many clips.

An `Event` has the columns of the DCASE tables: onset and offset in seconds on the clip's own clock, and a class name.
Intervals are half-open [onset, offset). An `EventTable` is frozen numpy columns with `filename` in front; it also
remembers the files that it lists without any event, because "no event" is an answer and "not listed" is not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import EventTableError

_AUDIO_EXTENSIONS = {
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".wma", ".webm"),
    *(".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"),
}


def audio_id_of(filename: str) -> str:
    """The name of a clip: its file name without folder and extension; the name of an audio_id is itself.

    Only what audio files end in is taken off: DESED's names end in seconds (`Y..._350.000_360.000.wav`).
    """
    # by hand, since tables name thousands of files: a path object each takes ten times as long
    name = filename.rpartition("/")[2] if os.sep == "/" and not filename.endswith("/") else PurePath(filename).name
    stem, dot, extension = name.rpartition(".")
    return stem if stem and f"{dot}{extension.lower()}" in _AUDIO_EXTENSIONS else name


@dataclass(frozen=True, order=True)
class Event:
    """One event of one clip: onset and offset in seconds, onset < offset; `score` in [0, 1] when detected.

    Events are compared by time and class; the score is not part of what an event is.
    """

    onset: float
    offset: float
    event_label: str
    score: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.onset) and math.isfinite(self.offset)):
            raise EventTableError(f"onset {self.onset} s and offset {self.offset} s must be finite numbers")
        if self.onset < 0:
            raise EventTableError(f"onset {self.onset:.3f} s is negative")
        if self.offset <= self.onset:
            raise EventTableError(f"offset {self.offset:.3f} s is not after onset {self.onset:.3f} s")
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise EventTableError(f"score {self.score} is not in [0, 1]")

    @property
    def duration(self) -> float:
        """Seconds from onset to offset."""
        return self.offset - self.onset


def merge_close_events(events: Iterable[Event], min_gap: float) -> list[Event]:
    """Join events of one class that overlap or lie less than `min_gap` seconds apart.

    DESED merges gaps under 150 ms, since annotators cannot hear them. Sorted by onset; scores are not kept. Gaps are
    compared to the microsecond: from 1.0 to 1.15 is a gap of 0.15 s, though the difference of the floats is 0.1499...
    """
    merged: dict[str, list[Event]] = {}
    for event in sorted(events):
        of_class = merged.setdefault(event.event_label, [])
        gap = event.onset - of_class[-1].offset if of_class else math.inf
        if gap < 0 or round(gap, 6) < min_gap:
            last = of_class.pop()
            of_class.append(Event(last.onset, max(last.offset, event.offset), event.event_label))
        else:
            of_class.append(event)
    return sorted(event for of_class in merged.values() for event in of_class)


class EventTable:
    """Events of many clips as frozen columns.

    filename: (rows,) str; onset, offset: (rows,) float64 seconds; event_label: (rows,) str. `filenames` lists
    every file of the table in order of appearance, those without events too. Scores stay with the `Event`s.
    """

    filename: NDArray[np.str_]
    onset: NDArray[np.float64]
    offset: NDArray[np.float64]
    event_label: NDArray[np.str_]

    def __init__(self, clips: Mapping[str, Sequence[Event]]) -> None:
        self._events: dict[str, tuple[Event, ...]] | None = {name: tuple(events) for name, events in clips.items()}
        rows = [(name, event) for name, events in self._events.items() for event in events]
        self._filenames = tuple(self._events)
        self._freeze(
            np.array([name for name, _ in rows], dtype=np.str_),
            np.array([event.onset for _, event in rows], dtype=np.float64),
            np.array([event.offset for _, event in rows], dtype=np.float64),
            np.array([event.event_label for _, event in rows], dtype=np.str_),
        )

    @classmethod
    def from_columns(
        cls,
        filenames: Iterable[str],
        filename: NDArray[np.str_],
        onset: NDArray[np.float64],
        offset: NDArray[np.float64],
        event_label: NDArray[np.str_],
    ) -> EventTable:
        """A table of many rows without an `Event` for each: `filenames` lists every file, the columns are (rows,).

        The `Event`s are made when somebody asks for them. EventTableError when a row cannot be an event.
        """
        wrong = ~(np.isfinite(onset) & np.isfinite(offset) & (onset >= 0) & (offset > onset))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise EventTableError(
                f"{filename[row]}: onset {onset[row]} s and offset {offset[row]} s are not those of an event"
            )
        table = cls.__new__(cls)
        table._events = None
        table._filenames = tuple(dict.fromkeys(filenames))
        unlisted = set(np.unique(filename).tolist()) - set(table._filenames)
        if unlisted:
            raise EventTableError(f"{min(unlisted)} has events but is not among the files of the table")
        table._freeze(filename, onset, offset, event_label)
        return table

    def _freeze(
        self,
        filename: NDArray[np.str_],
        onset: NDArray[np.float64],
        offset: NDArray[np.float64],
        event_label: NDArray[np.str_],
    ) -> None:
        for column in (filename, onset, offset, event_label):
            column.flags.writeable = False
        self.filename, self.onset, self.offset, self.event_label = filename, onset, offset, event_label

    @property
    def _clips(self) -> dict[str, tuple[Event, ...]]:
        if self._events is None:
            clips: dict[str, list[Event]] = {name: [] for name in self._filenames}
            columns = (self.filename, self.onset, self.offset, self.event_label)
            for name, onset, offset, label in zip(*(column.tolist() for column in columns), strict=True):
                clips[name].append(Event(onset, offset, label))
            self._events = {name: tuple(events) for name, events in clips.items()}
        return self._events

    @property
    def filenames(self) -> tuple[str, ...]:
        """Every file of the table, in order, those without events too."""
        return self._filenames

    def of(self, filename: str) -> tuple[Event, ...]:
        """The events of one file; empty when it has none; KeyError when the table does not list it."""
        return self._clips[filename]

    def labels(self) -> tuple[str, ...]:
        """The class names that occur, sorted."""
        return tuple(sorted({str(label) for label in self.event_label}))

    def items(self) -> Iterator[tuple[str, tuple[Event, ...]]]:
        """(filename, events) of every file."""
        return iter(self._clips.items())

    def by_audio_id(self) -> dict[str, tuple[Event, ...]]:
        """audio_id -> events of every file; EventTableError when two files differ in folder or extension only."""
        clips: dict[str, tuple[Event, ...]] = {}
        for filename, events in self._clips.items():
            audio_id = audio_id_of(filename)
            if audio_id in clips:
                raise EventTableError(f"{filename}: another file of the table has the name {audio_id}; rename one")
            clips[audio_id] = events
        return clips

    def require_labels(self, labels: Collection[str], source: str) -> None:
        """EventTableError naming the first row whose class is not in `labels`."""
        for filename, events in self._clips.items():
            for event in events:
                if event.event_label not in labels:
                    raise EventTableError(
                        f"{source}: class {event.event_label!r} of {filename} is not in the label set "
                        f"({', '.join(labels)}); correct the table or add it to `labels`"
                    )

    def __len__(self) -> int:
        return len(self.onset)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EventTable) and self._clips == other._clips

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"EventTable({len(self)} events in {len(self._clips)} files)"
