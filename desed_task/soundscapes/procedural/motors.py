"""Blender, Electric_shaver_toothbrush and Vacuum_cleaner: harmonics of a motor and the noise of what it drives.

They differ in where the energy lies and how it moves: a blender is loud and uneven over the whole range, a shaver is a
thin buzz with its energy high up, a vacuum cleaner is rushing air below a steady whine.
"""

from __future__ import annotations

import numpy as np

from desed_task.audio.reading import Waveform
from desed_task.soundscapes.procedural import synthesis as syn
from desed_task.soundscapes.soundbank import SAMPLE_RATE

_SECONDS = (2.0, 10.0)


def blender(voice: np.random.Generator, take: np.random.Generator) -> Waveform:
    """A motor that labours: speed and level dip with the load, lumps hit the jar."""
    speed, slope = syn.log_uniform(voice, 110, 330), voice.uniform(-6, -2)
    rumble, noise_low, noise_high = voice.uniform(0.5, 1.2), voice.uniform(300, 900), voice.uniform(3000, 6500)
    lumps_per_second = syn.log_uniform(voice, 2, 25)
    num_samples = syn.samples(syn.log_uniform(take, *_SECONDS))
    load = syn.slow_curve(take, num_samples, take.uniform(1.0, 4.0))
    frequency = speed * _spin_up(take, num_samples, 0.5) * (1 + 0.05 * load)
    tone = _motor(voice, frequency, slope, 0.6)
    rush = syn.normalised(syn.shape_spectrum(syn.noise(take, num_samples), syn.band(noise_low, noise_high)))
    throb = syn.oscillate(syn.wavetable(np.array([1.0, 0.4])), frequency / take.uniform(3, 9))
    waveform = tone + rumble * rush * (1 + 0.4 * throb) + _lumps(take, num_samples, lumps_per_second)
    return waveform * syn.decibels(-2.0 * load) * syn.swell(num_samples, 0.08, 0.25)


def electric_shaver_toothbrush(voice: np.random.Generator, take: np.random.Generator) -> Waveform:
    """A thin buzz: many harmonics of the mains or of a small motor, duller when it touches skin or teeth."""
    speed = float(voice.choice([50, 60, 100, 120, 200, 250])) * voice.uniform(0.94, 1.06)
    slope, lowest, hair = voice.uniform(-2.5, 0.5), syn.log_uniform(voice, 900, 2400), voice.uniform(0.05, 0.4)
    num_samples = syn.samples(syn.log_uniform(take, *_SECONDS))
    contact = syn.slow_curve(take, num_samples, take.uniform(0.6, 2.5))
    frequency = speed * _spin_up(take, num_samples, 0.15) * (1 + 0.012 * contact)
    tone = _motor(voice, frequency, slope, 0.35, num_harmonics=160)
    buzz = np.abs(syn.oscillate(syn.wavetable(np.array([1.0])), frequency)) * syn.noise(take, num_samples)
    waveform = syn.shape_spectrum(tone + hair * buzz, syn.band(lowest, 7600, 3.0))
    return syn.normalised(waveform) * syn.decibels(2.5 * contact) * syn.swell(num_samples, 0.03, 0.06)


def vacuum_cleaner(voice: np.random.Generator, take: np.random.Generator) -> Waveform:
    """Rushing air, steady but for the strokes of the nozzle, and a whine that rises when it starts."""
    speed, slope, whine = syn.log_uniform(voice, 180, 600), voice.uniform(-9, -4), voice.uniform(0.15, 0.6)
    air_low, air_high = voice.uniform(120, 350), syn.log_uniform(voice, 900, 2600)
    strokes_per_second, stroke_db = voice.uniform(0.4, 1.2), voice.uniform(0.3, 2.0)
    num_samples = syn.samples(syn.log_uniform(take, 3.0, _SECONDS[1]))
    stroke = syn.slow_curve(take, num_samples, strokes_per_second)
    turning = _spin_up(take, num_samples, 0.9)
    tone = _motor(voice, speed * turning * (1 + 0.008 * stroke), slope, 0.3)
    air = syn.normalised(syn.shape_spectrum(syn.noise(take, num_samples), syn.band(air_low, air_high, 3.0)))
    waveform = (whine * tone + air) * turning**2
    return waveform * syn.decibels(stroke_db * stroke) * syn.swell(num_samples, 0.1, 0.4)


def _spin_up(take: np.random.Generator, num_samples: int, seconds: float) -> syn.Curve:
    """A speed that reaches 1 within about `seconds`, from well below."""
    times = np.arange(num_samples) / SAMPLE_RATE
    missing = take.uniform(0.1, 0.6) * np.exp(-times / (seconds * take.uniform(0.15, 0.4)))
    return (1 - missing).astype(np.float32)


def _motor(
    voice: np.random.Generator, frequency: syn.Curve, slope: float, unevenness: float, num_harmonics: int = 80
) -> Waveform:
    """Harmonics falling by `slope` dB per octave, each uneven (blades and gears favour some), RMS 1."""
    numbers = np.arange(1, syn.harmonics_below_nyquist(float(frequency.max()), num_harmonics) + 1)
    amplitudes = numbers ** (slope / 6.02) * np.exp(unevenness * voice.standard_normal(len(numbers)) * 1.5)
    return syn.oscillate(syn.wavetable(amplitudes, voice.uniform(0, 6.28, len(numbers))), frequency)


def _lumps(take: np.random.Generator, num_samples: int, per_second: float) -> Waveform:
    """Ice and fruit against the jar: dull knocks at random moments."""
    hits = np.zeros(num_samples, dtype=np.float32)
    num_hits = int(take.poisson(per_second * num_samples / SAMPLE_RATE))
    hits[take.integers(num_samples, size=num_hits)] = take.exponential(1.0, num_hits)
    knock = syn.noise(take, syn.samples(0.02)) * np.linspace(1, 0, syn.samples(0.02), dtype=np.float32) ** 2
    length = syn.fast_length(num_samples + len(knock))
    return np.fft.irfft(np.fft.rfft(hits, length) * np.fft.rfft(knock, length), length)[:num_samples].astype(np.float32)
