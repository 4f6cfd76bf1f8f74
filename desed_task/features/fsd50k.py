"""The two front-ends of the FSD50K baselines (Fonseca et al., 2021) and of GISE-51: mel bands, or a plain spectrogram.

Both hear 22.05 kHz, centre their frames, take dB, raise what lies `top_db` below the clip's own maximum to that level,
and subtract the clip's own mean ("zero-centring"): no statistics of a corpus are needed, and a clip's level is not
heard. A chunk of 1 s gives 101 frames.

- `fsd50k_mel`: periodic Hann window of 30 ms in a transform of 1920 samples, power, 96 HTK bands from 0 Hz to half the
  sample rate, 10 log10 of at least 1e-10. Equal to torchaudio's MelSpectrogram and librosa's power_to_db.
- `fsd50k_spectrogram`: periodic Hann window of 441 samples, magnitudes of its 221 bins, 20 log10 of at least 1e-5,
  150 dB, for which the transform is computed in float64. librosa's stft padded by reflection before 0.10 and with
  zeros since; the published results are older, so reflection is the default here.

The published code adds 75 dB before it subtracts the mean, which changes nothing.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from desed_task.features.centred import CentredBands, PadMode, centred_frames
from desed_task.features.frontend import StagedFrontend, require_window
from desed_task.options import Options

POWER_FLOOR = 1e-10
MAGNITUDE_FLOOR = 1e-5


class FSD50KMelOptions(Options):
    """Zero-centred mel bands in dB."""

    name: Literal["fsd50k_mel"] = "fsd50k_mel"
    sample_rate: int = Field(22050, ge=1000, description="Samples per second the model hears.")
    n_fft: int = Field(1920, ge=16, description="Samples of the transform.")
    win_length: int = Field(661, ge=16, description="Samples of the window, in the middle of the transform.")
    hop_length: int = Field(220, ge=1, description="Samples from one mel frame to the next.")
    n_mels: int = Field(96, ge=1, description="Mel bands.")
    top_db: float = Field(80.0, gt=0, description="Levels further below each clip's maximum are raised, dB.")

    @model_validator(mode="after")
    def _consistent(self) -> FSD50KMelOptions:
        require_window(self.win_length, self.n_fft)
        return self

    @property
    def num_bands(self) -> int:
        """Mel bands."""
        return self.n_mels

    def num_frames(self, num_samples: int) -> int:
        """Mel frames of `num_samples` samples."""
        return centred_frames(num_samples, self.n_fft, self.hop_length)


class FSD50KSpectrogramOptions(Options):
    """Zero-centred magnitudes in dB, one band per bin."""

    name: Literal["fsd50k_spectrogram"] = "fsd50k_spectrogram"
    sample_rate: int = Field(22050, ge=1000, description="Samples per second the model hears.")
    n_fft: int = Field(441, ge=16, description="Samples of the transform.")
    win_length: int = Field(441, ge=16, description="Samples of the window, in the middle of the transform.")
    hop_length: int = Field(220, ge=1, description="Samples from one mel frame to the next.")
    top_db: float = Field(150.0, gt=0, description="Levels further below each clip's maximum are raised, dB.")
    pad_mode: PadMode = Field(
        "reflect", description="What lies beyond both ends of a clip: its reflection (librosa to 0.9), or constant 0."
    )

    @model_validator(mode="after")
    def _consistent(self) -> FSD50KSpectrogramOptions:
        require_window(self.win_length, self.n_fft)
        return self

    @property
    def num_bands(self) -> int:
        """Bins of the transform."""
        return self.n_fft // 2 + 1

    def num_frames(self, num_samples: int) -> int:
        """Frames of `num_samples` samples."""
        return centred_frames(num_samples, self.n_fft, self.hop_length)


class FSD50KMel(StagedFrontend):
    """waveform (batch, samples) -> zero-centred mel dB (batch, mel_frames, mel_bands)."""

    def __init__(self, options: FSD50KMelOptions, exportable: bool = False) -> None:
        super().__init__()
        self.options = options
        weights = melscale_fbanks(
            options.n_fft // 2 + 1, 0.0, options.sample_rate / 2, options.n_mels, options.sample_rate
        )
        window = torch.hann_window(options.win_length)
        self.bands = CentredBands(
            window, weights, options.hop_length, fft_length=options.n_fft, power=2, exportable=exportable
        )

    def spectrum(self, waveform: Tensor) -> Tensor:
        """waveform (batch, samples) -> mel power (batch, mel_frames, mel_bands)."""
        mel: Tensor = self.bands(waveform)
        return mel

    def compress(self, spectrum: Tensor) -> Tensor:
        """Mel power -> dB, at most `top_db` below each clip's maximum."""
        return above_top(10.0 * torch.log10(spectrum.clamp(min=POWER_FLOOR)), self.options.top_db)

    def normalise(self, logarithm: Tensor) -> Tensor:
        """dB -> dB around each clip's mean."""
        return zero_centred(logarithm)


class FSD50KSpectrogram(StagedFrontend):
    """waveform (batch, samples) -> zero-centred dB (batch, mel_frames, bins)."""

    def __init__(self, options: FSD50KSpectrogramOptions, exportable: bool = False) -> None:
        super().__init__()
        self.options = options
        self.bands = CentredBands(
            torch.hann_window(options.win_length),
            torch.eye(options.num_bands),
            options.hop_length,
            fft_length=options.n_fft,
            pad_mode=options.pad_mode,
            exportable=exportable,
            exact=True,
        )

    def spectrum(self, waveform: Tensor) -> Tensor:
        """waveform (batch, samples) -> magnitudes (batch, mel_frames, bins)."""
        magnitudes: Tensor = self.bands(waveform)
        return magnitudes

    def compress(self, spectrum: Tensor) -> Tensor:
        """Magnitudes -> dB, at most `top_db` below each clip's maximum."""
        return above_top(20.0 * torch.log10(spectrum.clamp(min=MAGNITUDE_FLOOR)), self.options.top_db)

    def normalise(self, logarithm: Tensor) -> Tensor:
        """dB -> dB around each clip's mean."""
        return zero_centred(logarithm)


def above_top(decibel: Tensor, top_db: float) -> Tensor:
    """(batch, frames, bands) of dB raised to at least `top_db` below each clip's maximum."""
    return torch.maximum(decibel, decibel.amax(dim=(1, 2), keepdim=True) - top_db)


def zero_centred(decibel: Tensor) -> Tensor:
    """(batch, frames, bands) less each clip's mean."""
    return decibel - decibel.mean(dim=(1, 2), keepdim=True)
