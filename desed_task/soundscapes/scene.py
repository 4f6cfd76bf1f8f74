"""Scene: what happens in one soundscape, drawn before a single sample is mixed.

A scene is a frozen value: which sound is placed where, at which signal-to-noise ratio, over which background. SNR is
the power of an event over its own length relative to the power of the background over the scene; or, with `levels:
lufs`, the loudness of the one over that of the other. Onsets are whole milliseconds, as the tables write them.

Rules: an event is placed only where no more than `max_overlap` events sound at any moment; when 20 random onsets do not
offer such a place, it is left out. An event longer than the limit drawn for it is cut to a random excerpt that begins
and ends audibly. An event shorter than `min_event_seconds` is annotated as that long. Events of one class less than
`same_class_gap_seconds` apart are one event in the annotation (DESED: 150 ms). Where sources must be distinct, a sound
whose source is already in the scene is drawn again, 20 times at most, then left out.

Scaper (Salamon et al. 2017) draws onsets over the whole scene and moves what would not fit back to where it ends with
the scene: `onsets: pushed_back`. So half of the onsets of long events are the latest possible ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from desed_task.errors import DesedTaskError
from desed_task.events import Event, merge_close_events
from desed_task.labels import LabelSet
from desed_task.options import Options
from desed_task.soundscapes.classes import CoOccurrenceTable, check_co_occurrence, drawn_classes, drawn_co_occurring
from desed_task.soundscapes.ranges import Range
from desed_task.soundscapes.room import Room, RoomOptions, RoomResponse
from desed_task.soundscapes.soundbank import SAMPLE_RATE, Sound, Soundbank
from desed_task.soundscapes.takes import FreshTakes, Take, Takes
from desed_task.soundscapes.variation import Variation, VariationOptions

_PLACEMENT_TRIES = 20

# How levels are measured: RMS after the fades, or LUFS before them, whose ramps are then Scaper's, a quarter of a sine.
Levels = Literal["rms", "lufs"]


def _label_names(labels: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return LabelSet(labels).names
    except DesedTaskError as error:
        raise ValueError(str(error)) from None


class SceneOptions(Options):
    """From what a scene is drawn."""

    labels: Annotated[tuple[str, ...], AfterValidator(_label_names)] = Field(description="Classes that may occur.")
    class_weights: dict[str, float] = Field(default={}, description="How often a class is drawn, the others having 1.")
    classes_per_scene: int | None = Field(
        default=None, ge=1, description="Classes that the events of one scene are of; null: any."
    )
    co_occurrence: CoOccurrenceTable | None = Field(
        default=None, description="Class -> what occurs with it, or a file of that; replaces counts and weights."
    )
    distinct_sources: bool = Field(default=False, description="Whether no source may be heard twice in a scene.")
    duration_seconds: float = Field(default=10.0, gt=0, description="Length of a scene.")
    num_events: tuple[int, int] = Field(default=(1, 5), description="Fewest and most events of a scene.")
    snr_db: Range = Field(default=(6.0, 30.0), description="Level of an event over the background.")
    levels: Levels = Field(
        default="rms", description="What levels are: RMS of the faded event, or LUFS before its fades, as in Scaper."
    )
    onsets: Literal["even", "pushed_back"] = Field(
        default="even",
        description="Equally likely wherever the event fits; or drawn over the whole scene, then moved back to fit.",
    )
    max_overlap: int = Field(default=2, ge=1, description="Most events that sound at the same time.")
    max_event_seconds: Range = Field(default=(10.0, 10.0), description="Range of the limit on an event's length.")
    min_event_seconds: float = Field(default=0.05, gt=0, description="Shorter events are annotated as this long.")
    background_db: Range = Field(
        default=(-55.0, -40.0), description="Level of the background relative to full scale, or its LUFS."
    )
    fade_milliseconds: float = Field(default=10.0, ge=0, description="Fade at both ends of an event.")
    same_class_gap_seconds: float | None = Field(
        default=0.150, ge=0, description="Closer events of one class are one; null: each stays one, as in Scaper."
    )
    variation: VariationOptions = Field(default=VariationOptions(), description="Random changes to each placed event.")
    room: RoomOptions | None = Field(default=None, description="Rooms in which events are heard; none: as recorded.")

    @model_validator(mode="after")
    def _is_consistent(self) -> SceneOptions:
        low, high = self.num_events
        if not 0 <= low <= high:
            raise ValueError(f"num_events {[low, high]} must be a range of counts, the smaller first")
        for label, weight in self.class_weights.items():
            if label not in self.labels or weight < 0:
                raise ValueError(f"class_weights: {label!r}: {weight} must be a class of `labels` with a weight >= 0")
        if not any(self.class_weights.get(label, 1.0) for label in self.labels):
            raise ValueError("class_weights: every class has weight 0; give one of them more")
        if self.co_occurrence is not None:
            if self.class_weights or self.classes_per_scene is not None:
                raise ValueError("co_occurrence says which classes occur; remove class_weights and classes_per_scene")
            check_co_occurrence(self.co_occurrence, self.labels)
        if not self.min_event_seconds <= self.max_event_seconds[0]:
            raise ValueError(
                f"max_event_seconds {list(self.max_event_seconds)} goes below min_event_seconds "
                f"{self.min_event_seconds}; raise the one or lower the other"
            )
        if self.min_event_seconds > self.duration_seconds:
            raise ValueError(f"min_event_seconds {self.min_event_seconds} is longer than the scene")
        return self


@dataclass(frozen=True)
class PlacedEvent:
    """One sound in a scene: `num_samples` of it from sample `first` on, varied, heard from `onset_sample` on.

    Of its reverberation only what falls into `heard_samples` belongs to the event.
    """

    sound: Sound
    first: int
    num_samples: int
    variation: Variation
    onset_sample: int
    heard_samples: int
    snr_db: float
    response: RoomResponse | None = None


@dataclass(frozen=True)
class Scene:
    """One drawn soundscape; `events` sorted by onset."""

    num_samples: int
    background: Sound
    background_db: float
    placed: tuple[PlacedEvent, ...]
    fade_samples: int
    min_event_samples: int
    same_class_gap_seconds: float | None
    sample_rate: int = SAMPLE_RATE
    levels: Levels = "rms"

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self.sample_rate

    def events(self) -> list[Event]:
        """The annotation: what is audible when, close events of one class merged, sorted by onset."""
        audible = []
        for placed in self.placed:
            length = max(placed.heard_samples, self.min_event_samples)
            onset = min(placed.onset_sample, self.num_samples - length)
            onset_seconds, offset_seconds = onset / self.sample_rate, (onset + length) / self.sample_rate
            audible.append(Event(onset_seconds, offset_seconds, placed.sound.event_label))
        gap = self.same_class_gap_seconds
        return sorted(audible) if gap is None else merge_close_events(audible, gap)

    def sources(self) -> list[tuple[str, str]]:
        """(class or "background", source) of everything that is heard, sorted, each once."""
        sounds = [self.background, *(placed.sound for placed in self.placed)]
        return sorted({(sound.event_label, sound.source) for sound in sounds})


def draw_scene(
    rng: np.random.Generator, options: SceneOptions, soundbank: Soundbank, takes: Takes | None = None
) -> Scene:
    """Draw one scene, of the soundbank's rate. It must have every class of `options.labels`. takes: new by default."""
    sample_rate = soundbank.sample_rate
    num_samples = round(options.duration_seconds * sample_rate)
    takes = takes or fresh_takes(options, soundbank)
    background = takes.draw_background(rng)
    background_db = float(rng.uniform(*options.background_db))
    room = Room(rng.spawn(1)[0], options.room) if options.room is not None else None
    placed: list[PlacedEvent] = []
    for label in _drawn_labels(rng, options):
        taken = {event.sound.source for event in placed} if options.distinct_sources else set()
        take = takes.draw(rng, label, taken)
        event = _place(rng, options, take, num_samples, sample_rate, placed) if take is not None else None
        response = room.draw_response() if room is not None else None
        placed += [] if event is None else [replace(event, response=response)]
    return Scene(
        num_samples=num_samples,
        background=background,
        background_db=background_db,
        placed=tuple(sorted(placed, key=lambda event: (event.onset_sample, event.sound.event_label))),
        fade_samples=round(options.fade_milliseconds / 1000 * sample_rate),
        min_event_samples=math.ceil(options.min_event_seconds * sample_rate),
        same_class_gap_seconds=options.same_class_gap_seconds,
        sample_rate=sample_rate,
        levels=options.levels,
    )


def fresh_takes(options: SceneOptions, soundbank: Soundbank) -> FreshTakes:
    """Takes that are drawn anew for each scene."""
    num_samples = round(options.duration_seconds * soundbank.sample_rate)
    return FreshTakes(soundbank, options.variation, options.max_event_seconds, num_samples)


def _drawn_labels(rng: np.random.Generator, options: SceneOptions) -> Iterator[str]:
    if options.co_occurrence is not None:
        return drawn_co_occurring(rng, options.co_occurrence)
    return drawn_classes(rng, options.labels, options.class_weights, options.num_events, options.classes_per_scene)


def _place(
    rng: np.random.Generator,
    options: SceneOptions,
    take: Take,
    scene_samples: int,
    sample_rate: int,
    placed: Sequence[PlacedEvent],
) -> PlacedEvent | None:
    """A level and a place for a take; None when there is no place."""
    heard = min(take.variation.num_samples(take.num_samples), scene_samples)
    snr_db = float(rng.uniform(*options.snr_db))
    for _ in range(_PLACEMENT_TRIES):
        onset = _drawn_onset(rng, options, scene_samples - heard, scene_samples, sample_rate)
        if _most_overlapping(placed, onset, onset + heard) < options.max_overlap:
            return PlacedEvent(take.sound, take.first, take.num_samples, take.variation, onset, heard, snr_db)
    return None


def _drawn_onset(
    rng: np.random.Generator, options: SceneOptions, latest_sample: int, scene_samples: int, sample_rate: int
) -> int:
    """A whole millisecond, in samples, not behind `latest_sample`."""
    latest = latest_sample * 1000 // sample_rate
    last = latest if options.onsets == "even" else scene_samples * 1000 // sample_rate
    milliseconds = min(int(rng.integers(last + 1)), latest)
    return (milliseconds * sample_rate + 500) // 1000


def _most_overlapping(placed: Sequence[PlacedEvent], first: int, last: int) -> int:
    """The most events that already sound at one moment of [first, last)."""
    within = [
        (max(event.onset_sample, first), min(event.onset_sample + event.heard_samples, last))
        for event in placed
        if event.onset_sample < last and first < event.onset_sample + event.heard_samples
    ]
    return max((sum(start <= moment < stop for start, stop in within) for moment, _ in within), default=0)
