"""Scene mixing: drawn scenes become waveforms on the device of the batch, many at a time.

The rules are those of `soundscapes/render.py`, whose `render_scene` is the truth, and so are the numbers, to 1e-5 of
full scale: sums and transforms of 32 bits in another order. Nothing waits for the device. Events of similar length
share one transform per room response and one per equaliser; impulse responses are drawn on the host, where their
random numbers come from, and sent with the batch.

Events are added one after another, never by atomic operations, so a batch is the same to the last bit every time.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from desed_task.audio.reading import Waveform
from desed_task.batch import send
from desed_task.data.event_store import EventStore
from desed_task.soundscapes.render import PEAK_LIMIT, SILENT_RMS
from desed_task.soundscapes.room import build_impulse_response
from desed_task.soundscapes.scene import PlacedEvent, Scene
from desed_task.soundscapes.variation import BAND_OCTAVES, LOWEST_HERTZ, PIVOT_HERTZ, Variation, equaliser_samples


@dataclass(frozen=True)
class _Stem:
    """One event on its way into row `row` of the mixtures: its samples so far, and the room it is heard in."""

    row: int
    scene: Scene
    placed: PlacedEvent
    waveform: Tensor
    response: Waveform | None

    @property
    def num_samples(self) -> int:
        """What is heard of the dry event."""
        return min(len(self.waveform), self.placed.heard_samples)

    @property
    def num_kept(self) -> int:
        """What falls into the scene of the event and its reverberation."""
        tail = len(self.response) - 1 if self.response is not None else 0
        return min(self.num_samples + tail, self.scene.num_samples - self.placed.onset_sample)

    @property
    def padded(self) -> int:
        """Length in which it is reckoned, which holds all of its reverberation."""
        tail = len(self.response) - 1 if self.response is not None else 0
        return padded_length(self.num_samples + tail)

    @property
    def level_db(self) -> float:
        """RMS relative to full scale that it shall have."""
        return self.scene.background_db + self.placed.snr_db


def padded_length(num_samples: int) -> int:
    """The next of 4, 5, 6 or 7 times a power of two: quick transforms, few lengths, and a ninth of silence on average.

    Not less than 1024.
    """
    step = 1 << max(8, (num_samples - 1).bit_length() - 3)
    return max(4 * step, num_samples + -num_samples % step)


def mix_scenes(scenes: Sequence[Scene], store: EventStore, mixtures: Tensor) -> None:
    """Write what each scene, all of one rate, sounds like into (scenes, samples) float32, on any device."""
    device = mixtures.device
    for row, scene in enumerate(scenes):
        mixtures[row] = store.background(scene.background, device)
    _set_levels(mixtures, [scene.background_db for scene in scenes], [scene.num_samples for scene in scenes])
    groups: dict[tuple[bool, int], list[_Stem]] = defaultdict(list)
    for stem in _begun_stems(scenes, store, device):
        groups[stem.response is not None, stem.padded].append(stem)
    for (_, padded), stems in groups.items():
        _add(stems, padded, mixtures)
    peaks = mixtures.abs().amax(1, keepdim=True)
    mixtures *= PEAK_LIMIT / peaks.clamp(min=PEAK_LIMIT)


def _begun_stems(scenes: Sequence[Scene], store: EventStore, device: torch.device) -> list[_Stem]:
    """Every event, cut and equalised."""
    every = [(row, scene, placed) for row, scene in enumerate(scenes) for placed in scene.placed]
    cut = [store.event(placed, device) for _, _, placed in every]
    equalised = _equalised(cut, [placed.variation for _, _, placed in every], store.sample_rate)
    return [
        _Stem(
            *(row, scene, placed, waveform),
            build_impulse_response(placed.response, store.sample_rate) if placed.response else None,
        )
        for (row, scene, placed), waveform in zip(every, equalised, strict=True)
    ]


def _equalised(waveforms: Sequence[Tensor], variations: Sequence[Variation], sample_rate: int) -> list[Tensor]:
    """Each waveform with its tilt and its band, in transforms of the lengths that the renderer takes."""
    equalised = list(waveforms)
    by_length: dict[int, list[int]] = defaultdict(list)
    for number, (waveform, variation) in enumerate(zip(waveforms, variations, strict=True)):
        if variation.tilt_db_per_octave or variation.band_db:
            by_length[equaliser_samples(len(waveform), sample_rate)].append(number)
    for length, numbers in by_length.items():
        stacked = _stacked([waveforms[number] for number in numbers], length)
        gains = _equaliser(length, [variations[number] for number in numbers], sample_rate, stacked.device)
        together = torch.fft.irfft(torch.fft.rfft(stacked) * gains, length)
        for number, waveform in zip(numbers, together, strict=True):
            equalised[number] = waveform[: len(waveforms[number])]
    return equalised


def _equaliser(length: int, variations: Sequence[Variation], sample_rate: int, device: torch.device) -> Tensor:
    """(variations, bins): the gain of each frequency."""
    rows = [(one.tilt_db_per_octave, one.band_db, np.log2(one.band_hertz / PIVOT_HERTZ)) for one in variations]
    tilt, band_db, center = _sent(rows, device).T.unsqueeze(2)
    hertz = torch.fft.rfftfreq(length, 1 / sample_rate, device=device)
    octaves = torch.log2(hertz.clamp(min=LOWEST_HERTZ) / PIVOT_HERTZ)
    distance = (octaves - center) / BAND_OCTAVES
    return _factor(tilt * octaves + band_db * torch.exp(-0.5 * distance**2))


def _add(stems: Sequence[_Stem], padded: int, mixtures: Tensor) -> None:
    """Ramp, fade, reverberate and set to their levels; then add each to its mixture."""
    waveforms = _stacked([stem.waveform[: stem.num_samples] for stem in stems], padded)
    if any(stem.placed.variation.ramp_db for stem in stems):
        waveforms *= _ramps(stems, padded, waveforms.device)
    for stem, waveform in zip(stems, waveforms, strict=True):
        _fade(waveform[: stem.num_samples], stem.scene.fade_samples)
    responses = [stem.response for stem in stems if stem.response is not None]
    if responses:
        waveforms = _reverberated(waveforms, responses)
    measured = [min(stem.placed.heard_samples, stem.num_kept) for stem in stems]
    _set_levels(waveforms, [stem.level_db for stem in stems], measured)
    for stem, waveform in zip(stems, waveforms, strict=True):
        onset = stem.placed.onset_sample
        mixtures[stem.row, onset : onset + stem.num_kept] += waveform[: stem.num_kept]


def _ramps(stems: Sequence[_Stem], padded: int, device: torch.device) -> Tensor:
    """(stems, padded): the level that changes over each event, of its whole length also where it is cut."""
    rows = [(stem.placed.variation.ramp_db, max(1, len(stem.waveform) - 1)) for stem in stems]
    ramp_db, last = _sent(rows, device).T.unsqueeze(2)
    return _factor((torch.arange(padded, device=device) / last).sub_(0.5).mul_(ramp_db))


def _fade(waveform: Tensor, fade_samples: int) -> None:
    """Linear ramps at both ends, in place, each at most a quarter of a short event."""
    length = min(fade_samples, len(waveform) // 4)
    if length:
        ramp = _rising(length, waveform.device)
        waveform[:length] *= ramp
        waveform[-length:] *= ramp.flip(0)


@lru_cache(256)
def _rising(length: int, device: torch.device) -> Tensor:
    return (torch.arange(length, device=device) + 0.5) / length


def _reverberated(waveforms: Tensor, responses: Sequence[Waveform]) -> Tensor:
    """(stems, padded), which is long enough for nothing to come round again."""
    longest = max(map(len, responses))
    padded = np.stack([np.pad(response, (0, longest - len(response))) for response in responses])
    size = waveforms.shape[1]
    spectra = torch.fft.rfft(waveforms) * torch.fft.rfft(_sent(padded, waveforms.device), size)
    reverberated: Tensor = torch.fft.irfft(spectra, size)
    return reverberated


def _set_levels(waveforms: Tensor, levels_db: Sequence[float], measured: Sequence[int]) -> None:
    """Scale each row, in place, to an RMS of its first `measured` samples; silence stays silence."""
    level_db, num_samples = _sent(list(zip(levels_db, measured, strict=True)), waveforms.device).T.unsqueeze(2)
    power = waveforms.square()
    if min(measured) < waveforms.shape[1]:
        power *= torch.arange(waveforms.shape[1], device=waveforms.device) < num_samples
    rms = (power.sum(1, keepdim=True) / num_samples).sqrt()
    waveforms *= _factor(level_db) / rms.clamp(min=SILENT_RMS)


def _stacked(waveforms: Sequence[Tensor], length: int) -> Tensor:
    """(waveforms, length), padded with silence."""
    stacked = waveforms[0].new_zeros((len(waveforms), length))
    for row, waveform in zip(stacked, waveforms, strict=True):
        row[: len(waveform)] = waveform
    return stacked


def _factor(decibels: Tensor) -> Tensor:
    return decibels.mul(math.log(10) / 20).exp_()


def _sent(rows: Sequence[Sequence[float]] | Waveform, device: torch.device) -> Tensor:
    """(rows, columns) float32 on the device."""
    return send(np.asarray(rows, dtype=np.float32), device)
