"""Fusion: embeddings of pretrained networks join the features of a CRNN between its convolutions and its GRU.

Each embedder has a `way` onto the frames of the CRNN:

global       one embedding of the clip, shrunk to the width of the features (linear, layer norm) and repeated (2022)
frame        a bidirectional GRU over the embedding frames, its last output shrunk and repeated; all timing is lost
             (2022's default)
interpolate  the nearest embedding frame, by its share of the clip (2023)
pool1d       means over equal shares of the embedding frames (2023 and 2024's default)
aligned      shrunk (linear, layer norm), then brought onto the frames by both clocks; needs an embedding that is timed

Then they `join`: concatenated with the features and brought back to their width by one linear layer, as published, or
gated: each is added to the features, weighted by sigmoids of both. Published parameters (768 values per embedding
frame, default CRNN): frame 5.22 M, pool1d 1.227 M in all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from desed_task.batch import Embedding
from desed_task.models.dropout import Dropout
from desed_task.models.embedding import EmbeddingShape, alignment, nearest, pooled
from desed_task.options import Options

WayName = Literal["global", "frame", "interpolate", "pool1d", "aligned"]
# Cells of the GRU of `frame`, per direction, as published.
ENCODER_CELLS = 512


class FusionOptions(Options):
    """How embeddings join the CRNN's features."""

    ways: Mapping[str, WayName] = Field(
        min_length=1, description="By embedder: global, frame, interpolate, pool1d or aligned."
    )
    join: Literal["concatenated", "gated"] = Field("concatenated", description="How they join the features.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before they are joined; 2024 has that of the CRNN.")
    dropstep: float = Field(
        0.0, ge=0, le=1, description="Largest share of the frames that a dropstep hides (2024: .3); 0 is none."
    )
    dropstep_frames: int = Field(16, ge=1, description="Longest run that a dropstep hides, frames.")


class _Shrink(nn.Sequential):
    def __init__(self, dim: int, width: int) -> None:
        super().__init__(nn.Linear(dim, width), nn.LayerNorm(width))


class _Global(nn.Module):
    """One embedding of the clip."""

    def __init__(self, shape: EmbeddingShape, width: int, frames: int, time_pooling: int) -> None:  # noqa: ARG002
        super().__init__()
        if shape.frames != 1:
            raise ValueError(
                f"way global is for one embedding of the clip and there are {shape.frames}; take another way, or "
                f"output global of the embedder"
            )
        self.width, self.frames = width, frames
        self.shrink = _Shrink(shape.dim, width)

    def forward(self, values: Tensor) -> Tensor:
        """(batch, 1, dim) -> (batch, frames, width)."""
        repeated: Tensor = self.shrink(values).expand(-1, self.frames, -1)
        return repeated


class _Frame(nn.Module):
    """The last output of a GRU over the embedding frames."""

    def __init__(self, shape: EmbeddingShape, width: int, frames: int, time_pooling: int) -> None:  # noqa: ARG002
        super().__init__()
        self.width, self.frames = width, frames
        self.encoder = nn.GRU(shape.dim, ENCODER_CELLS, batch_first=True, bidirectional=True)
        self.shrink = _Shrink(2 * ENCODER_CELLS, width)

    def forward(self, values: Tensor) -> Tensor:
        """(batch, embedding_frames, dim) -> (batch, frames, width)."""
        encoded, _ = self.encoder(values)
        repeated: Tensor = self.shrink(encoded[:, -1:]).expand(-1, self.frames, -1)
        return repeated


class _Resampled(nn.Module):
    """Onto the frames by fixed weights. weights: (frames, embedding_frames)."""

    weights: Tensor

    def __init__(self, weights: Tensor, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """(batch, embedding_frames, dim) -> (batch, frames, dim)."""
        return self.weights.to(values.dtype) @ values


class _Aligned(nn.Module):
    """Shrunk, then aligned by both clocks."""

    def __init__(self, shape: EmbeddingShape, width: int, frames: int, time_pooling: int) -> None:
        super().__init__()
        if not shape.is_timed:
            raise ValueError(
                "way aligned needs an embedding that follows the clip's time; take output frame of the embedder, or "
                "another way"
            )
        self.width = width
        self.shrink = _Shrink(shape.dim, width)
        self.align = _Resampled(alignment(shape, frames, time_pooling), width)

    def forward(self, values: Tensor) -> Tensor:
        """(batch, embedding_frames, dim) -> (batch, frames, width)."""
        aligned: Tensor = self.align(self.shrink(values))
        return aligned


def _build_way(name: WayName, shape: EmbeddingShape, width: int, frames: int, time_pooling: int) -> nn.Module:
    if name == "interpolate":
        return _Resampled(nearest(shape, frames), shape.dim)
    if name == "pool1d":
        return _Resampled(pooled(shape, frames), shape.dim)
    return {"global": _Global, "frame": _Frame, "aligned": _Aligned}[name](shape, width, frames, time_pooling)


class Concatenated(nn.Module):
    """A linear layer on features and embeddings side by side."""

    def __init__(self, width: int, others: list[int], dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(width + sum(others), width)

    def forward(self, x: Tensor, others: list[Tensor]) -> Tensor:
        """(batch, frames, width) and others -> (batch, frames, width)."""
        joined: Tensor = self.linear(self.dropout(torch.cat([x, *others], dim=-1)))
        return joined


class Gated(nn.Module):
    """Embeddings are added to the features as far as both say so."""

    def __init__(self, width: int, others: list[int], dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.values = nn.ModuleList(nn.Linear(other, width) for other in others)
        self.gates = nn.ModuleList(nn.Linear(width + other, width) for other in others)

    def forward(self, x: Tensor, others: list[Tensor]) -> Tensor:
        """(batch, frames, width) and others -> (batch, frames, width)."""
        joined = x
        for value, gate, other in zip(self.values, self.gates, others, strict=True):
            heard = self.dropout(other)
            joined = joined + torch.sigmoid(gate(torch.cat([x, heard], dim=-1))) * value(heard)
        return joined


class Fusion(nn.Module):
    """(batch, frames, width) and embeddings -> (batch, frames, width)."""

    def __init__(
        self, options: FusionOptions, shapes: Mapping[str, EmbeddingShape], width: int, frames: int, time_pooling: int
    ) -> None:
        """ValueError for an embedding that is not there, or cannot go the way that the options name."""
        super().__init__()
        if options.ways.keys() != shapes.keys():
            named, there = (", ".join(sorted(names)) or "none" for names in (options.ways, shapes))
            raise ValueError(f"model.fusion.ways names {named} and the embedders are {there}; name each in both")
        self.options = options
        self.ways = nn.ModuleDict(
            {name: _build_way(way, shapes[name], width, frames, time_pooling) for name, way in options.ways.items()}
        )
        others = [int(way.width) for way in self.ways.values()]  # type: ignore[arg-type]
        self.join = {"concatenated": Concatenated, "gated": Gated}[options.join](width, others, options.dropout)

    def forward(self, x: Tensor, embeddings: Mapping[str, Embedding]) -> Tensor:
        """Features joined by every embedding, see the class."""
        others = [way(embeddings[name].values.to(x.dtype)) for name, way in self.ways.items()]
        if self.training and self.options.dropstep:
            x, *others = [self._dropped(values) for values in (x, *others)]
        joined: Tensor = self.join(x, others)
        return joined

    def _dropped(self, values: Tensor) -> Tensor:
        """Each clip without a run of frames, drawn apart for the features and for each embedding (2024)."""
        clips, frames, _ = values.shape
        longest = min(self.options.dropstep_frames, int(self.options.dropstep * frames))
        width, first = torch.rand(2, clips, 1, device=values.device)
        width = width * longest
        first = (first * (frames - width)).long()
        place = torch.arange(frames, device=values.device)
        hidden = (place >= first) & (place < first + width.long())
        return values.masked_fill(hidden[:, :, None], 0.0)
