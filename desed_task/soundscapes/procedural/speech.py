"""Speech: a source-filter voice that says syllables of no language.

A glottal wave with a pitch contour, formant resonators that move from vowel to vowel, and fricative or plosive
consonants between them, at three to seven syllables a second. Formants after Peterson and Barney (1952), rounded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from desed_task.audio.reading import Waveform
from desed_task.soundscapes.procedural import synthesis as syn
from desed_task.soundscapes.soundbank import SAMPLE_RATE

# F1, F2, F3 in Hz of a man's vowels: heed, hid, head, had, hod, hawed, hood, who'd, hud.
_VOWELS = np.array(
    [
        [270, 2290, 3010],
        [390, 1990, 2550],
        [530, 1840, 2480],
        [660, 1720, 2410],
        [730, 1090, 2440],
        [570, 840, 2410],
        [440, 1020, 2240],
        [300, 870, 2240],
        [640, 1190, 2390],
    ]
)
_PAUSE_CHANCE = 0.12


def speech(voice: np.random.Generator, take: np.random.Generator) -> Waveform:
    """Half a second to four seconds of talking."""
    pitch = syn.log_uniform(voice, 85, 290)
    # Short throats have high voices and high formants.
    tract = (pitch / 120) ** 0.22 * voice.uniform(0.92, 1.08)
    rate, breathiness, brightness = voice.uniform(3, 7), voice.uniform(0.02, 0.2), voice.uniform(-13, -7)
    room_seconds, wetness = voice.uniform(0.1, 0.5), voice.uniform(0, 0.3)

    syllables = _draw_syllables(take, syn.log_uniform(take, 0.5, 4.0), rate)
    num_samples = syn.samples(float(syllables[-1].sum()))
    starts = syllables[0]
    voiced, consonant = _loudness(take, syllables, num_samples)
    source = _glottis(take, pitch, starts, num_samples, brightness) * voiced
    source += breathiness * syn.noise(take, num_samples) * voiced
    vowels = syn.filter_frames(source, _formant_curves(take, starts, num_samples, tract))
    talk = syn.normalised(vowels) + _consonants(take, syllables, num_samples) * consonant
    return syn.in_room(take, talk, room_seconds, wetness)


def _draw_syllables(take: np.random.Generator, seconds: float, rate: float) -> NDArray[np.float64]:
    """(3, syllables): start, consonant and whole length of each syllable in seconds; a pause may follow one."""
    lengths = take.uniform(0.65, 1.4, max(1, round(seconds * rate))) / rate
    consonants = lengths * take.uniform(0.0, 0.45, len(lengths))
    pauses = np.where(take.random(len(lengths)) < _PAUSE_CHANCE, take.uniform(0.05, 0.3, len(lengths)), 0.0)
    pauses[-1] = 0.0
    starts = np.concatenate(([0.0], np.cumsum(lengths + pauses)[:-1]))
    # The last row sums to the whole length: each row of it is what the syllable and its pause take.
    return np.stack([starts, consonants, lengths + pauses])


def _loudness(
    take: np.random.Generator, syllables: NDArray[np.float64], num_samples: int
) -> tuple[syn.Curve, syn.Curve]:
    """Envelopes of vowels and consonants."""
    voiced, consonant = np.zeros((2, num_samples), dtype=np.float32)
    for start, consonant_length, length in syllables.T:
        first, middle = syn.samples(start), syn.samples(start + consonant_length)
        last = min(num_samples, syn.samples(start + min(length, consonant_length + 0.35)))
        if last > middle:
            stress = take.uniform(0.4, 1.0)
            voiced[middle:last] = stress * syn.swell(last - middle, 0.02, 0.4 * (last - middle) / SAMPLE_RATE)
        if middle > first:
            consonant[first:middle] = take.uniform(0.1, 0.9) * syn.swell(middle - first, 0.005, 0.02)
    return voiced, consonant


def _glottis(
    take: np.random.Generator, pitch: float, starts: NDArray[np.float64], num_samples: int, brightness: float
) -> Waveform:
    """The buzz of the vocal folds: a falling melody with an accent on each syllable and a little jitter."""
    accents = take.normal(0, 0.08, len(starts))
    seconds = np.arange(num_samples) / SAMPLE_RATE
    melody = np.interp(seconds, starts, accents) + np.linspace(0.12, -0.15, num_samples)
    frequency = pitch * np.exp(melody + 0.01 * syn.slow_curve(take, num_samples, 30))
    numbers = np.arange(1, syn.harmonics_below_nyquist(float(frequency.max()), 60) + 1)
    return syn.oscillate(syn.wavetable(numbers ** (brightness / 6.02), 0.3 * numbers), frequency)


def _formant_curves(
    take: np.random.Generator, starts: NDArray[np.float64], num_samples: int, tract: float
) -> NDArray[np.float32]:
    """Filter magnitudes (frames, bins) of a throat that glides between random vowels."""
    targets = (
        _VOWELS[take.integers(len(_VOWELS), size=len(starts))] * tract * take.uniform(0.93, 1.07, (len(starts), 3))
    )
    times = syn.frame_times(syn.num_filter_frames(num_samples))
    # Two thirds of the way the mouth already moves to the next vowel.
    centers = np.stack([np.interp(times, starts + 0.08, formant) for formant in targets.T], axis=1)
    centers = np.concatenate([centers, np.full((len(times), 1), 3500 * tract)], axis=1)
    bandwidths = np.array([80, 110, 160, 250]) * np.ones((len(times), 1))
    magnitudes = syn.resonances(syn.frame_bins(), centers.astype(np.float32), bandwidths.astype(np.float32))
    return magnitudes


def _consonants(take: np.random.Generator, syllables: NDArray[np.float64], num_samples: int) -> Waveform:
    """Hiss of s, sh, f and bursts of t, k: noise whose band changes from syllable to syllable."""
    frames = syn.num_filter_frames(num_samples)
    starts = syllables[0]
    nearest = np.clip(np.searchsorted(starts, syn.frame_times(frames), side="right") - 1, 0, len(starts) - 1)
    centers = np.exp(take.uniform(np.log(1500), np.log(6500), len(starts)))[nearest]
    widths = take.uniform(800, 4000, len(starts))[nearest]
    magnitudes = syn.resonances(
        syn.frame_bins(), centers[:, None].astype(np.float32), widths[:, None].astype(np.float32)
    )
    return 0.5 * syn.normalised(syn.filter_frames(syn.noise(take, num_samples), magnitudes))
