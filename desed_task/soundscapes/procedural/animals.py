"""Dog and Cat: short glides of a throat, with more noise and fewer formants than a voice that speaks."""

from __future__ import annotations

import numpy as np

from desed_task.audio.reading import Waveform
from desed_task.soundscapes.procedural import synthesis as syn
from desed_task.soundscapes.soundbank import SAMPLE_RATE


def dog(voice: np.random.Generator, take: np.random.Generator) -> Waveform:
    """One to six barks: harmonics that jump up and fall, broken by noise, with a broad throat resonance."""
    pitch, length = syn.log_uniform(voice, 180, 750), voice.uniform(0.09, 0.28)
    throat = voice.uniform(2.0, 3.6) * pitch**0.35 * 35
    roughness, gap = voice.uniform(0.2, 0.8), voice.uniform(0.12, 0.4)
    room_seconds, wetness = voice.uniform(0.1, 0.6), voice.uniform(0.05, 0.4)
    pieces = []
    for _ in range(take.integers(1, 7)):
        higher, longer = take.uniform(0.9, 1.12), take.uniform(0.75, 1.3)
        bark = _bark(take, pitch * higher, syn.samples(length * longer), throat, roughness)
        pieces += [bark * take.uniform(0.6, 1.0), np.zeros(syn.samples(gap * take.uniform(0.7, 1.2)), dtype=np.float32)]
    return syn.in_room(take, np.concatenate(pieces[:-1]), room_seconds, wetness)


def cat(voice: np.random.Generator, take: np.random.Generator) -> Waveform:
    """One to three meows: a slow glide up and down while the mouth opens and closes."""
    pitch, length = syn.log_uniform(voice, 330, 900), voice.uniform(0.4, 1.3)
    opening, nasality = voice.uniform(0.85, 1.2), voice.uniform(-14, -7)
    room_seconds, wetness = voice.uniform(0.1, 0.5), voice.uniform(0.0, 0.3)
    pieces = []
    for _ in range(take.integers(1, 4)):
        higher, longer = take.uniform(0.85, 1.2), take.uniform(0.7, 1.3)
        meow = _meow(take, pitch * higher, syn.samples(length * longer), opening, nasality)
        pieces += [meow * take.uniform(0.6, 1.0), np.zeros(syn.samples(take.uniform(0.15, 0.42)), dtype=np.float32)]
    return syn.in_room(take, np.concatenate(pieces[:-1]), room_seconds, wetness)


def _bark(take: np.random.Generator, pitch: float, num_samples: int, throat: float, roughness: float) -> Waveform:
    peak = take.uniform(0.2, 0.45)
    glide = pitch * syn.line(num_samples, (0, peak, 1), (take.uniform(0.55, 0.8), 1.0, take.uniform(0.45, 0.75)))
    glide *= 1 + 0.03 * syn.slow_curve(take, num_samples, 120)
    numbers = np.arange(1, syn.harmonics_below_nyquist(pitch * 1.2) + 1)
    tone = syn.oscillate(syn.wavetable(numbers**-0.7, take.uniform(0, 6.28, len(numbers))), glide)
    rough = (1 - 0.5 * roughness) * tone + roughness * syn.noise(take, num_samples)
    centers, widths = np.array([throat, 2.3 * throat, 3.9 * throat]), np.array([0.6, 0.7, 0.9]) * throat
    shaped = syn.shape_spectrum(rough, lambda hz: syn.resonances(hz, centers, widths) * syn.tilt(-3.0)(hz))
    envelope = syn.swell(num_samples, 0.012, 0.6 * num_samples / SAMPLE_RATE) * np.linspace(1, 0.5, num_samples)
    return syn.normalised(shaped * envelope.astype(np.float32))


def _meow(take: np.random.Generator, pitch: float, num_samples: int, opening: float, nasality: float) -> Waveform:
    top = take.uniform(0.25, 0.6)
    glide = pitch * syn.line(num_samples, (0, top, 1), (take.uniform(0.65, 0.9), 1.0, take.uniform(0.55, 0.85)))
    glide *= 1 + 0.012 * syn.slow_curve(take, num_samples, 14)
    numbers = np.arange(1, syn.harmonics_below_nyquist(pitch * 1.1, 24) + 1)
    tone = syn.oscillate(syn.wavetable(numbers ** (nasality / 6.02)), glide) + 0.02 * syn.noise(take, num_samples)
    frames = syn.num_filter_frames(num_samples)
    along = np.linspace(0, 1, frames)
    # m - i - a - u: the first formant opens and closes, the second falls.
    first = np.interp(along, (0, top, 1), (450, 1150, 600)) * opening
    second = np.interp(along, (0, 0.25, top, 1), (1600, 2600, 1900, 1100)) * opening
    centers = np.stack([first, second, np.full(frames, 3900 * opening)], axis=1).astype(np.float32)
    widths = np.broadcast_to(np.array([220, 350, 700], dtype=np.float32), centers.shape)
    meow = syn.filter_frames(tone, syn.resonances(syn.frame_bins(), centers, widths))
    return syn.normalised(meow * syn.swell(num_samples, 0.08, 0.35 * num_samples / SAMPLE_RATE))
