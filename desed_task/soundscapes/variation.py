"""Variation: what makes two placements of one recording sound different. Off unless a conf asks for it.

Playback speed (pitch and length change together, as on a tape), a tilt of the spectrum, one raised or lowered band, and
a level that ramps over the event (something approaches or leaves). The SNR of the scene is set afterwards, so a
variation never changes how loud an event is as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from desed_task.audio.reading import Waveform, resample
from desed_task.options import Options
from desed_task.soundscapes.soundbank import SAMPLE_RATE

_PIVOT_HERTZ = 1000.0
_BAND_CENTERS_HERTZ = (150.0, 6000.0)
_BAND_OCTAVES = 0.7


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the range {list(bounds)} runs backwards; write the smaller number first")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]


def _speeds(bounds: tuple[float, float]) -> tuple[float, float]:
    if not 0.5 <= bounds[0] <= bounds[1] <= 2.0:
        raise ValueError(f"speeds must lie between 0.5 and 2, got {list(bounds)}")
    return bounds


class VariationOptions(Options):
    """Ranges from which each placement draws; the defaults change nothing."""

    speed: Annotated[Range, AfterValidator(_speeds)] = Field(
        default=(1.0, 1.0), description="Playback speed, a factor."
    )
    tilt_db_per_octave: Range = Field(default=(0.0, 0.0), description="Slope added to the spectrum around 1 kHz.")
    band_db: Range = Field(default=(0.0, 0.0), description="Gain of one band between 150 Hz and 6 kHz.")
    ramp_db: Range = Field(default=(0.0, 0.0), description="Level change from the beginning to the end of the event.")


@dataclass(frozen=True)
class Variation:
    """What was drawn for one placement."""

    speed: float = 1.0
    tilt_db_per_octave: float = 0.0
    band_hertz: float = _PIVOT_HERTZ
    band_db: float = 0.0
    ramp_db: float = 0.0

    def num_samples(self, num_samples: int) -> int:
        """How many samples are left of `num_samples` after the change of speed."""
        return max(1, round(num_samples / self.speed))


def draw_variation(rng: np.random.Generator, options: VariationOptions) -> Variation:
    """Draw from every range (also from those of one value, so that a range more leaves other draws as they are)."""
    low, high = np.log(_BAND_CENTERS_HERTZ)
    return Variation(
        speed=float(np.exp(rng.uniform(*np.log(options.speed)))),
        tilt_db_per_octave=float(rng.uniform(*options.tilt_db_per_octave)),
        band_hertz=float(np.exp(rng.uniform(low, high))),
        band_db=float(rng.uniform(*options.band_db)),
        ramp_db=float(rng.uniform(*options.ramp_db)),
    )


def apply_variation(waveform: Waveform, variation: Variation) -> Waveform:
    """(samples,) -> (variation.num_samples(samples),); the same samples when nothing was drawn."""
    varied = _played_at(waveform, variation.speed, variation.num_samples(len(waveform)))
    if variation.tilt_db_per_octave or variation.band_db:
        varied = _equalised(varied, variation)
    if variation.ramp_db:
        varied = varied * (10 ** (np.linspace(-0.5, 0.5, len(varied)) * variation.ramp_db / 20)).astype(np.float32)
    return varied


def _played_at(waveform: Waveform, speed: float, num_samples: int) -> Waveform:
    if speed == 1.0:
        return waveform
    played = resample(waveform, round(SAMPLE_RATE * speed), SAMPLE_RATE)
    return np.pad(played, (0, max(0, num_samples - len(played))))[:num_samples]


def _equalised(waveform: Waveform, variation: Variation) -> Waveform:
    length = len(waveform) + SAMPLE_RATE // 50
    length += -length % 1024
    octaves = np.log2(np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 50.0) / _PIVOT_HERTZ)
    distance = (octaves - np.log2(variation.band_hertz / _PIVOT_HERTZ)) / _BAND_OCTAVES
    gain_db = variation.tilt_db_per_octave * octaves + variation.band_db * np.exp(-0.5 * distance**2)
    spectrum = np.fft.rfft(waveform, length) * (10 ** (gain_db / 20)).astype(np.float32)
    return np.fft.irfft(spectrum, length)[: len(waveform)].astype(np.float32)
