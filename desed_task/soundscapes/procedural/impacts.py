"""Dishes: plates, glasses and cutlery that clink, as decaying inharmonic modes struck with a click."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from desed_task.audio.reading import Waveform
from desed_task.soundscapes.procedural import synthesis as syn
from desed_task.soundscapes.soundbank import SAMPLE_RATE

_RING_SECONDS = 0.6


def dishes(voice: np.random.Generator, take: np.random.Generator) -> Waveform:
    """Two to fifteen clinks of a few objects within two seconds."""
    objects = [_object_modes(voice) for _ in range(voice.integers(1, 4))]
    room_seconds, wetness = voice.uniform(0.1, 0.4), voice.uniform(0.0, 0.3)
    seconds = syn.log_uniform(take, 0.15, 1.6)
    num_clinks = int(take.integers(2, 5 + round(7 * seconds)))
    starts = np.sort(take.uniform(0, seconds, num_clinks))
    # No silence longer than the gap that still counts as one event.
    starts = np.concatenate(([0.0], np.cumsum(np.minimum(np.diff(starts), 0.4))))
    waveform = np.zeros(syn.samples(float(starts[-1]) + _RING_SECONDS), dtype=np.float32)
    for start in starts:
        modes = objects[take.integers(len(objects))]
        syn.add_at(waveform, syn.samples(start), _clink(take, modes) * np.float32(syn.log_uniform(take, 0.25, 1.0)))
    return syn.in_room(take, waveform, room_seconds, wetness)


def _object_modes(voice: np.random.Generator) -> NDArray[np.float32]:
    """(modes, samples) of one object: thin things ring high and long, stoneware is dull."""
    lowest, num_modes = syn.log_uniform(voice, 700, 2800), int(voice.integers(5, 12))
    ratios = np.cumsum(np.concatenate(([1.0], voice.uniform(0.25, 1.1, num_modes - 1))))
    frequencies = lowest * ratios
    frequencies = frequencies[frequencies < 0.95 * syn.NYQUIST]
    decays = syn.log_uniform(voice, 0.04, 0.3) * (lowest / frequencies) ** voice.uniform(0.2, 0.9)
    times = np.arange(syn.samples(_RING_SECONDS), dtype=np.float32) / SAMPLE_RATE
    phases = voice.uniform(0, 6.28, len(frequencies))
    rings = np.sin(6.2832 * frequencies[:, None].astype(np.float32) * times + phases[:, None].astype(np.float32))
    return np.asarray(rings * np.exp(-times / decays[:, None].astype(np.float32)), dtype=np.float32)


def _clink(take: np.random.Generator, modes: NDArray[np.float32]) -> Waveform:
    """One stroke: where it hits decides how loud each mode is."""
    weights = take.exponential(1.0, len(modes)).astype(np.float32)
    ring = weights @ modes / np.float32(np.sqrt(np.sum(weights**2)) + 1e-6)
    click = syn.samples(take.uniform(0.002, 0.012))
    ring[:click] += take.uniform(0.2, 0.8) * syn.noise(take, click) * np.linspace(1, 0, click, dtype=np.float32)
    return ring
