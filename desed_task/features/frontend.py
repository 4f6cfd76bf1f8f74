"""What every front-end offers: from a waveform to what a model hears, in three stages between which one augments.

waveform -> spectrum (linear power or magnitude) -> compress (logarithm, dB) -> normalise (what the model hears).
Augmentations act on the waveform, or in the domain that a stage ends in: linear, log, normalised.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from torch import Tensor, nn


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

    def scale(self, spectrum: Tensor) -> Tensor:
        """The last two stages: linear features -> what the model hears."""
        ...

    def __call__(self, waveform: Tensor) -> Tensor:
        """All three stages: (batch, samples) -> (batch, mel_frames, mel_bands)."""
        ...


class StagedFrontend(nn.Module, ABC):
    """Base of every front-end: it has the stages, this chains them."""

    @abstractmethod
    def spectrum(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> linear features (batch, mel_frames, mel_bands)."""

    @abstractmethod
    def compress(self, spectrum: Tensor) -> Tensor:
        """Linear features -> their logarithm."""

    @abstractmethod
    def normalise(self, logarithm: Tensor) -> Tensor:
        """Logarithmic features -> what the model hears."""

    def scale(self, spectrum: Tensor) -> Tensor:
        """Linear features -> what the model hears (batch, mel_frames, mel_bands)."""
        return self.normalise(self.compress(spectrum))

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> what the model hears (batch, mel_frames, mel_bands)."""
        return self.scale(self.spectrum(waveform))


def first_mel_seconds(options: FrontendOptions) -> float:
    """The middle of a front-end's first mel frame: 0 where frames are centred, as they are unless the options say."""
    return float(getattr(options, "first_mel_seconds", 0.0))


def require_bands(f_min: float, f_max: float, sample_rate: int) -> None:
    """ValueError when the bands do not lie between 0 Hz and half the sample rate."""
    if f_max > sample_rate / 2:
        raise ValueError(f"f_max {f_max:g} Hz is above half the sample rate of {sample_rate} Hz; lower it")
    if f_min >= f_max:
        raise ValueError(f"f_min {f_min:g} Hz is not below f_max {f_max:g} Hz")


def require_window(win_length: int, n_fft: int) -> None:
    """ValueError when the window does not fit into the transform."""
    if win_length > n_fft:
        raise ValueError(f"win_length {win_length} is more than n_fft {n_fft}; lower it")
