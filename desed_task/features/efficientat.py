"""The log-mel of EfficientAT (Schmid et al., 2023).

32 kHz, pre-emphasised over the whole clip (x[n + 1] - .97 x[n], one sample fewer: 10 s give 1000 mel frames);
symmetric Hann window of 25 ms in a transform of 1024 samples, centred and reflected; power; 128 triangles on Kaldi's
mel scale from 0 Hz to 15 kHz (half the sample rate less 1 kHz); ln(x + 1e-5), to which 4.5 is added before it is
divided by 5. Equal to the published code in evaluation; while training that also moves the bands' outer edges.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from desed_task.features.centred import CentredBands, centred_frames
from desed_task.features.frontend import StagedFrontend, require_bands
from desed_task.features.kaldi import PRE_EMPHASIS, kaldi_triangles
from desed_task.options import Options

WIN_LENGTH, N_FFT = 800, 1024
LOG_OFFSET = 1e-5


class EfficientATOptions(Options):
    """The log-mel of EfficientAT."""

    name: Literal["efficientat"] = "efficientat"
    sample_rate: int = Field(32000, ge=1000, description="Samples per second the model hears.")
    hop_length: int = Field(320, ge=1, description="Samples from one mel frame to the next (published: 320 to 800).")
    n_mels: int = Field(128, ge=4, description="Mel bands (published: 40 to 256).")
    f_min: float = Field(0.0, ge=0, description="Lower edge of the first band, Hz.")
    f_max: float = Field(15000.0, gt=0, description="Upper edge of the last band, Hz.")

    @model_validator(mode="after")
    def _consistent(self) -> EfficientATOptions:
        require_bands(self.f_min, self.f_max, self.sample_rate)
        return self

    @property
    def num_bands(self) -> int:
        """Mel bands."""
        return self.n_mels

    def num_frames(self, num_samples: int) -> int:
        """Mel frames of `num_samples` samples; pre-emphasis takes the first."""
        return centred_frames(num_samples - 1, N_FFT, self.hop_length)


class EfficientAT(StagedFrontend):
    """waveform (batch, samples) -> normalised log-mel (batch, mel_frames, mel_bands)."""

    def __init__(self, options: EfficientATOptions, exportable: bool = False) -> None:
        super().__init__()
        self.options = options
        weights = kaldi_triangles(N_FFT, options.f_min, options.f_max, options.n_mels, options.sample_rate)
        window = torch.hann_window(WIN_LENGTH, periodic=False)
        self.bands = CentredBands(window, weights, options.hop_length, fft_length=N_FFT, power=2, exportable=exportable)

    def spectrum(self, waveform: Tensor) -> Tensor:
        """waveform (batch, samples) -> mel power (batch, mel_frames, mel_bands)."""
        mel: Tensor = self.bands(waveform[:, 1:] - PRE_EMPHASIS * waveform[:, :-1])
        return mel

    def compress(self, spectrum: Tensor) -> Tensor:
        """Mel power -> its natural logarithm."""
        return torch.log(spectrum + LOG_OFFSET)

    def normalise(self, logarithm: Tensor) -> Tensor:
        """About [-1, 1] for most of AudioSet."""
        return (logarithm + 4.5) / 5.0
