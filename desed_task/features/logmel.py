"""The log-mel front-end of the DESED baselines, in two halves: `spectrum` (linear mel) and `scale` (dB, then per clip).

Magnitude STFT with a symmetric Hamming window, centred, reflect-padded; HTK mel scale without area normalisation; 20
log10 of at least 1e-5, clamped to [-50, 80] dB; then each clip is scaled to `scaler_range` by its own minimum and
maximum over time and mel jointly. Equal to torchaudio's MelSpectrogram + AmplitudeToDB (tested to 1e-4 dB where the
level is above the floor). Published checkpoints up to 2023 expect scaler_range [0, 1], those of 2024 [-1, 1]; loading
one with the other loses .1-.2 PSDS, so the range is stored in every checkpoint and bundle.

Augmentations act between the halves (linear domain) or after them (normalised domain).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import melscale_fbanks

from desed_task.features.dft import ConvolutionBands, FFTBands
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
        if self.f_max > self.sample_rate / 2:
            raise ValueError(
                f"f_max {self.f_max:g} Hz is above half the sample rate of {self.sample_rate} Hz; lower it"
            )
        if self.f_min >= self.f_max:
            raise ValueError(f"f_min {self.f_min:g} Hz is not below f_max {self.f_max:g} Hz")
        if self.n_window % 2:
            raise ValueError(f"n_window {self.n_window} is odd; take an even one")
        if self.scaler_range[0] >= self.scaler_range[1]:
            raise ValueError(f"scaler_range {list(self.scaler_range)} does not rise")
        return self


class LogMel(nn.Module):
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
        self.bands = (ConvolutionBands if exportable else FFTBands)(window, weights, options.hop_length)

    def spectrum(self, waveform: Tensor) -> Tensor:
        """waveform (batch, samples) -> linear mel magnitudes (batch, mel_frames, mel_bands)."""
        half = self.options.n_window // 2
        # A reflection needs more samples than it reflects; shorter clips are continued with silence first.
        missing = torch.zeros_like(waveform[:, :1]).expand(-1, half + 1)
        num_samples = waveform.shape[1]
        lengthened = torch.cat([waveform, missing], dim=1)[:, : _at_least(num_samples, half + 1)]
        padded = functional.pad(lengthened.unsqueeze(1), (half, half), mode="reflect").squeeze(1)
        mel: Tensor = self.bands(padded, num_samples // self.options.hop_length + 1)
        return mel

    def scale(self, mel: Tensor) -> Tensor:
        """Linear mel -> dB -> each clip scaled to the options' range; same shape."""
        decibel = 20.0 * torch.log10(mel.clamp(min=LOG_FLOOR))
        decibel = decibel.clamp(*DB_RANGE)
        low = decibel.amin(dim=(1, 2), keepdim=True)
        high = decibel.amax(dim=(1, 2), keepdim=True)
        unit = (decibel - low) / (high - low + 1e-8)
        bottom, top = self.options.scaler_range
        return unit * (top - bottom) + bottom

    def forward(self, waveform: Tensor) -> Tensor:
        """waveform (batch, samples) -> scaled log-mel (batch, mel_frames, mel_bands)."""
        return self.scale(self.spectrum(waveform))


def _at_least(num_samples: int | Tensor, minimum: int) -> int | Tensor:
    # While a graph is traced sizes are tensors, and Python's max would freeze that of the example.
    return num_samples.clamp(min=minimum) if isinstance(num_samples, Tensor) else max(num_samples, minimum)
