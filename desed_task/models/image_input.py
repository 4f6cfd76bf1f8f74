"""Mel spectrograms as the images that convolutional taggers take, and how small these may be."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from desed_task.models.lengths import prolonged
from desed_task.models.tagger import InputShape


def image_of(mel: Tensor, least_frames: int) -> Tensor:
    """(batch, mel_frames, mel_bands) -> (batch, 1, mel_bands, mel_frames), the last repeated up to `least_frames`."""
    return prolonged(mel, least_frames).transpose(1, 2).unsqueeze(1)


def least_size(size_after: Callable[[int], int]) -> int:
    """The smallest size of which layers leave something. size_after: size of the input -> size of the output."""
    size = 1
    while size_after(size) < 1:
        size += 1
    return size


def require_bands(shape: InputShape, least_bands: int, model: str) -> None:
    """ValueError, of one sentence, when the input has too few mel bands."""
    if shape.mel_bands < least_bands:
        raise ValueError(
            f"{model} needs at least {least_bands} mel bands and the front-end gives {shape.mel_bands}; "
            f"take more bands or another model"
        )
