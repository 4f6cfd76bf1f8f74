"""Building blocks of synthesis: noise, filters by FFT, wavetable oscillators, slow curves, resonances.

Waveforms are (samples,) float32 at SAMPLE_RATE; curves are (samples,) too; frequencies in Hz, levels in dB, lengths in
seconds where a name says so. Filters are magnitude curves applied in the frequency domain, zero phase, since scipy is
not among the dependencies of the soundscapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from desed_task.audio.reading import Waveform
from desed_task.soundscapes.soundbank import SAMPLE_RATE

Curve = NDArray[np.float32]
Generator = np.random.Generator
# Frequencies in Hz -> gain factors.
Magnitude = Callable[[NDArray[np.floating]], NDArray[np.floating]]

NYQUIST = SAMPLE_RATE / 2
_WAVETABLE_SAMPLES = 2048
_FRAME_SAMPLES = 512
_HOP_SAMPLES = 128


def samples(seconds: float) -> int:
    """Samples in `seconds`, at least one."""
    return max(1, round(seconds * SAMPLE_RATE))


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """A number between low and high, evenly in its logarithm (for frequencies and durations)."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def noise(rng: Generator, num_samples: int) -> Waveform:
    """White noise of RMS 1."""
    return rng.standard_normal(num_samples, dtype=np.float32)


def fast_length(num_samples: int) -> int:
    """The next length whose FFT is quick: a small number times a power of two."""
    shift = max(0, num_samples.bit_length() - 4)
    return -(-num_samples >> shift) << shift


def shape_spectrum(waveform: Waveform, magnitude: Magnitude) -> Waveform:
    """Filter with the zero-phase response `magnitude(frequencies in Hz)`."""
    length = fast_length(len(waveform))
    spectrum = np.fft.rfft(waveform, length)
    spectrum *= magnitude(np.fft.rfftfreq(length, 1 / SAMPLE_RATE)).astype(np.float32)
    return np.fft.irfft(spectrum, length)[: len(waveform)].astype(np.float32)


def band(low: float, high: float, steepness: float = 4.0) -> Magnitude:
    """Band-pass magnitude from low to high Hz, falling by about 3 * steepness dB per octave outside."""

    def magnitude(frequencies: NDArray[np.floating]) -> NDArray[np.floating]:
        positive = np.maximum(frequencies, 1.0)
        response = 1 / np.sqrt((1 + (low / positive) ** steepness) * (1 + (positive / high) ** steepness))
        return np.asarray(response)

    return magnitude


def tilt(decibels_per_octave: float, pivot: float = 1000.0) -> Magnitude:
    """Magnitude with a constant slope, 0 dB at the pivot, flat below 40 Hz."""

    def magnitude(frequencies: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.asarray((np.maximum(frequencies, 40.0) / pivot) ** (decibels_per_octave / 6.0206))

    return magnitude


def resonances(
    frequencies: NDArray[np.floating], centers: NDArray[np.floating], bandwidths: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Magnitude of parallel resonators: centers and bandwidths (..., resonators) in Hz -> (..., frequencies)."""
    detuning = (frequencies - centers[..., None]) / (bandwidths[..., None] / 2)
    return np.asarray((1 / np.sqrt(1 + detuning**2)).sum(axis=-2), dtype=np.float32)


def filter_frames(waveform: Waveform, magnitudes: NDArray[np.float32]) -> Waveform:
    """Filter that moves: magnitudes (frames, frame_bins()) at every 8 ms, cross-faded by overlap-add."""
    num_frames = len(magnitudes)
    padded = np.zeros((num_frames - 1) * _HOP_SAMPLES + _FRAME_SAMPLES, dtype=np.float32)
    start = _FRAME_SAMPLES // 2
    padded[start : start + len(waveform)] = waveform[: len(padded) - start]
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FRAME_SAMPLES)[::_HOP_SAMPLES] * np.hanning(
        _FRAME_SAMPLES
    ).astype(np.float32)
    filtered = np.fft.irfft(np.fft.rfft(frames, axis=1) * magnitudes, _FRAME_SAMPLES, axis=1)
    out = np.zeros(len(padded) + _FRAME_SAMPLES, dtype=np.float32)
    quarters = _FRAME_SAMPLES // _HOP_SAMPLES
    blocks = out[: (num_frames + quarters - 1) * _HOP_SAMPLES].reshape(-1, _HOP_SAMPLES)
    for quarter in range(quarters):
        blocks[quarter : quarter + num_frames] += filtered[:, quarter * _HOP_SAMPLES : (quarter + 1) * _HOP_SAMPLES]
    return out[start : start + len(waveform)] / (quarters / 2)


def num_filter_frames(num_samples: int) -> int:
    """How many frames `filter_frames` needs for a waveform."""
    return -(-num_samples // _HOP_SAMPLES) + 3


def frame_bins() -> NDArray[np.float32]:
    """The frequencies in Hz of the columns of `filter_frames`."""
    return np.fft.rfftfreq(_FRAME_SAMPLES, 1 / SAMPLE_RATE).astype(np.float32)


def frame_times(num_frames: int) -> NDArray[np.floating]:
    """The middle of each filter frame in seconds from the waveform's beginning."""
    return np.arange(num_frames) * (_HOP_SAMPLES / SAMPLE_RATE)


def wavetable(amplitudes: NDArray[np.floating], phases: NDArray[np.floating] | None = None) -> NDArray[np.float32]:
    """One period of a sum of harmonics 1, 2, ... with these amplitudes, of RMS 1."""
    spectrum = np.zeros(_WAVETABLE_SAMPLES // 2 + 1, dtype=np.complex128)
    turned = amplitudes if phases is None else amplitudes * np.exp(1j * phases)
    spectrum[1 : len(amplitudes) + 1] = turned
    period = np.fft.irfft(spectrum, _WAVETABLE_SAMPLES)
    return (period / max(float(np.sqrt(np.mean(period**2))), 1e-12)).astype(np.float32)


def oscillate(table: NDArray[np.float32], frequency: Curve | NDArray[np.float64], start: float = 0.0) -> Waveform:
    """Play a wavetable at a frequency curve in Hz; the caller keeps harmonics below the Nyquist frequency."""
    phase = start + np.cumsum(frequency, dtype=np.float64) / SAMPLE_RATE
    return table[(phase * _WAVETABLE_SAMPLES).astype(np.int64) % _WAVETABLE_SAMPLES]


def harmonics_below_nyquist(highest_frequency: float, at_most: int = 80) -> int:
    """How many harmonics of a tone stay clear of the Nyquist frequency."""
    return max(1, min(at_most, int(0.95 * NYQUIST / highest_frequency)))


def slow_curve(rng: Generator, num_samples: int, changes_per_second: float) -> Curve:
    """A random curve of RMS near 1 that wanders about `changes_per_second` times a second."""
    num_points = max(4, int(num_samples / SAMPLE_RATE * changes_per_second) + 3)
    points = rng.standard_normal(num_points)
    return np.interp(np.linspace(0, num_points - 1, num_samples), np.arange(num_points), points).astype(np.float32)


def line(num_samples: int, times: Sequence[float], values: Sequence[float]) -> Curve:
    """A curve through points at these fractions (0 to 1) of its length."""
    return np.interp(np.linspace(0, 1, num_samples), times, values).astype(np.float32)


def swell(num_samples: int, attack_seconds: float, release_seconds: float) -> Curve:
    """An envelope that rises from 0 to 1, stays, and falls to 0, both with a half cosine."""
    envelope = np.ones(num_samples, dtype=np.float32)
    attack, release = (min(samples(seconds), num_samples // 2) for seconds in (attack_seconds, release_seconds))
    if attack > 0:
        envelope[:attack] *= _half_cosine(attack)
    if release > 0:
        envelope[-release:] *= _half_cosine(release)[::-1]
    return envelope


def decibels(values: Curve) -> Curve:
    """Levels in dB -> factors."""
    return np.asarray(10 ** (values / 20), dtype=np.float32)


def add_at(waveform: Waveform, start: int, piece: Waveform) -> None:
    """Add a piece that begins at sample `start`, cut at the end."""
    stop = min(len(waveform), start + len(piece))
    if stop > start:
        waveform[start:stop] += piece[: stop - start]


def normalised(waveform: Waveform) -> Waveform:
    """The waveform at an RMS of 1 (silence stays silence)."""
    return waveform / np.float32(max(float(np.sqrt(np.mean(np.square(waveform)))), 1e-12))


def in_room(rng: Generator, waveform: Waveform, decay_seconds: float, wetness: float) -> Waveform:
    """Add a diffuse tail of a room whose reverberation falls by 60 dB in `decay_seconds`; that much longer."""
    tail = samples(decay_seconds)
    length = fast_length(len(waveform) + tail)
    times = np.arange(tail, dtype=np.float32) / SAMPLE_RATE
    response = noise(rng, tail) * np.exp(-6.9 * times / decay_seconds).astype(np.float32)
    # High frequencies die first in a furnished room.
    response = shape_spectrum(response, tilt(-3.0))
    response *= np.float32(wetness) / np.sqrt(np.sum(np.square(response)))
    response[0] += 1.0
    wet = np.fft.irfft(np.fft.rfft(waveform, length) * np.fft.rfft(response, length), length)
    return wet[: len(waveform) + tail].astype(np.float32)


def _half_cosine(num_samples: int) -> Curve:
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(num_samples) + 0.5) / num_samples)).astype(np.float32)
