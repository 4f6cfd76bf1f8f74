"""Kaldi's filter banks as PSLA, AST and AudioTaggingDoneRight hear them, and Kaldi's mel scale.

The waveform less its mean; frames of 25 ms every 10 ms that lie within the clip (10 s at 16 kHz: 998); each less its
mean, pre-emphasised (x[n] - .97 x[n - 1], its first sample by itself), under a symmetric Hann window, transformed over
the next power of two; power, summed by `n_mels` triangles on Kaldi's mel scale; natural logarithm of at least 1.19e-7
(float32's epsilon). No dither, no energy. Equal to torchaudio.compliance.kaldi.fbank (tested to 1e-4; the triangles
are computed in float32 as there, since float64 moves their feet by 1e-5, which a logarithm makes audible). Clips
shorter than a frame, which Kaldi refuses, are continued with silence.

All that is done to a frame is linear up to its power, so the exportable form is one convolution: its kernels are what
the other form makes of a one at each place of a frame.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from desed_task.features.centred import with_silence
from desed_task.features.dft import power_of
from desed_task.features.frontend import require_bands
from desed_task.features.standardised import StandardisedFrontend, StandardisedOptions

FRAME_SECONDS, HOP_SECONDS = 0.025, 0.010
PRE_EMPHASIS = 0.97
POWER_FLOOR = torch.finfo(torch.float32).eps
# AudioSet's, as AST states them (with mixup and masks on); PSLA: -4.6476, 4.5699, std_scale 1.
AUDIOSET_MEAN, AUDIOSET_STD = -4.2677393, 4.5689974


class KaldiOptions(StandardisedOptions):
    """Kaldi's log-mel filter banks."""

    name: Literal["kaldi"] = "kaldi"
    sample_rate: int = Field(16000, ge=1000, description="Samples per second the model hears.")
    n_mels: int = Field(128, ge=4, description="Mel bands.")
    f_min: float = Field(20.0, ge=0, description="Lower edge of the first band, Hz.")
    f_max: float | None = Field(None, gt=0, description="Upper edge of the last band, Hz; null: half the sample rate.")
    mean: float = Field(AUDIOSET_MEAN, description="Mean of the corpus' log-mel, which is subtracted.")
    std: float = Field(AUDIOSET_STD, gt=0, description="Standard deviation of the corpus' log-mel.")

    @model_validator(mode="after")
    def _consistent(self) -> KaldiOptions:
        require_bands(self.f_min, self.upper_edge, self.sample_rate)
        return self

    @property
    def upper_edge(self) -> float:
        """Upper edge of the last band, Hz."""
        return self.sample_rate / 2 if self.f_max is None else self.f_max

    @property
    def win_length(self) -> int:
        """Samples of a frame."""
        return int(self.sample_rate * FRAME_SECONDS)

    @property
    def hop_length(self) -> int:
        """Samples from one mel frame to the next."""
        return int(self.sample_rate * HOP_SECONDS)

    @property
    def first_mel_seconds(self) -> float:
        """The middle of the first frame, which begins with the clip."""
        return self.win_length / 2 / self.sample_rate

    @property
    def n_fft(self) -> int:
        """Samples of the transform."""
        return 1 << (self.win_length - 1).bit_length()

    @property
    def num_bands(self) -> int:
        """Mel bands."""
        return self.n_mels

    def num_frames(self, num_samples: int) -> int:
        """Mel frames of `num_samples` samples: `target_frames`, or as many as lie within them."""
        within = 1 + (max(num_samples, self.win_length) - self.win_length) // self.hop_length
        return within if self.target_frames is None else self.target_frames


class Kaldi(StandardisedFrontend):
    """waveform (batch, samples) -> normalised log-mel (batch, mel_frames, mel_bands)."""

    def __init__(self, options: KaldiOptions, exportable: bool = False) -> None:
        super().__init__()
        self.options: KaldiOptions = options
        weights = kaldi_triangles(options.n_fft, options.f_min, options.upper_edge, options.n_mels, options.sample_rate)
        make = _ConvolutionPower if exportable else _FFTPower
        self.bands = make(weights, options.win_length, options.n_fft, options.hop_length)

    def spectrum(self, waveform: Tensor) -> Tensor:
        """waveform (batch, samples) -> mel power (batch, mel_frames, mel_bands)."""
        level = waveform - waveform.mean(dim=1, keepdim=True)
        mel: Tensor = self.bands(with_silence(level, self.options.win_length))
        return self.silenced(mel, waveform, self.options.win_length, self.options.hop_length)

    def logarithm(self, spectrum: Tensor) -> Tensor:
        """Mel power -> its natural logarithm."""
        return torch.log(spectrum.clamp(min=POWER_FLOOR))


class _FFTPower(nn.Module):
    """(batch, samples) -> (batch, mel_frames, bands) by FFT. weights: (n_fft // 2 + 1, bands)."""

    window: Tensor
    weights: Tensor

    def __init__(self, weights: Tensor, win_length: int, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer("window", torch.hann_window(win_length, periodic=False), persistent=False)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        frames = waveform.unfold(1, len(self.window), self.hop_length)
        # On a CPU clip by clip: frames overlap, and those of one clip fit into a cache.
        clips_at_once = 1 if waveform.device.type == "cpu" else max(1, len(frames))
        return torch.cat([self._bands(clips) for clips in torch.split(frames, clips_at_once)])

    def _bands(self, frames: Tensor) -> Tensor:
        bands: Tensor = power_of(frame_bins(frames, self.window, self.n_fft)) @ self.weights
        return bands


class _ConvolutionPower(nn.Module):
    """The same by one convolution and one matrix product, for export."""

    kernels: Tensor
    weights: Tensor

    def __init__(self, weights: Tensor, win_length: int, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.hop_length, self.num_bins = hop_length, n_fft // 2 + 1
        window = torch.hann_window(win_length, periodic=False, dtype=torch.float64)
        bins = frame_bins(torch.eye(win_length, dtype=torch.float64), window, n_fft)
        kernels = torch.cat([bins.real, bins.imag], dim=1).T.unsqueeze(1)
        self.register_buffer("kernels", kernels.float().contiguous(), persistent=False)
        self.register_buffer("weights", weights.T.contiguous(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        bins = functional.conv1d(waveform.unsqueeze(1), self.kernels, stride=self.hop_length)
        real, imaginary = bins[:, : self.num_bins], bins[:, self.num_bins :]
        return (self.weights @ (real * real + imaginary * imaginary)).transpose(1, 2)


def frame_bins(frames: Tensor, window: Tensor, n_fft: int) -> Tensor:
    """What Kaldi does to frames (..., frame samples) before their power -> complex (..., n_fft // 2 + 1)."""
    level = frames - frames.mean(dim=-1, keepdim=True)
    before = torch.cat([level[..., :1], level[..., :-1]], dim=-1)
    bins: Tensor = torch.fft.rfft((level - PRE_EMPHASIS * before) * window, n=n_fft)
    return bins


def kaldi_triangles(n_fft: int, f_min: float, f_max: float, n_mels: int, sample_rate: int) -> Tensor:
    """(n_fft // 2 + 1, n_mels): triangles on mel = 1127 ln(1 + Hz / 700), linear in mel; none hears the last bin.

    In float32 and in torchaudio's order of operations, see the top of the file.
    """
    low, high = (1127.0 * math.log(1.0 + edge / 700.0) for edge in (f_min, f_max))
    width, band = (high - low) / (n_mels + 1), torch.arange(n_mels)
    left, center, right = (low + (band + offset) * width for offset in (0.0, 1.0, 2.0))
    mel = 1127.0 * torch.log(1.0 + sample_rate / n_fft * torch.arange(float(n_fft // 2))[:, None] / 700.0)
    triangles = torch.minimum((mel - left) / (center - left), (right - mel) / (right - center)).clamp(min=0.0)
    return functional.pad(triangles, (0, 0, 0, 1))
