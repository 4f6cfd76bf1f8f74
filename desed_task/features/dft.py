"""The magnitude of a discrete Fourier transform, twice: by FFT for training, by matrix products for ONNX.

onnxruntime's STFT is 100-700 times slower than an FFT on a CPU and has no CUDA kernel (onnxruntime #32403, 2026), and a DFT
written as one convolution costs ten times what it needs. So the exported graph factors the transform of length
N = N1 * N2 as Cooley and Tukey (1965) do:

    X[k1 + N1 k2] = sum_n2 exp(-2 pi i n2 k2 / N2) * exp(-2 pi i n2 k1 / N) * sum_n1 x[N2 n1 + n2] exp(-2 pi i n1 k1 / N1)

two small matrix products with a product of phases between them; for N = 2048 = 32 * 64 about a tenth of the direct
product's multiplications. Only MatMul, Mul, Reshape: every execution provider runs it. Both agree to float32 rounding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class FFTMagnitude(nn.Module):
    """|DFT| of real frames by FFT: (..., length) -> (..., length // 2 + 1)."""

    def forward(self, frames: Tensor) -> Tensor:
        """|DFT| of the last axis."""
        return torch.fft.rfft(frames).abs()


class MatmulMagnitude(nn.Module):
    """|DFT| of real frames by two matrix products: (..., length) -> (..., length // 2 + 1). For export."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length
        self.rows, self.columns = _balanced_factors(length)
        num_bands = self.columns // 2 + 1
        row, column = torch.arange(self.rows), torch.arange(self.columns)
        self._register("outer", _phases(row[:, None] * row[None, :], self.rows))
        self._register("twiddle", _phases(row[:, None] * column[None, :], length))
        self._register("inner", _phases(column[:, None] * torch.arange(num_bands)[None, :], self.columns))

    def _register(self, name: str, phases: tuple[Tensor, Tensor]) -> None:
        for part, values in zip(("real", "imaginary"), phases, strict=True):
            self.register_buffer(f"{name}_{part}", values, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """|DFT| of the last axis of (batch, mel_frames, length)."""
        batch, num_frames = frames.shape[0], frames.shape[1]
        matrix = frames.reshape(batch, num_frames, self.rows, self.columns)
        real, imaginary = self.outer_real @ matrix, self.outer_imaginary @ matrix
        real, imaginary = (
            real * self.twiddle_real - imaginary * self.twiddle_imaginary,
            real * self.twiddle_imaginary + imaginary * self.twiddle_real,
        )
        real, imaginary = (
            real @ self.inner_real - imaginary @ self.inner_imaginary,
            real @ self.inner_imaginary + imaginary @ self.inner_real,
        )
        magnitude = torch.sqrt(real * real + imaginary * imaginary)
        # (rows k1, bands k2) -> bin k1 + rows * k2
        bins = magnitude.transpose(-1, -2).reshape(batch, num_frames, -1)
        return bins[..., : self.length // 2 + 1]


def _balanced_factors(length: int) -> tuple[int, int]:
    """(rows, columns) with rows * columns = length, rows <= columns, columns even, as close as can be."""
    rows = next(n for n in range(math.isqrt(length), 0, -1) if length % n == 0 and (length // n) % 2 == 0)
    return rows, length // rows


def _phases(turns: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """exp(-2 pi i turns / period), computed in float64 with the argument reduced first."""
    angle = -2.0 * math.pi * (turns % period).double() / period
    return torch.cos(angle).float(), torch.sin(angle).float()
