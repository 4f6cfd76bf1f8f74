"""Takes: which part of which sound is heard, and how it is varied, before it has a place in a scene.

Two ways to draw one. `FreshTakes` draws sound, excerpt and variation anew each time, as the files of
`recipes/generate_soundscapes.py` do. `BankedTakes` draws from a bank: so many takes per class, drawn once by the same
rules from a seed of their own. A mixer that is asked for thousands of scenes can then prepare each take once where
preparing it is slow work for a CPU: a synthesis, another speed, a stretch, a shift of pitch. What is quick (tilt, band,
ramp) is drawn anew for each scene all the same, and what needs no preparing is not banked at all.

A take of the bank is made when it is first asked for, from its class and number alone, so a bank costs nothing in
advance and is the same in every process and in whatever order its takes are drawn.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol

import numpy as np

from desed_task.soundscapes.ranges import Range
from desed_task.soundscapes.silence import Outline, draw_excerpt
from desed_task.soundscapes.soundbank import BACKGROUND, Sound, Soundbank, seeded
from desed_task.soundscapes.variation import Variation, VariationOptions, draw_variation

_DISTINCT_TRIES = 20


@dataclass(frozen=True)
class Take:
    """`num_samples` of a sound from sample `first` on, to be varied."""

    sound: Sound
    first: int
    num_samples: int
    variation: Variation


class Takes(Protocol):
    """Where the takes of a scene come from."""

    def draw_background(self, rng: np.random.Generator) -> Sound:
        """A background."""
        ...

    def draw(self, rng: np.random.Generator, event_label: str, taken: Collection[str]) -> Take | None:
        """A take of a class whose source is not in `taken`; None when 20 draws find none."""
        ...


class FreshTakes:
    """Takes that are drawn anew each time.

    max_event_seconds: range of the limit on what is heard; scene_samples: of the scenes, which no event outlasts.
    """

    def __init__(
        self, soundbank: Soundbank, variation: VariationOptions, max_event_seconds: Range, scene_samples: int
    ) -> None:
        self.soundbank = soundbank
        self.variation = variation
        self._max_event_seconds = max_event_seconds
        self._scene_samples = scene_samples
        self._outline = cache(self._read_outline)

    def draw_background(self, rng: np.random.Generator) -> Sound:
        """As the soundbank draws it."""
        return self.soundbank.backgrounds.draw(rng, self._scene_samples)

    def draw(self, rng: np.random.Generator, event_label: str, taken: Collection[str]) -> Take | None:
        """A sound, a variation and the part of the sound that is heard."""
        sound = self._draw_sound(rng, event_label, taken)
        if sound is None:
            return None
        outline = self._outline(sound)
        variation = draw_variation(rng, self.variation)
        heard_seconds = rng.uniform(*self._max_event_seconds)
        heard_limit = min(round(heard_seconds * self.soundbank.sample_rate), self._scene_samples)
        first, last = draw_excerpt(rng, outline, variation.source_samples(heard_limit))
        return Take(sound, first, last - first, variation)

    def _draw_sound(self, rng: np.random.Generator, event_label: str, taken: Collection[str]) -> Sound | None:
        for _ in range(_DISTINCT_TRIES):
            sound = self.soundbank.draw_event(rng, event_label)
            if sound.source not in taken:
                return sound
        return None

    def _read_outline(self, sound: Sound) -> Outline:
        return self.soundbank.isolation.outline(self.soundbank.read_event(sound), self.soundbank.sample_rate)


class BankedTakes:
    """`size` takes of each class, and as many backgrounds, where they are slow to prepare; drawn anew where not."""

    def __init__(self, fresh: FreshTakes, size: int, seed: int) -> None:
        self._fresh = fresh
        self._size = size
        self._seed = seed
        self.banks_events = fresh.soundbank.is_endless or fresh.variation.reshapes
        self.banks_backgrounds = fresh.soundbank.backgrounds.is_endless
        self._take, self._background = cache(self._make_take), cache(self._make_background)

    def draw_background(self, rng: np.random.Generator) -> Sound:
        """One of the bank's backgrounds, or any."""
        if not self.banks_backgrounds:
            return self._fresh.draw_background(rng)
        return self._background(int(rng.integers(self._size)))

    def draw(self, rng: np.random.Generator, event_label: str, taken: Collection[str]) -> Take | None:
        """One of the bank's takes of a class, its spectrum and its ramp drawn anew; or any take."""
        if not self.banks_events:
            return self._fresh.draw(rng, event_label, taken)
        for _ in range(_DISTINCT_TRIES):
            take = self._take(event_label, int(rng.integers(self._size)))
            if take.sound.source not in taken:
                return replace(take, variation=self._coloured(rng, take.variation))
        return None

    def _coloured(self, rng: np.random.Generator, prepared: Variation) -> Variation:
        return replace(
            draw_variation(rng, self._fresh.variation),
            speed=prepared.speed,
            time_stretch=prepared.time_stretch,
            pitch_semitones=prepared.pitch_semitones,
        )

    def _make_take(self, event_label: str, number: int) -> Take:
        take = self._fresh.draw(seeded(self._seed, "takes", event_label, number), event_label, ())
        assert take is not None, "nothing is taken, so the first draw is one"
        return take

    def _make_background(self, number: int) -> Sound:
        return self._fresh.draw_background(seeded(self._seed, "takes", BACKGROUND, number))
