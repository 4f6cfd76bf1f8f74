"""What a network says of a clip besides its classes: embeddings, which another network listens to.

A model that offers some has EMBEDDINGS, their names, `embedding_form`, which says what one looks like, and `embed`.
`frame` follows the clip's time; `global` is one of the whole clip.
"""

from __future__ import annotations

from collections.abc import Collection
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


@runtime_checkable
class EmbedsTogether(Embeds, Protocol):
    """One that gives several of them in one pass."""

    def embed_together(self, inputs: Inputs, outputs: Collection[str]) -> dict[str, Tensor]:
        """As `embed`, by name; there may be others too."""
        ...


def alignment(shape: EmbeddingShape, frames: int, time_pooling: int) -> Tensor:
    """(frames, embedding_frames): weights that bring a timed embedding onto frames of `time_pooling` mel frames.

    Between its middles the embedding runs linearly; before the first it is as there, and so after the last. A frame
    has its value at the frame's middle or, of an embedding that is faster, the mean over as many places in the frame
    as it has embedding frames, rounded. Each row sums to 1, and what grows evenly in time still does, by as much.
    """
    assert shape.step is not None, "only embeddings that are timed can be aligned"
    places = max(1, round(time_pooling / shape.step))
    within = (np.arange(places) + 0.5) / places * time_pooling - 0.5
    mel_frames = np.arange(frames)[:, None, None] * time_pooling + within[:, None]
    position = np.clip((mel_frames - shape.first) / shape.step, 0, shape.frames - 1)
    between = np.maximum(0.0, 1.0 - np.abs(position - np.arange(shape.frames)))
    return _tensor(between.mean(axis=1))


def nearest(shape: EmbeddingShape, frames: int) -> Tensor:
    """(frames, embedding_frames): the embedding frame at the same share of the clip (torch's `nearest-exact`).

    In single precision, as there: it decides where a frame's middle lies between two embedding frames.
    """
    share = float(np.float32(shape.frames) / np.float32(frames))
    middles = ((np.arange(frames) + 0.5) * share).astype(np.float32)
    return _tensor(np.eye(shape.frames)[np.minimum(middles.astype(np.int64), shape.frames - 1)])


def pooled(shape: EmbeddingShape, frames: int) -> Tensor:
    """(frames, embedding_frames): means over equal shares of the clip (torch's `adaptive_avg_pool1d`)."""
    place, frame = np.arange(shape.frames), np.arange(frames)[:, None]
    first, end = frame * shape.frames // frames, -(-(frame + 1) * shape.frames // frames)
    share = ((place >= first) & (place < end)).astype(np.float64)
    return _tensor(share / share.sum(axis=1, keepdims=True))


def _tensor(weights: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(weights.astype(np.float32))
