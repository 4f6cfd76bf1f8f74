"""Embeddings in no more frames than their listener has.

Stored embeddings that follow the clip's time, in more frames than the detector, are brought onto its frames beforehand,
by the weights of the way `aligned`: a store of 496 frames takes a third of its space for a detector of 156. Whatever of
such an embedder is heard and not read (a service's clips) is pooled alike.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from desed_task.features.frontend import FrontendOptions
from desed_task.models.embedding import EmbeddingShape, alignment


class Listener(NamedTuple):
    """The detector that listens: options of its front-end, mel frames per frame, frames of a clip."""

    features: FrontendOptions
    time_pooling: int
    frames: int


class Pooling(NamedTuple):
    """What is pooled: its shape, on the mel frames of the listener; `frames` of `time_pooling` mel frames each."""

    before: EmbeddingShape
    frames: int
    time_pooling: int

    @property
    def after(self) -> EmbeddingShape:
        """The shape of what comes of it."""
        return EmbeddingShape(self.frames, self.before.dim, float(self.time_pooling), (self.time_pooling - 1) / 2)

    def weights(self) -> Tensor:
        """(frames, embedding_frames)."""
        return alignment(self.before, self.frames, self.time_pooling)


def pooling_of(shape: EmbeddingShape, listener: Listener) -> Pooling | None:
    """How embeddings of that shape are pooled; None where they are not timed or not faster than the listener."""
    if not shape.is_timed or shape.frames <= listener.frames:
        return None
    return Pooling(shape, listener.frames, listener.time_pooling)
