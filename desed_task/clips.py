"""ClipSet: the clips of one source, where their audio lies, and what is known about them.

Supervision travels in the data: a set is strong (events with times), weak (classes per clip) or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Literal

from desed_task.errors import CorpusError
from desed_task.events import Event

Supervision = Literal["strong", "weak", "none"]
HeardFrom = Literal["store", "lmdb", "memory"]


def tags_of(events: Mapping[str, Sequence[Event]]) -> dict[str, tuple[str, ...]]:
    """clip -> events as clip -> the classes that occur in it, sorted."""
    return {clip: tuple(sorted({event.event_label for event in of_clip})) for clip, of_clip in events.items()}


@dataclass(frozen=True)
class Clip:
    """One recording: `audio_id` (file name without extension), path, duration in seconds (0: nobody has read it)."""

    audio_id: str
    path: Path
    duration: float

    @property
    def filename(self) -> str:
        """What tables call it: its file's name; a record of an LMDB, whose path ends in a key, <audio_id>.flac."""
        name = self.path.name
        return f"{self.audio_id}.flac" if name.isdecimal() else name


@dataclass(frozen=True)
class ClipSet:
    """Clips of one source with what is known about each.

    events: audio_id -> events with times (strong); tags: audio_id -> class names (weak; for strong sets those of the
    events). `missing`: recordings that the source's table lists and that are not on disk. `durations_table`: the table
    that the durations of `clips` are from, None where they were read from the recordings or are only nominal.
    `parts`: the sets that this one joins, none for a set of its own. `listed_at`: the row (from 0) of each clip in the
    source's list, for files that have a line for every row (sampling weights); empty where that is its place here.
    `list_length`: how many rows that list has, where these are but some of them; 0: as many as `files_expected`.
    `groups`: audio_id -> the recording, or whatever else, that it has in common with others; a clip without one stands
    alone. `heard_from`: where a training has its samples from, the packed store of decoded recordings, or, decoded each
    time they are heard, the LMDB that their paths lie in, or a copy of it in memory.
    """

    name: str
    clips: tuple[Clip, ...]
    supervision: Supervision
    events: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: tuple[Path, ...] = ()
    durations_table: Path | None = None
    parts: tuple[ClipSet, ...] = ()
    listed_at: tuple[int, ...] = ()
    list_length: int = 0
    groups: Mapping[str, str] = field(default_factory=dict)
    heard_from: HeardFrom = "store"

    def __post_init__(self) -> None:
        seen: dict[str, Path] = {}
        for clip in self.clips:
            if seen.get(clip.audio_id) == clip.path:
                raise CorpusError(f"{self.name}: {clip.path} is in it twice; name each corpus of a source once")
            if clip.audio_id in seen:
                raise CorpusError(
                    f"{self.name}: {seen[clip.audio_id]} and {clip.path} are both called {clip.audio_id}; rename one"
                )
            seen[clip.audio_id] = clip.path

    @property
    def files_present(self) -> int:
        """Clips that are there."""
        return len(self.clips)

    @property
    def files_expected(self) -> int:
        """Clips that the source lists."""
        return len(self.clips) + len(self.missing)

    def select(self, positions: list[int], name: str | None = None) -> ClipSet:
        """The clips at `positions`, with what is known about them and of no other."""
        clips = tuple(self.clips[position] for position in positions)
        events = {clip.audio_id: self.events[clip.audio_id] for clip in clips if clip.audio_id in self.events}
        tags = {clip.audio_id: self.tags[clip.audio_id] for clip in clips if clip.audio_id in self.tags}
        rows = tuple(self.listed_at[position] if self.listed_at else position for position in positions)
        groups = {clip.audio_id: self.groups[clip.audio_id] for clip in clips if clip.audio_id in self.groups}
        return ClipSet(
            name or self.name,
            clips,
            self.supervision,
            events,
            tags,
            durations_table=self.durations_table,
            listed_at=rows,
            list_length=self.rows_of_list,
            groups=groups,
            heard_from=self.heard_from,
        )

    @property
    def rows_in_list(self) -> tuple[int, ...]:
        """`listed_at`, also where that is each clip's place here."""
        return self.listed_at or tuple(range(len(self.clips)))

    @property
    def rows_of_list(self) -> int:
        """How many rows the source's list has, of which `rows_in_list` are some."""
        return self.list_length or self.files_expected


def join_clip_sets(clip_sets: Sequence[ClipSet]) -> ClipSet:
    """The clips of several sets of one supervision, in their order; CorpusError when two clips share a name."""
    first = clip_sets[0]
    if len(clip_sets) == 1:
        return first
    return ClipSet(
        "+".join(clip_set.name for clip_set in clip_sets),
        tuple(clip for clip_set in clip_sets for clip in clip_set.clips),
        first.supervision,
        {audio_id: events for clip_set in clip_sets for audio_id, events in clip_set.events.items()},
        {audio_id: tags for clip_set in clip_sets for audio_id, tags in clip_set.tags.items()},
        missing=tuple(path for clip_set in clip_sets for path in clip_set.missing),
        parts=tuple(part for clip_set in clip_sets for part in clip_set.parts or (clip_set,)),
        listed_at=_joined_rows(clip_sets),
        list_length=sum(clip_set.rows_of_list for clip_set in clip_sets),
        groups={audio_id: group for clip_set in clip_sets for audio_id, group in clip_set.groups.items()},
    )


def _joined_rows(clip_sets: Sequence[ClipSet]) -> tuple[int, ...]:
    """Rows of the lists of several sets, one list after another."""
    if not any(clip_set.listed_at for clip_set in clip_sets):
        return ()
    firsts = accumulate((clip_set.rows_of_list for clip_set in clip_sets), initial=0)
    return tuple(
        first + row for first, clip_set in zip(firsts, clip_sets, strict=False) for row in clip_set.rows_in_list
    )
