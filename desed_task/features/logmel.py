"""The log-mel front-end of the DESED baselines: linear mel, dB, then each clip's own range.

Magnitude STFT with a symmetric Hamming window, centred, reflect-padded; HTK mel scale without area normalisation; 20
log10 of at least 1e-5, clamped to [-50, 80] dB; then each clip is scaled to `scaler_range` by its own minimum and
maximum over time and mel jointly. Equal to torchaudio's MelSpectrogram + AmplitudeToDB (tested to 1e-4 dB where the
level is above the floor). Published checkpoints up to 2023 expect scaler_range [0, 1], those of 2024 [-1, 1]; loading
one with the other loses .1-.2 PSDS, so the range is stored in every checkpoint and bundle.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from desed_task.features.centred import CentredBands, centred_frames
from desed_task.features.frontend import StagedFrontend, require_bands
from desed_task.options import Options

LOG_FLOOR = 1e-5
DB_RANGE = (-50.0, 80.0)


class LogMelOptions(Options):
    """The log-mel front-end."""

    name: Literal["logmel"] = "logmel"
    sample_rate: int = Field(16000, ge=1000, description="Samples per second the model hears.")
    n_window: int = Field(2048, ge=16, description="Samples of the STFT window (and of its FFT).")
    hop_length: int = Field(256, ge=1, description="Samples from one mel frame to the next.")
    n_mels: int = Field(128, ge=1, description="Mel bands.")
    f_min: float = Field(0.0, ge=0, description="Lower edge of the first band, Hz.")
    f_max: float = Field(8000.0, gt=0, description="Upper edge of the last band, Hz.")
    scaler_range: tuple[float, float] = Field(
        (0.0, 1.0), description="Each clip's minimum and maximum are mapped to these ([0, 1] to 2023, [-1, 1] in 2024)."
    )

    @model_validator(mode="after")
    def _consistent(self) -> LogMelOptions:
        require_bands(self.f_min, self.f_max, self.sample_rate)
        if self.n_window % 2:
            raise ValueError(f"n_window {self.n_window} is odd; take an even one")
        if self.scaler_range[0] >= self.scaler_range[1]:
            raise ValueError(f"scaler_range {list(self.scaler_range)} does not rise")
        return self

    @property
    def num_bands(self) -> int:
        """Mel bands."""
        return self.n_mels

    def num_frames(self, num_samples: int) -> int:
        """Mel frames of `num_samples` samples: samples // hop + 1."""
        return centred_frames(num_samples, self.n_window, self.hop_length)


class LogMel(StagedFrontend):
    """waveform (batch, samples) -> scaled log-mel (batch, mel_frames, mel_bands); mel_frames = samples // hop + 1.

    `exportable` computes the same with operators that every ONNX execution provider has.
    """

    def __init__(self, options: LogMelOptions, exportable: bool = False) -> None:
        super().__init__()
        self.options = options
        weights = melscale_fbanks(
            options.n_window // 2 + 1, options.f_min, options.f_max, options.n_mels, options.sample_rate
        )
        window = torch.hamming_window(options.n_window, periodic=False)
        self.bands = CentredBands(window, weights, options.hop_length, exportable=exportable)

    def spectrum(self, waveform: Tensor) -> Tensor:
        """waveform (batch, samples) -> linear mel magnitudes (batch, mel_frames, mel_bands)."""
        mel: Tensor = self.bands(waveform)
        return mel

    def compress(self, spectrum: Tensor) -> Tensor:
        """Linear mel -> dB within DB_RANGE."""
        decibel = 20.0 * torch.log10(spectrum.clamp(min=LOG_FLOOR))
        return decibel.clamp(*DB_RANGE)

    def normalise(self, logarithm: Tensor) -> Tensor:
        """dB -> each clip scaled to the options' range."""
        low = logarithm.amin(dim=(1, 2), keepdim=True)
        high = logarithm.amax(dim=(1, 2), keepdim=True)
        unit = (logarithm - low) / (high - low + 1e-8)
        bottom, top = self.options.scaler_range
        return unit * (top - bottom) + bottom
