"""Alarm_bell_ringing: beeping devices, two-tone and sweeping sirens, and struck bells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from desed_task.audio.reading import Waveform
from desed_task.soundscapes.procedural import synthesis as syn
from desed_task.soundscapes.soundbank import SAMPLE_RATE


def alarm_bell_ringing(voice: np.random.Generator, take: np.random.Generator) -> Waveform:
    """Half a second to eight seconds of one of the four kinds."""
    kind = _KINDS[voice.integers(len(_KINDS))]
    room_seconds, wetness = voice.uniform(0.1, 0.6), voice.uniform(0.0, 0.3)
    num_samples = syn.samples(syn.log_uniform(take, 0.5, 8.0))
    waveform = kind(voice, take, num_samples) * syn.swell(num_samples, 0.005, 0.02)
    return syn.in_room(take, waveform, room_seconds, wetness)


def _beeps(voice: np.random.Generator, take: np.random.Generator, num_samples: int) -> Waveform:
    """A smoke detector or an alarm clock: one tone, switched, often in groups."""
    frequency, table = syn.log_uniform(voice, 700, 3600), _buzzer(voice, 3600)
    beep, pause = syn.log_uniform(voice, 0.05, 0.5), syn.log_uniform(voice, 0.04, 0.4)
    times = np.arange(num_samples) / SAMPLE_RATE
    on = ((times % (beep + pause)) < beep).astype(np.float32)
    # Contacts open and close within a few milliseconds.
    on = np.convolve(on, np.hanning(64) / np.hanning(64).sum(), mode="same").astype(np.float32)
    return syn.oscillate(table, np.full(num_samples, frequency * take.uniform(0.99, 1.01))) * on


def _two_tone(voice: np.random.Generator, take: np.random.Generator, num_samples: int) -> Waveform:
    """High and low in turn."""
    low, interval = syn.log_uniform(voice, 400, 1800), voice.uniform(1.12, 1.7)
    period, table = syn.log_uniform(voice, 0.15, 1.2), _buzzer(voice, 3100)
    times = np.arange(num_samples) / SAMPLE_RATE + take.uniform(0, period)
    return syn.oscillate(table, np.where(times % period < period / 2, low, low * interval))


def _sweep(voice: np.random.Generator, take: np.random.Generator, num_samples: int) -> Waveform:
    """A siren that rises and falls, or only rises and starts again."""
    low, span = syn.log_uniform(voice, 450, 1300), voice.uniform(1.4, 2.6)
    period, back, table = syn.log_uniform(voice, 0.25, 3.0), voice.choice([0.5, 0.98]), _buzzer(voice, 3400)
    position = (np.arange(num_samples) / SAMPLE_RATE / period + take.uniform(0, 1)) % 1.0
    height = np.interp(position, (0, back, 1), (0, 1, 0))
    return syn.oscillate(table, low * span**height)


def _bell(voice: np.random.Generator, take: np.random.Generator, num_samples: int) -> Waveform:
    """A telephone or school bell: a metal shell struck many times a second, or a few slow strokes."""
    ratios = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 3.01, 4.1]) * voice.uniform(0.98, 1.02, 8)
    frequencies = syn.log_uniform(voice, 500, 1900) * ratios
    frequencies = frequencies[frequencies < 0.95 * syn.NYQUIST]
    strokes_per_second, ring_seconds = syn.log_uniform(voice, 3, 28), syn.log_uniform(voice, 0.15, 0.8)
    ring = syn.samples(min(2.0, 4 * ring_seconds))
    times = np.arange(ring, dtype=np.float32) / SAMPLE_RATE
    weights = voice.exponential(1.0, len(frequencies)) + 0.1
    modes = np.sin(6.2832 * frequencies[:, None].astype(np.float32) * times)
    damping = np.sqrt(frequencies / frequencies[0]) / ring_seconds
    modes *= np.exp(-times * damping[:, None].astype(np.float32))
    strike = np.zeros(num_samples, dtype=np.float32)
    starts = np.arange(0, num_samples, SAMPLE_RATE / strokes_per_second).astype(np.int64)
    strike[starts] = take.uniform(0.6, 1.0, len(starts))
    length = syn.fast_length(num_samples + ring)
    rung = np.fft.irfft(np.fft.rfft(strike, length) * np.fft.rfft(weights.astype(np.float32) @ modes, length), length)
    return syn.normalised(rung[:num_samples].astype(np.float32))


def _buzzer(voice: np.random.Generator, highest: float) -> NDArray[np.float32]:
    """The waveform of a beeper, from nearly pure to nearly square."""
    numbers = np.arange(1, syn.harmonics_below_nyquist(highest, 9) + 1)
    return syn.wavetable(numbers ** voice.uniform(-2.5, -0.5) * np.where(numbers % 2, 1.0, voice.uniform(0.0, 0.6)))


_KINDS = (_beeps, _two_tone, _sweep, _bell)
