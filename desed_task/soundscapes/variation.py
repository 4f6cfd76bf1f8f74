"""Variation: what makes two placements of one recording sound different. Off unless a conf asks for it.

Playback speed (pitch and length change together, as on a tape), time stretch (length alone), pitch shift (pitch alone),
a tilt of the spectrum, one raised or lowered band, and a level that ramps over the event (something approaches or
leaves). The SNR of the scene is set afterwards, so a variation never changes how loud an event is as a whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from desed_task.audio.reading import Waveform, resample
from desed_task.options import Options
from desed_task.soundscapes.ranges import Range, within
from desed_task.soundscapes.stretch import stretch

PIVOT_HERTZ = 1000.0
BAND_OCTAVES = 0.7
# The slope does not go on below this.
LOWEST_HERTZ = 50.0
_BAND_CENTERS_HERTZ = (150.0, 6000.0)


class VariationOptions(Options):
    """Ranges from which each placement draws; the defaults change nothing."""

    speed: Annotated[Range, AfterValidator(within(0.5, 2.0, "speeds"))] = Field(
        default=(1.0, 1.0), description="Playback speed, a factor."
    )
    time_stretch: Annotated[Range, AfterValidator(within(0.5, 2.0, "stretches"))] = Field(
        default=(1.0, 1.0), description="Factor on an event's length that leaves its pitch as it is."
    )
    pitch_semitones: Annotated[Range, AfterValidator(within(-12.0, 12.0, "semitones"))] = Field(
        default=(0.0, 0.0), description="Change of pitch that leaves an event's length as it is."
    )
    tilt_db_per_octave: Range = Field(default=(0.0, 0.0), description="Slope added to the spectrum around 1 kHz.")
    band_db: Range = Field(default=(0.0, 0.0), description="Gain of one band between 150 Hz and 6 kHz.")
    ramp_db: Range = Field(default=(0.0, 0.0), description="Level change from the beginning to the end of the event.")

    @property
    def stretches(self) -> bool:
        """Whether any placement may be stretched or shifted."""
        return self.time_stretch != (1.0, 1.0) or self.pitch_semitones != (0.0, 0.0)

    @property
    def reshapes(self) -> bool:
        """Whether any placement may be played at another speed, stretched or shifted."""
        return self.stretches or self.speed != (1.0, 1.0)


@dataclass(frozen=True)
class Variation:
    """What was drawn for one placement."""

    speed: float = 1.0
    tilt_db_per_octave: float = 0.0
    band_hertz: float = PIVOT_HERTZ
    band_db: float = 0.0
    ramp_db: float = 0.0
    time_stretch: float = 1.0
    pitch_semitones: float = 0.0

    @property
    def reshapes(self) -> bool:
        """Whether the sound is played at another speed, stretched or shifted."""
        return (self.speed, self.time_stretch, self.pitch_semitones) != (1.0, 1.0, 0.0)

    def num_samples(self, num_samples: int) -> int:
        """How many samples are left of `num_samples` after the change of speed and the stretch."""
        return max(1, round(num_samples / self.speed * self.time_stretch))

    def source_samples(self, num_samples: int) -> int:
        """How many samples of a sound are heard in `num_samples` of a scene."""
        return max(1, math.floor(num_samples * self.speed / self.time_stretch))


def draw_variation(rng: np.random.Generator, options: VariationOptions) -> Variation:
    """Draw from every range (also those of one value, so that a change of one range leaves other draws as they are).

    Ranges that came later than the first four draw from a stream of their own: scenes of older confs stay the same.
    """
    later = rng.spawn(1)[0]
    low, high = np.log(_BAND_CENTERS_HERTZ)
    return Variation(
        speed=float(np.exp(rng.uniform(*np.log(options.speed)))),
        tilt_db_per_octave=float(rng.uniform(*options.tilt_db_per_octave)),
        band_hertz=float(np.exp(rng.uniform(low, high))),
        band_db=float(rng.uniform(*options.band_db)),
        ramp_db=float(rng.uniform(*options.ramp_db)),
        time_stretch=float(np.exp(later.uniform(*np.log(options.time_stretch)))),
        pitch_semitones=float(later.uniform(*options.pitch_semitones)),
    )


def apply_variation(waveform: Waveform, variation: Variation, sample_rate: int) -> Waveform:
    """(samples,) -> (variation.num_samples(samples),); the same samples when nothing was drawn."""
    varied = reshape(waveform, variation, sample_rate)
    if variation.tilt_db_per_octave or variation.band_db:
        varied = _equalised(varied, variation, sample_rate)
    if variation.ramp_db:
        varied = varied * (10 ** (np.linspace(-0.5, 0.5, len(varied)) * variation.ramp_db / 20)).astype(np.float32)
    return varied


def reshape(waveform: Waveform, variation: Variation, sample_rate: int) -> Waveform:
    """(samples,) -> (variation.num_samples(samples),): played at its speed, then stretched and shifted; no more."""
    played = _played_at(waveform, variation.speed, sample_rate)
    num_samples = variation.num_samples(len(waveform))
    return stretch(played, sample_rate, variation.time_stretch, variation.pitch_semitones, num_samples)


def equaliser_samples(num_samples: int, sample_rate: int) -> int:
    """The length of the transform in which (num_samples,) are equalised: some silence after them, few lengths."""
    length = num_samples + sample_rate // 50
    return length + -length % 1024


def _played_at(waveform: Waveform, speed: float, sample_rate: int) -> Waveform:
    if speed == 1.0:
        return waveform
    played = resample(waveform, round(sample_rate * speed), sample_rate)
    num_samples = Variation(speed=speed).num_samples(len(waveform))
    return np.pad(played, (0, max(0, num_samples - len(played))))[:num_samples]


def _equalised(waveform: Waveform, variation: Variation, sample_rate: int) -> Waveform:
    length = equaliser_samples(len(waveform), sample_rate)
    octaves = np.log2(np.maximum(np.fft.rfftfreq(length, 1 / sample_rate), LOWEST_HERTZ) / PIVOT_HERTZ)
    distance = (octaves - np.log2(variation.band_hertz / PIVOT_HERTZ)) / BAND_OCTAVES
    gain_db = variation.tilt_db_per_octave * octaves + variation.band_db * np.exp(-0.5 * distance**2)
    spectrum = np.fft.rfft(waveform, length) * (10 ** (gain_db / 20)).astype(np.float32)
    return np.fft.irfft(spectrum, length)[: len(waveform)].astype(np.float32)
