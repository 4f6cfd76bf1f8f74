"""What a network says of a clip besides its classes: embeddings, which another network listens to.

A model that offers some has EMBEDDINGS, their names, `embedding_form`, which says what one looks like, and `embed`.
`frame` follows the clip's time; `global` is one of the whole clip.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desed_task.batch import Inputs


class EmbeddingForm(NamedTuple):
    """What a model's embedding looks like, on the clock of the mel frames that it hears.

    dim: values per embedding frame; step: mel frames from one embedding frame to the next, None where they do not
    follow the clip's time; first: mel frames from the first mel frame to the middle of embedding frame 0.
    """

    dim: int
    step: int | None = None
    first: float = 0.0


class EmbeddingShape(NamedTuple):
    """An embedding as the network that listens to it sees it: of one clip, on the clock of its own mel frames.

    frames, dim: (embedding_frames, embedding_dim); step, first: mel frames of the listener, as in EmbeddingForm.
    """

    frames: int
    dim: int
    step: float | None = None
    first: float = 0.0

    @property
    def is_timed(self) -> bool:
        """Whether the frames follow the clip's time."""
        return self.step is not None


@runtime_checkable
class Embeds(Protocol):
    """A model that offers embeddings."""

    EMBEDDINGS: ClassVar[tuple[str, ...]]

    def embedding_form(self, output: str) -> EmbeddingForm:
        """What the embedding of that name looks like."""
        ...

    def embed(self, inputs: Inputs, output: str) -> Tensor:
        """Inputs -> (batch, embedding_frames, embedding_dim)."""
        ...


def alignment(shape: EmbeddingShape, frames: int, time_pooling: int) -> Tensor:
    """(frames, embedding_frames): weights that bring a timed embedding onto frames of `time_pooling` mel frames.

    Each row sums to 1. The weight falls linearly with the distance of the middles, to 0 at the longer of the two
    steps: interpolation where the embedding is slower than the frames, a weighted mean where it is faster. Before the
    first middle the first embedding frame stands, after the last the last.
    """
    assert shape.step is not None, "only embeddings that are timed can be aligned"
    middles = shape.first + shape.step * np.arange(shape.frames)
    times = np.clip((np.arange(frames) + 0.5) * time_pooling - 0.5, middles[0], middles[-1])
    weights = np.maximum(0.0, 1.0 - np.abs(times[:, None] - middles) / max(shape.step, time_pooling))
    return _rows(weights)


def nearest(shape: EmbeddingShape, frames: int) -> Tensor:
    """(frames, embedding_frames): the embedding frame at the same share of the clip (torch's `nearest-exact`)."""
    chosen = np.minimum(((np.arange(frames) + 0.5) * shape.frames / frames).astype(np.int64), shape.frames - 1)
    return _rows(np.eye(shape.frames)[chosen])


def pooled(shape: EmbeddingShape, frames: int) -> Tensor:
    """(frames, embedding_frames): means over equal shares of the clip (torch's `adaptive_avg_pool1d`)."""
    place, share = np.arange(shape.frames), shape.frames / frames
    first, end = np.floor(np.arange(frames) * share), np.ceil((np.arange(frames) + 1) * share)
    return _rows(((place >= first[:, None]) & (place < end[:, None])).astype(np.float64))


def _rows(weights: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))
