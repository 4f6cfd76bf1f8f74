"""Ways of an embedding onto the frames of the features that it joins; models/fusion.py says which is which.

Each way is a module (batch, embedding_frames, dim) -> (batch, frames, `width`), made for embeddings of one shape. Ways
without timing give the same to every frame. Parameters of 768 values per embedding frame and features 128 wide: global
98,688, frame 4,070,784, aligned 98,688; interpolate and pool1d none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from desed_task.models.embedding import EmbeddingShape, alignment, nearest, pooled

WayName = Literal["global", "frame", "interpolate", "pool1d", "aligned"]
# Cells of the GRU of `frame`, per direction, as published.
ENCODER_CELLS = 512


class FeatureShape(NamedTuple):
    """The features of one clip that embeddings join: frames of `time_pooling` mel frames, `width` values each."""

    frames: int
    width: int
    time_pooling: int


class Way(nn.Module):
    """What every way offers. width: values per frame that it gives."""

    width: int


class Global(Way):
    """One embedding of the clip, shrunk to the width of the features and repeated."""

    def __init__(self, shape: EmbeddingShape, features: FeatureShape) -> None:
        """ValueError for more than one embedding frame."""
        super().__init__()
        if shape.frames != 1:
            raise ValueError(
                f"way global is for one embedding of the clip and there are {shape.frames}; take another way, or "
                f"output global of the embedder"
            )
        self.width, self.frames = features.width, features.frames
        self.shrink = _Shrink(shape.dim, self.width)

    def forward(self, values: Tensor) -> Tensor:
        """(batch, 1, dim) -> (batch, frames, width)."""
        repeated: Tensor = self.shrink(values).expand(-1, self.frames, -1)
        return repeated


class Encoded(Way):
    """The last output of a bidirectional GRU over the embedding frames, shrunk and repeated.

    Its backward half has then heard the last embedding frame alone, as published.
    """

    def __init__(self, shape: EmbeddingShape, features: FeatureShape) -> None:
        super().__init__()
        self.width, self.frames = features.width, features.frames
        self.encoder = nn.GRU(shape.dim, ENCODER_CELLS, batch_first=True, bidirectional=True)
        self.shrink = _Shrink(2 * ENCODER_CELLS, self.width)

    def forward(self, values: Tensor) -> Tensor:
        """(batch, embedding_frames, dim) -> (batch, frames, width)."""
        encoded, _ = self.encoder(values)
        repeated: Tensor = self.shrink(encoded[:, -1:]).expand(-1, self.frames, -1)
        return repeated


class Resampled(Way):
    """As it is, onto the frames by fixed weights (frames, embedding_frames)."""

    weights: Tensor

    def __init__(self, weights: Tensor, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """(batch, embedding_frames, width) -> (batch, frames, width)."""
        return self.weights.to(values.dtype) @ values


class Aligned(Way):
    """Shrunk to the width of the features, then brought onto the frames by both clocks."""

    def __init__(self, shape: EmbeddingShape, features: FeatureShape) -> None:
        """ValueError for embeddings that do not follow the clip's time."""
        super().__init__()
        if not shape.is_timed:
            raise ValueError(
                "way aligned needs an embedding that follows the clip's time; take output frame of the embedder, or "
                "another way"
            )
        self.width = features.width
        self.shrink = _Shrink(shape.dim, self.width)
        self.align = Resampled(alignment(shape, features.frames, features.time_pooling), self.width)

    def forward(self, values: Tensor) -> Tensor:
        """(batch, embedding_frames, dim) -> (batch, frames, width)."""
        aligned: Tensor = self.align(self.shrink(values))
        return aligned


class _Shrink(nn.Sequential):
    """A linear map and a layer norm. (..., dim) -> (..., width)."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__(nn.Linear(dim, width), nn.LayerNorm(width))


def _interpolated(shape: EmbeddingShape, features: FeatureShape) -> Way:
    return Resampled(nearest(shape, features.frames), shape.dim)


def _pooled(shape: EmbeddingShape, features: FeatureShape) -> Way:
    return Resampled(pooled(shape, features.frames), shape.dim)


WAYS: Mapping[WayName, Callable[[EmbeddingShape, FeatureShape], Way]] = {
    "global": Global,
    "frame": Encoded,
    "interpolate": _interpolated,
    "pool1d": _pooled,
    "aligned": Aligned,
}


def build_way(name: WayName, embedder: str, shape: EmbeddingShape, features: FeatureShape) -> Way:
    """The way of that name; ValueError, which names the embedder, for embeddings that cannot go it."""
    try:
        return WAYS[name](shape, features)
    except ValueError as error:
        raise ValueError(f"fusion of {embedder}: {error}") from None


def without_runs(values: Tensor, longest: int) -> Tensor:
    """(batch, frames, width) with a run of at most `longest` frames of each clip silent (0), drawn clip by clip.

    Lengths and first frames are drawn as torchaudio's TimeMasking(iid_masks=True) draws them: evenly, then cut to whole
    frames.
    """
    clips, frames, _ = values.shape
    width, first = torch.rand(2, clips, 1, device=values.device)
    width = width * longest
    first = (first * (frames - width)).long()
    place = torch.arange(frames, device=values.device)
    hidden = (place >= first) & (place < first + width.long())
    return values.masked_fill(hidden[:, :, None], 0.0)
