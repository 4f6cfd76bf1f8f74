"""ClipSet: the clips of one source, where their audio lies, and what is known about them.

Supervision travels in the data: a set is strong (events with times), weak (classes per clip) or none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from desed_task.errors import CorpusError
from desed_task.events import Event

Supervision = Literal["strong", "weak", "none"]


def tags_of(events: Mapping[str, Sequence[Event]]) -> dict[str, tuple[str, ...]]:
    """clip -> events as clip -> the classes that occur in it, sorted."""
    return {clip: tuple(sorted({event.event_label for event in of_clip})) for clip, of_clip in events.items()}


@dataclass(frozen=True)
class Clip:
    """One recording: `audio_id` (file name without extension), path, duration in seconds."""

    audio_id: str
    path: Path
    duration: float


@dataclass(frozen=True)
class ClipSet:
    """Clips of one source with what is known about each.

    events: audio_id -> events with times (strong); tags: audio_id -> class names (weak; for strong sets those of the
    events). `num_expected`: how many clips the source's table lists, of which `clips` are present on disk.
    """

    name: str
    clips: tuple[Clip, ...]
    supervision: Supervision
    events: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    num_expected: int | None = None

    def __post_init__(self) -> None:
        seen: dict[str, Path] = {}
        for clip in self.clips:
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
        return len(self.clips) if self.num_expected is None else self.num_expected

    def select(self, positions: list[int], name: str | None = None) -> ClipSet:
        """The clips at `positions`, with what is known about them and of no other."""
        clips = tuple(self.clips[position] for position in positions)
        events = {clip.audio_id: self.events[clip.audio_id] for clip in clips if clip.audio_id in self.events}
        tags = {clip.audio_id: self.tags[clip.audio_id] for clip in clips if clip.audio_id in self.tags}
        return ClipSet(name or self.name, clips, self.supervision, events, tags)
