"""Weights of a published model that listens to embeddings, as those of ours.

    shrink_emb.0, .1        fusion.ways.<embedder>.shrink.0, .1     linear layer and layer norm
    frame_embs_encoder      fusion.ways.<embedder>.encoder          GRU over the embedding frames
    cat_tf                  fusion.join.linear                      features and embeddings -> features

An embedder that learned (e2e, not freezed) is one network for student and teacher there, under `pretrained_model`, and
a part of each of the two here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from desed_task.errors import CheckpointError
from desed_task.published.checkpoint import weights_below
from desed_task.published.tagger_families import family_of

EMBEDDER = "pretrained_model."
# Published beginnings of names, and ours, {} being the embedder.
_FUSION = (
    ("shrink_emb.", "fusion.ways.{}.shrink."),
    ("frame_embs_encoder.", "fusion.ways.{}.encoder."),
    ("cat_tf.", "fusion.join.linear."),
)


def detector_weights(weights: Mapping[str, Tensor], embedder: str) -> dict[str, Tensor]:
    """The weights of a published model by the names that they have here."""
    fusion = [(theirs, ours.format(embedder)) for theirs, ours in _FUSION]
    return {_renamed(name, fusion): values for name, values in weights.items()}


def embedder_weights(checkpoint: Mapping[str, Any], network: nn.Module, path: Path) -> dict[str, Tensor]:
    """Those of the embedder that learned, as far as `network` has them; CheckpointError when there are none."""
    published = weights_below(checkpoint, EMBEDDER)
    if published is None:
        raise CheckpointError(
            f"{path}: the embedder learned in this training and the checkpoint holds no {EMBEDDER}*; name another "
            f"checkpoint of the training"
        )
    translated = family_of(published).translate(published, network, path).weights
    return {name: translated[name] for name in network.state_dict() if name in translated}


def _renamed(name: str, beginnings: Sequence[tuple[str, str]]) -> str:
    theirs, ours = next((pair for pair in beginnings if name.startswith(pair[0])), ("", ""))
    return ours + name.removeprefix(theirs)
