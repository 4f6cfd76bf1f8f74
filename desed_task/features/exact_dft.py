"""As `dft`, in float64: for features that are heard down to 150 dB below the loudest bin of a clip.

The rounding of a float32 transform lies about 130 dB below its loudest bin, so that a spectrogram with that range shows
its rounding, differently by FFT and in an ONNX graph: by up to 0.7 dB in single bins beside a loud tone, and by 1e-3 of
a ResNet's logits. In float64 the two agree to the last bit of float32, or nearly. The published spectrogram is computed
in float64, too (numpy's FFT under librosa). The graph copies the frames by Gather and needs one product with the
transform's matrix: Cast, MatMul, Mul, Add and Sqrt of float64, which the CPU and CUDA providers of onnxruntime have.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from desed_task.features.dft import FFTBands


class ExactFFTBands(FFTBands):
    """By FFT; arguments as of `dft.FFTBands`."""

    def _bands(self, frames: Tensor) -> Tensor:
        bins = torch.fft.rfft(frames.double() * self.window.double(), n=self.fft_length)
        magnitudes = bins.abs() if self.power == 1 else bins.real.square() + bins.imag.square()
        bands: Tensor = magnitudes.float() @ self.weights
        return bands


class ExactMatrixBands(nn.Module):
    """The same by one matrix product, for export."""

    matrix: Tensor
    weights: Tensor

    def __init__(
        self, window: Tensor, weights: Tensor, hop_length: int, fft_length: int | None = None, power: int = 1
    ) -> None:
        super().__init__()
        self.window_length, self.hop_length, self.power = len(window), hop_length, power
        length = fft_length or len(window)
        turns = torch.arange(len(window))[:, None] * torch.arange(length // 2 + 1)
        angle = -2.0 * math.pi * (turns % length).double() / length
        # float32's window, as the FFT has it
        heard = window.float().double()[:, None]
        self.register_buffer("matrix", torch.cat([torch.cos(angle), torch.sin(angle)], 1) * heard, persistent=False)
        self.register_buffer("weights", weights.float(), persistent=False)

    def forward(self, padded: Tensor, num_frames: int) -> Tensor:
        """(batch, samples), at least window + (num_frames - 1) * hop of them -> (batch, num_frames, bands)."""
        first = self.hop_length * torch.arange(num_frames, device=padded.device)
        frames = padded[:, first[:, None] + torch.arange(self.window_length, device=padded.device)]
        bins = frames.double() @ self.matrix
        real, imaginary = bins.chunk(2, dim=2)
        squared = real * real + imaginary * imaginary
        magnitudes = torch.sqrt(squared) if self.power == 1 else squared
        return magnitudes.float() @ self.weights
