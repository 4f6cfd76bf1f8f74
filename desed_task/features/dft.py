"""Bands of a short-time Fourier transform, twice: by FFT for training, by convolution for ONNX.

Both turn padded waveforms (batch, samples) into (batch, mel_frames, bands): frames of the window's length, one every
`hop_length`, windowed, continued with zeros to the N samples of the transform, transformed, and the magnitudes (or,
with `power` 2, their squares) of their N // 2 + 1 bins summed by `weights`. They agree to float32 rounding.

onnxruntime's STFT is 100-700 times slower than an FFT on a CPU and has no CUDA kernel (onnxruntime #32403, 2026), and a
DFT written as one convolution costs ten times what it needs. So the exported graph factors the transform of length N =
R * C as Cooley and Tukey (1965) do, with n = C r + c and k = R l + j:

    X[R l + j] = sum_c exp(-2 pi i c l / C) * ( sum_r window[n] x[n] exp(-2 pi i n j / N) )

Laid out as C interleaved channels, the signal gives the inner sums of all frames in one convolution whose channels do
not mix: framing, window, first factor and twiddle in a single pass. The outer sum is one matrix product. Real input
makes j = 0 .. R/2 enough: the bins of the other j are conjugates, whose magnitudes `weights` picks where they stand.
For N = 2048 this is a fifteenth of the direct transform's multiplications, and onnxruntime is done with it on a CPU
before torch is with its FFT. Only Conv, MatMul and elementwise operators: every execution provider runs it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class FFTBands(nn.Module):
    """By FFT. window: (at most N,); weights: (N // 2 + 1, bands); fft_length: N, that of the window when not given."""

    window: Tensor
    weights: Tensor

    def __init__(
        self, window: Tensor, weights: Tensor, hop_length: int, fft_length: int | None = None, power: int = 1
    ) -> None:
        super().__init__()
        self.hop_length, self.power = hop_length, power
        self.fft_length = fft_length or len(window)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("weights", weights.float(), persistent=False)

    def forward(self, padded: Tensor, num_frames: int) -> Tensor:
        """(batch, samples), at least window + (num_frames - 1) * hop of them -> (batch, num_frames, bands)."""
        frames = padded.unfold(1, len(self.window), self.hop_length)[:, :num_frames]
        # On a CPU clip by clip: frames overlap, and those of one clip fit into a cache.
        clips_at_once = 1 if padded.device.type == "cpu" else max(1, len(frames))
        return torch.cat([self._bands(clips) for clips in torch.split(frames, clips_at_once)])

    def _bands(self, frames: Tensor) -> Tensor:
        bins = torch.fft.rfft(frames * self.window, n=self.fft_length)
        bands: Tensor = (bins.abs() if self.power == 1 else power_of(bins)) @ self.weights
        return bands


class ConvolutionBands(nn.Module):
    """The same by a convolution and two matrix products, for export."""

    inner: Tensor
    outer: Tensor
    weights: Tensor

    def __init__(
        self, window: Tensor, weights: Tensor, hop_length: int, fft_length: int | None = None, power: int = 1
    ) -> None:
        super().__init__()
        self.length, self.hop_length, self.power = fft_length or len(window), hop_length, power
        self.columns = _columns(self.length, hop_length)
        self.rows = self.length // self.columns
        self.kept_rows = self.rows // 2 + 1
        # Rows in which the window is zero add nothing; its last row is continued with zeros.
        self.heard_rows = math.ceil(len(window) / self.columns)
        self.heard = self.heard_rows * self.columns
        self.missing = self.heard - len(window)
        self.register_buffer("inner", self._inner(window.double()).float(), persistent=False)
        self.register_buffer("outer", self._outer().float(), persistent=False)
        self.register_buffer("weights", self._reordered(weights).float(), persistent=False)

    def forward(self, padded: Tensor, num_frames: int) -> Tensor:
        """(batch, samples), at least window + (num_frames - 1) * hop of them -> (batch, num_frames, bands)."""
        batch, columns, kept_rows = padded.shape[0], self.columns, self.kept_rows
        continued = functional.pad(padded, (0, self.missing)) if self.missing else padded
        used = continued[:, : self.heard + (num_frames - 1) * self.hop_length]
        channels = used.reshape(batch, -1, columns).transpose(1, 2)
        sums = functional.conv1d(channels, self.inner, stride=self.hop_length // columns, groups=columns)
        sums = sums.reshape(batch, columns, kept_rows, 2, -1).transpose(1, 2).reshape(batch, kept_rows, 2 * columns, -1)
        bins = self.outer @ sums
        real, imaginary = bins[:, :, :columns], bins[:, :, columns:]
        squared = (real * real + imaginary * imaginary).reshape(batch, kept_rows * columns, -1)
        return (self.weights @ (torch.sqrt(squared) if self.power == 1 else squared)).transpose(1, 2)

    def _inner(self, window: Tensor) -> Tensor:
        """Kernels of the convolution: (columns * kept_rows * 2, 1, heard_rows), channels as c, j, (re, im)."""
        sample = self.columns * torch.arange(self.heard_rows) + torch.arange(self.columns)[:, None]
        angle = _angle(sample[:, None, :] * torch.arange(self.kept_rows)[:, None], self.length)
        heard = functional.pad(window, (0, self.missing))[sample][:, None, None, :]
        phases = torch.stack([torch.cos(angle), torch.sin(angle)], dim=2) * heard
        return phases.reshape(-1, 1, self.heard_rows)

    def _outer(self) -> Tensor:
        """The second factor as one real matrix, from (c, (re, im)) to ((re, im), l): (2 columns, 2 columns)."""
        angle = _angle(torch.arange(self.columns)[:, None] * torch.arange(self.columns), self.columns)
        real, imaginary = torch.cos(angle), torch.sin(angle)
        to_real = torch.stack([real, -imaginary], dim=2).flatten(1)
        to_imaginary = torch.stack([imaginary, real], dim=2).flatten(1)
        return torch.cat([to_real, to_imaginary])

    def _reordered(self, weights: Tensor) -> Tensor:
        """(bins, bands) -> (bands, kept_rows * columns): each bin's weights where the graph has it, else zero."""
        reordered = torch.zeros(self.kept_rows, self.columns, weights.shape[1], dtype=weights.dtype)
        for bin_number in range(len(weights)):
            mirrored = bin_number % self.rows > self.rows // 2
            column, row = divmod(self.length - bin_number if mirrored else bin_number, self.rows)
            reordered[row, column] = weights[bin_number]
        return reordered.flatten(0, 1).T.contiguous()


def power_of(bins: Tensor) -> Tensor:
    """|X|^2 of complex bins, without the root in between."""
    return bins.real.square() + bins.imag.square()


def _columns(length: int, hop_length: int) -> int:
    """C: divides frame and hop, so that frames begin on whole columns, and is near the root of `length`."""
    common = math.gcd(length, hop_length)
    return max(columns for columns in range(1, math.isqrt(length) + 1) if common % columns == 0)


def _angle(turns: Tensor, period: int) -> Tensor:
    """-2 pi turns / period in float64, the turns reduced first."""
    return -2.0 * math.pi * (turns % period).double() / period
