"""A centred short-time Fourier transform, summed into bands: what most front-ends begin with.

As torch.stft with center=True: frame t is transformed over the `fft_length` samples around sample t * hop, and the
window stands in their middle. What the window does not hear is neither padded nor copied, so the padding is half a
window, not half a transform; the frames are the same. Clips that are too short to be reflected are continued with
silence first, where torch.stft refuses them.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from desed_task.features.dft import ConvolutionBands, FFTBands
from desed_task.features.exact_dft import ExactFFTBands, ExactMatrixBands

PadMode = Literal["reflect", "constant"]


class CentredBands(nn.Module):
    """waveform (batch, samples) -> (batch, mel_frames, bands).

    window: (at most fft_length,); weights: (fft_length // 2 + 1, bands); power: 1 sums magnitudes, 2 their squares;
    exact: transformed in float64 (see `exact_dft`).
    """

    def __init__(
        self,
        window: Tensor,
        weights: Tensor,
        hop_length: int,
        *,
        fft_length: int | None = None,
        power: int = 1,
        pad_mode: PadMode = "reflect",
        exportable: bool = False,
        exact: bool = False,
    ) -> None:
        super().__init__()
        self.hop_length, self.fft_length, self.pad_mode = hop_length, fft_length or len(window), pad_mode
        before = self.fft_length // 2 - (self.fft_length - len(window)) // 2
        self.padding = (before, len(window) - before - self.fft_length % 2)
        # A reflection needs more samples than it reflects.
        self.shortest = max(self.padding) + 1 if pad_mode == "reflect" else 0
        by_fft, in_graph = (ExactFFTBands, ExactMatrixBands) if exact else (FFTBands, ConvolutionBands)
        make = in_graph if exportable else by_fft
        self.bands = make(window, weights, hop_length, self.fft_length, power)

    def forward(self, waveform: Tensor) -> Tensor:
        """See the class."""
        lengthened = with_silence(waveform, self.shortest) if self.shortest else waveform
        padded = functional.pad(lengthened.unsqueeze(1), self.padding, mode=self.pad_mode).squeeze(1)
        bands: Tensor = self.bands(padded, centred_frames(waveform.shape[1], self.fft_length, self.hop_length))
        return bands


def centred_frames(num_samples: int, fft_length: int, hop_length: int) -> int:
    """Frames of a centred transform; an odd `fft_length` is one sample longer than its padding."""
    return (num_samples - fft_length % 2) // hop_length + 1


def with_silence(waveform: Tensor, minimum: int) -> Tensor:
    """Waveforms (batch, samples) of fewer than `minimum` samples continued with zeros, others as they are."""
    return functional.pad(waveform, (0, minimum))[:, : at_least(waveform.shape[1], minimum)]


def at_least(num_samples: int | Tensor, minimum: int) -> int | Tensor:
    """The larger of the two, also while a graph is traced."""
    # Sizes are tensors then, and Python's max would freeze that of the example.
    return num_samples.clamp(min=minimum) if isinstance(num_samples, Tensor) else max(num_samples, minimum)
