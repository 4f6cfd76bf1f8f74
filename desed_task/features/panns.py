"""The log-mel of PANNs (Kong et al., 2020) at 32, 16 or 8 kHz, up to what its models normalise themselves.

Periodic Hann window as long as the transform, centred and reflected; power; 64 bands on Slaney's mel scale, each of
unit area, from 50 Hz; 10 log10 of at least 1e-10, no further limit. The published models begin with a batch norm over
the bands (bn0), which is theirs, as is the least length that their pooling needs. Every rate gives 100 mel frames per
second (10 s: 1001).

Equal to torchlibrosa's Spectrogram and LogmelFilterBank (to 1e-4 dB where the level is above the floor).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from desed_task.features.centred import CentredBands, centred_frames
from desed_task.features.frontend import StagedFrontend
from desed_task.options import Options

POWER_FLOOR = 1e-10
F_MIN = 50.0


class _Setting(NamedTuple):
    n_fft: int
    hop_length: int
    f_max: float


# Of the published models, by sample rate.
SETTINGS = {8000: _Setting(256, 80, 4000.0), 16000: _Setting(512, 160, 8000.0), 32000: _Setting(1024, 320, 14000.0)}


class PANNsOptions(Options):
    """The log-mel of PANNs."""

    name: Literal["panns"] = "panns"
    sample_rate: Literal[8000, 16000, 32000] = Field(
        32000, description="Samples per second the model hears; it says which of the published settings."
    )
    n_mels: int = Field(64, ge=1, description="Mel bands (those of the published models: 64).")

    @property
    def n_fft(self) -> int:
        """Samples of window and transform."""
        return SETTINGS[self.sample_rate].n_fft

    @property
    def hop_length(self) -> int:
        """Samples from one mel frame to the next."""
        return SETTINGS[self.sample_rate].hop_length

    @property
    def f_max(self) -> float:
        """Upper edge of the last band, Hz."""
        return SETTINGS[self.sample_rate].f_max

    @property
    def num_bands(self) -> int:
        """Mel bands."""
        return self.n_mels

    def num_frames(self, num_samples: int) -> int:
        """Mel frames of `num_samples` samples: samples // hop + 1."""
        return centred_frames(num_samples, self.n_fft, self.hop_length)


class PANNs(StagedFrontend):
    """waveform (batch, samples) -> mel dB (batch, mel_frames, mel_bands)."""

    def __init__(self, options: PANNsOptions, exportable: bool = False) -> None:
        super().__init__()
        self.options = options
        n_fft, hop_length, f_max = SETTINGS[options.sample_rate]
        weights = melscale_fbanks(
            n_fft // 2 + 1, F_MIN, f_max, options.n_mels, options.sample_rate, norm="slaney", mel_scale="slaney"
        )
        self.bands = CentredBands(torch.hann_window(n_fft), weights, hop_length, power=2, exportable=exportable)

    def spectrum(self, waveform: Tensor) -> Tensor:
        """waveform (batch, samples) -> mel power (batch, mel_frames, mel_bands)."""
        mel: Tensor = self.bands(waveform)
        return mel

    def compress(self, spectrum: Tensor) -> Tensor:
        """Mel power -> dB."""
        return 10.0 * torch.log10(spectrum.clamp(min=POWER_FLOOR))

    def normalise(self, logarithm: Tensor) -> Tensor:
        """As it is: the model's bn0 normalises."""
        return logarithm
