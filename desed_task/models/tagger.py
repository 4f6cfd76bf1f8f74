"""What every model offers, so that any of them can be trained as a detector or as a tagger.

A model is built from its options, the shape of its input and the number of classes. `time_pooling` of its options says
how many mel frames make a frame: frame j of its strong logits is of the mel frames [j, j + 1) * time_pooling, as nearly
as the model allows. Parameter names are those of the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Protocol

from desed_task.batch import Inputs, Predictions
from desed_task.models.embedding import EmbeddingShape


class InputShape(NamedTuple):
    """Of one clip, as the front-end gives it: mel_frames x mel_bands; and of the embeddings that are heard with it."""

    mel_frames: int
    mel_bands: int
    embeddings: Mapping[str, EmbeddingShape] = MappingProxyType({})


class ModelOptions(Protocol):
    """What the options of every model offer, besides their fields."""

    @property
    def name(self) -> str:
        """What confs call it."""
        ...

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        ...

    def require_fit(self, shape: InputShape) -> None:
        """ValueError, of one sentence, when the model cannot hear input of that shape."""
        ...


class Tagger(Protocol):
    """A model that tags clips, with frame logits where its pooling allows them.

    HEAD: beginnings of the names of the parameters that depend on the number of classes; initial weights may lack them.
    """

    HEAD: ClassVar[tuple[str, ...]]

    def __call__(self, inputs: Inputs) -> Predictions:
        """Inputs.mel (batch, mel_frames, mel_bands) -> strong_logits (batch, frames, classes) or None, weak_logits."""
        ...
