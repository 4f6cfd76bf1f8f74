"""Procedural backgrounds: coloured noise, the hum of the mains, and a level that drifts.

A background is a place (its colour, its hum), and places are as disjoint between splits as voices are. At another rate
than 16 kHz it is a resampled one, with nothing above 8 kHz.
"""

from __future__ import annotations

import math

import numpy as np

from desed_task.audio.reading import Waveform, resample
from desed_task.soundscapes.procedural import synthesis as syn
from desed_task.soundscapes.soundbank import BACKGROUND, SAMPLE_RATE, Sound, seeded

NUM_PLACES = 500
_LARGEST_TAKE = 2**31


class ProceduralBackgrounds:
    """Synthesised rooms of one split."""

    is_endless = True

    def __init__(self, split: str, seed: int, sample_rate: int = SAMPLE_RATE) -> None:
        self._sample_rate = sample_rate
        self._split = split
        self._seed = seed

    def draw(self, rng: np.random.Generator, num_samples: int) -> Sound:  # noqa: ARG002 (a synthesis has any length)
        """Choose a place and a moment."""
        place = f"{self._split}/{BACKGROUND}/{rng.integers(NUM_PLACES):04d}"
        return Sound(BACKGROUND, place, place, int(rng.integers(_LARGEST_TAKE)))

    def read(self, sound: Sound, num_samples: int) -> Waveform:
        """(num_samples,) of a drawn background."""
        voice, take = seeded(self._seed, sound.source), seeded(self._seed, sound.source, sound.take)
        if self._sample_rate == SAMPLE_RATE:
            return room_tone(voice, take, num_samples)
        tone = room_tone(voice, take, math.ceil((num_samples + 1) * SAMPLE_RATE / self._sample_rate))
        return resample(tone, SAMPLE_RATE, self._sample_rate)[:num_samples]


def room_tone(voice: np.random.Generator, take: np.random.Generator, num_samples: int) -> Waveform:
    """Coloured noise with a broad resonance, mains hum in some rooms, level drifting by a few dB; RMS 1."""
    slope, center, presence = voice.uniform(-7, -1), syn.log_uniform(voice, 150, 3000), voice.uniform(0, 2)
    hum, mains = voice.uniform(0, 0.6) * (voice.random() < 0.5), float(voice.choice([50.0, 60.0]))
    falling, centers = syn.tilt(slope), np.array([center])
    colour = syn.shape_spectrum(
        syn.noise(take, num_samples),
        lambda hz: falling(hz) * syn.band(60, 7800)(hz) * (1 + presence * syn.resonances(hz, centers, centers * 0.8)),
    )
    numbers = np.arange(1, 13)
    buzz = syn.oscillate(syn.wavetable(numbers ** voice.uniform(-2.0, -0.8)), np.full(num_samples, 2 * mains))
    drift = syn.decibels(voice.uniform(0.2, 1.5) * syn.slow_curve(take, num_samples, 0.4))
    return syn.normalised((syn.normalised(colour) + np.float32(hum) * buzz) * drift)
