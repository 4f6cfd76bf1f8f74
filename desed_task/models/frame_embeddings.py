"""The embeddings of taggers of every family, but for those that have published ones of their own (Cnn14, AST).

frame   the features that the head scores, along time: as fine as the network's frames; means over frequency where the
        head hears these
global  their mean over time
early   of networks whose frames are of 32 mel frames: the map of the last stage with at most 8 mel frames per step,
        its channels and the bands left of each side by side, as the DESED baselines take the third block of Cnn14

`early` is flattened, not averaged over frequency: so early a channel is a small pattern in time and frequency, and
where it lies in frequency says as much as that it is there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from desed_task.batch import Inputs
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.layer_geometry import Place


class FrameEmbeddings(ABC):
    """Embeddings `frame` and `global` of a model that has features along time."""

    EMBEDDINGS: ClassVar[tuple[str, ...]] = ("frame", "global")

    @abstractmethod
    def frame_form(self) -> EmbeddingForm:
        """What `frame` looks like."""

    @abstractmethod
    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, embedding_frames, dim)."""

    def embedding_form(self, output: str) -> EmbeddingForm:
        """What the embedding of that name looks like."""
        form = self.frame_form()
        return EmbeddingForm(form.dim) if output == "global" else form

    def embed(self, inputs: Inputs, output: str) -> Tensor:
        """Inputs -> (batch, embedding_frames, embedding_dim)."""
        frames = self.embed_frames(inputs)
        return frames.mean(dim=1, keepdim=True) if output == "global" else frames


class EarlyEmbeddings(FrameEmbeddings):
    """These and `early`, of a model whose frames are coarse."""

    EMBEDDINGS: ClassVar[tuple[str, ...]] = ("frame", "early", "global")

    @abstractmethod
    def early_form(self) -> EmbeddingForm:
        """What `early` looks like."""

    @abstractmethod
    def early_map(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, channels, bands, times)."""

    def embedding_form(self, output: str) -> EmbeddingForm:
        """What the embedding of that name looks like."""
        return self.early_form() if output == "early" else super().embedding_form(output)

    def embed(self, inputs: Inputs, output: str) -> Tensor:
        """Inputs -> (batch, embedding_frames, embedding_dim)."""
        if output == "early":
            return self.early_map(inputs).permute(0, 3, 1, 2).flatten(2)
        return super().embed(inputs, output)


def form_at(times: Place, dim: int) -> EmbeddingForm:
    """Embedding frames of `dim` values at these times."""
    return EmbeddingForm(dim, times.step, times.first)


def form_of_groups(mel_frames: int, dim: int) -> EmbeddingForm:
    """Embedding frames of `dim` values, each of so many mel frames side by side."""
    return EmbeddingForm(dim, mel_frames, (mel_frames - 1) / 2)
