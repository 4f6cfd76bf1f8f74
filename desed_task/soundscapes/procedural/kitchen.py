"""Frying and Running_water: noise made of many small events, crackles of fat and bubbles of water."""

from __future__ import annotations

import numpy as np

from desed_task.audio.reading import Waveform
from desed_task.soundscapes.procedural import synthesis as syn
from desed_task.soundscapes.soundbank import SAMPLE_RATE

_SECONDS = (2.0, 10.0)
_BUBBLE_SECONDS = 0.04


def frying(voice: np.random.Generator, take: np.random.Generator) -> Waveform:
    """Hiss above 2 kHz and dense crackle: clicks at random moments, a few loud, most faint."""
    crackles_per_second, hiss = syn.log_uniform(voice, 40, 500), voice.uniform(0.05, 0.35)
    hiss_low, centers = voice.uniform(1800, 4200), np.exp(voice.uniform(np.log(1200), np.log(6500), 3))
    num_samples = syn.samples(syn.log_uniform(take, *_SECONDS))
    heat = syn.slow_curve(take, num_samples, take.uniform(0.4, 1.5))
    crackle = np.zeros(num_samples, dtype=np.float32)
    for center in centers:
        clicks = _clicks(take, num_samples, crackles_per_second / 3)
        crackle += syn.shape_spectrum(clicks, syn.band(center / 1.5, center * 1.5, 6.0))
    steam = syn.normalised(syn.shape_spectrum(syn.noise(take, num_samples), syn.band(hiss_low, 7600)))
    # Slow changes in heat move the crackle more than the hiss.
    waveform = syn.normalised(crackle) * syn.decibels(2.0 * heat) + hiss * steam * syn.decibels(0.7 * heat)
    return waveform * syn.swell(num_samples, take.uniform(0.05, 0.5), take.uniform(0.05, 0.5))


def running_water(voice: np.random.Generator, take: np.random.Generator) -> Waveform:
    """A broad rush with the resonance of a sink, and bubbles that chirp upwards."""
    low, high = voice.uniform(250, 900), syn.log_uniform(voice, 2500, 6500)
    sink, ringing = syn.log_uniform(voice, 350, 1800), voice.uniform(0.0, 1.5)
    bubbles_per_second, bubbling = syn.log_uniform(voice, 15, 120), voice.uniform(0.3, 1.3)
    num_samples = syn.samples(syn.log_uniform(take, *_SECONDS))
    flow = syn.slow_curve(take, num_samples, take.uniform(0.5, 3.0))
    response = syn.band(low, high, 3.0)
    center, width = np.array([sink]), np.array([sink * 0.25])
    rush = syn.shape_spectrum(
        syn.noise(take, num_samples), lambda hz: response(hz) * (1 + ringing * syn.resonances(hz, center, width))
    )
    waveform = syn.normalised(rush) + bubbling * _bubbles(take, num_samples, bubbles_per_second)
    return (
        waveform * syn.decibels(1.2 * flow) * syn.swell(num_samples, take.uniform(0.03, 0.3), take.uniform(0.05, 0.4))
    )


def _clicks(take: np.random.Generator, num_samples: int, per_second: float) -> Waveform:
    """Impulses of random sign and of sizes over 30 dB."""
    clicks = np.zeros(num_samples, dtype=np.float32)
    num_clicks = 1 + int(take.poisson(per_second * num_samples / SAMPLE_RATE))
    sizes = np.exp(take.normal(0, 0.9, num_clicks)) * take.choice([-1.0, 1.0], num_clicks)
    clicks[take.integers(num_samples, size=num_clicks)] = sizes
    return clicks


def _bubbles(take: np.random.Generator, num_samples: int, per_second: float) -> Waveform:
    """Short decaying chirps between 400 and 3500 Hz, RMS 1 (small bubbles are high; pitch rises as they shrink)."""
    length = syn.samples(_BUBBLE_SECONDS)
    num_bubbles = 1 + int(take.poisson(per_second * num_samples / SAMPLE_RATE))
    pitches = np.exp(take.uniform(np.log(400), np.log(3500), (num_bubbles, 1))).astype(np.float32)
    times = np.arange(length, dtype=np.float32) / SAMPLE_RATE
    rise, decay = take.uniform(1, 12, (num_bubbles, 1)), take.uniform(0.004, 0.015, (num_bubbles, 1))
    phases = 6.2832 * pitches * (times + rise.astype(np.float32) * times**2)
    chirps = np.sin(phases) * np.exp(-times / decay.astype(np.float32)) * take.exponential(1.0, (num_bubbles, 1))
    starts = take.integers(max(1, num_samples - length), size=(num_bubbles, 1))
    positions = np.minimum(starts + np.arange(length), num_samples - 1)
    summed = np.bincount(positions.ravel(), weights=chirps.ravel(), minlength=num_samples)
    return syn.normalised(summed.astype(np.float32))
