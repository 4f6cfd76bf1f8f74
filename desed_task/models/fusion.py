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
frame, default CRNN): frame 5,215,076 in all, interpolate and pool1d 1,227,236.

Published code calls the linear layer of `concatenated` cat_tf, the shrinking shrink_emb and the GRU frame_embs_encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pydantic import Field, field_validator
from torch import Tensor, nn

from desed_task.batch import Embedding
from desed_task.models.embedding import EmbeddingShape
from desed_task.models.fusion_joins import JOINS, JoinName
from desed_task.models.fusion_ways import FeatureShape, Way, WayName, build_way, without_runs
from desed_task.options import Options


class FusionOptions(Options):
    """How embeddings join the CRNN's features."""

    ways: Mapping[str, WayName] = Field(
        min_length=1, description="By embedder: global, frame, interpolate, pool1d or aligned."
    )
    join: JoinName = Field("concatenated", description="How they join the features.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before they are joined; 2024 has that of the CRNN.")
    dropstep: float = Field(
        0.0, ge=0, le=1, description="Largest share of the frames that a dropstep hides (2024: .3); 0 is none."
    )
    dropstep_frames: int = Field(16, ge=1, description="Longest run that a dropstep hides, frames.")

    @field_validator("ways")
    @classmethod
    def _nameable(cls, ways: Mapping[str, WayName]) -> Mapping[str, WayName]:
        for name in ways:
            if not name.isidentifier() or hasattr(nn.ModuleDict(), name):
                raise ValueError(f"an embedder cannot be called {name!r}; take letters, digits and _, as in ast_frames")
        return ways


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
        features = FeatureShape(frames, width, time_pooling)
        ways = {name: build_way(way, name, shapes[name], features) for name, way in options.ways.items()}
        self.ways: Mapping[str, Way] = nn.ModuleDict(ways)  # type: ignore[assignment]
        self.join = JOINS[options.join](width, [way.width for way in ways.values()], options.dropout)
        # Frames of the longest run that a dropstep hides.
        self.longest_run = min(options.dropstep_frames, int(options.dropstep * frames))

    def forward(self, x: Tensor, embeddings: Mapping[str, Embedding]) -> Tensor:
        """Features joined by every embedding, see the class."""
        others = [way(embeddings[name].values.to(x.dtype)) for name, way in self.ways.items()]
        if self.training and self.longest_run:
            # Drawn apart for the features and for each embedding (2024).
            x, *others = map(partial(without_runs, longest=self.longest_run), (x, *others))
        joined: Tensor = self.join(x, others)
        return joined
