"""The procedural soundbank: the ten DESED classes without a single recording.

Each class has `num_voices` voices per split. A voice's generator is seeded with seed, split, class and number, so
voices of two splits have nothing in common but the rules they are made by. Sounds are synthesised at 16 kHz; for scenes
of another rate they are resampled, so nothing in them lies above 8 kHz.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal

import numpy as np
from pydantic import Field

from desed_task.audio.reading import Waveform, resample
from desed_task.options import Options
from desed_task.soundscapes.procedural.alarms import alarm_bell_ringing
from desed_task.soundscapes.procedural.animals import cat, dog
from desed_task.soundscapes.procedural.backgrounds import ProceduralBackgrounds
from desed_task.soundscapes.procedural.impacts import dishes
from desed_task.soundscapes.procedural.kitchen import frying, running_water
from desed_task.soundscapes.procedural.motors import blender, electric_shaver_toothbrush, vacuum_cleaner
from desed_task.soundscapes.procedural.speech import speech
from desed_task.soundscapes.silence import IsolationOptions, isolated_events
from desed_task.soundscapes.soundbank import SAMPLE_RATE, Sound, seeded

Synthesiser = Callable[[np.random.Generator, np.random.Generator], Waveform]

SYNTHESISERS: Mapping[str, Synthesiser] = {
    "Alarm_bell_ringing": alarm_bell_ringing,
    "Blender": blender,
    "Cat": cat,
    "Dishes": dishes,
    "Dog": dog,
    "Electric_shaver_toothbrush": electric_shaver_toothbrush,
    "Frying": frying,
    "Running_water": running_water,
    "Speech": speech,
    "Vacuum_cleaner": vacuum_cleaner,
}

_LARGEST_TAKE = 2**31
# A drawn event is read again when its scene is rendered: the events of a few scenes are worth remembering.
_REMEMBERED_EVENTS = 32


class ProceduralOptions(Options):
    """A soundbank that is synthesised."""

    name: Literal["procedural"]
    num_voices: int = Field(default=400, ge=1, description="Voices per class and split.")
    isolation: IsolationOptions = Field(default=IsolationOptions(), description="How syntheses are trimmed.")


class ProceduralSoundbank:
    """Synthesised events and backgrounds of one split."""

    is_endless = True

    def __init__(self, options: ProceduralOptions, split: str, seed: int, sample_rate: int = SAMPLE_RATE) -> None:
        self.sample_rate = sample_rate
        self.labels = tuple(SYNTHESISERS)
        self.isolation = options.isolation
        self.backgrounds = ProceduralBackgrounds(split, seed, sample_rate)
        self._num_voices = options.num_voices
        self._split = split
        self._seed = seed
        self._synthesise = lru_cache(_REMEMBERED_EVENTS)(self._synthesise_trimmed)

    def draw_event(self, rng: np.random.Generator, event_label: str) -> Sound:
        """Choose a voice and a take."""
        voice = f"{self._split}/{event_label}/{rng.integers(self._num_voices):04d}"
        return Sound(event_label, voice, voice, int(rng.integers(_LARGEST_TAKE)))

    def read_event(self, sound: Sound) -> Waveform:
        """(samples,) of a drawn event."""
        return self._synthesise(sound)

    def _synthesise_trimmed(self, sound: Sound) -> Waveform:
        voice, take = seeded(self._seed, sound.source), seeded(self._seed, sound.source, sound.take)
        waveform = SYNTHESISERS[sound.event_label](voice, take)
        stretches = isolated_events(waveform, SAMPLE_RATE, self.isolation)
        trimmed = resample(waveform[stretches[0][0] : stretches[-1][1]], SAMPLE_RATE, self.sample_rate)
        trimmed.flags.writeable = False
        return trimmed


def build_procedural_soundbank(
    options: ProceduralOptions, split: str, seed: int, sample_rate: int = SAMPLE_RATE
) -> ProceduralSoundbank:
    """The procedural soundbank of one split."""
    return ProceduralSoundbank(options, split, seed, sample_rate)
