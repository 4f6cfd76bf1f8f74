"""What every front-end offers: from a waveform to what a model hears, in three stages between which one augments.

waveform -> spectrum (linear power or magnitude) -> compress (logarithm, dB) -> normalise (what the model hears).
Augmentations act on the waveform, or in the domain that a stage ends in: linear, log, normalised.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class FrontendOptions(Protocol):
    """What the options of every front-end offer, besides their fields."""

    @property
    def name(self) -> str:
        """What confs call it."""
        ...

    @property
    def sample_rate(self) -> int:
        """Samples per second of the waveform."""
        ...

    @property
    def hop_length(self) -> int:
        """Samples from one mel frame to the next."""
        ...

    @property
    def num_bands(self) -> int:
        """Frequency bands of a frame."""
        ...

    def num_frames(self, num_samples: int) -> int:
        """Mel frames of a waveform of `num_samples` samples."""
        ...


class Frontend(Protocol):
    """An nn.Module made of (options, exportable); `exportable` uses operators that every ONNX provider runs."""

    def spectrum(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> linear features (batch, mel_frames, mel_bands)."""
        ...

    def compress(self, spectrum: Tensor) -> Tensor:
        """Linear features -> their logarithm in this front-end's unit; may pad or cut to a fixed number of frames."""
        ...

    def normalise(self, logarithm: Tensor) -> Tensor:
        """Logarithmic features -> what the model hears; same shape."""
        ...

    def __call__(self, waveform: Tensor) -> Tensor:
        """All three stages: (batch, samples) -> (batch, mel_frames, mel_bands)."""
        ...
