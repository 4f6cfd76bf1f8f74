"""Embedders of a conf: what there is to choose from.

    panns, ast   the published networks, with their front-ends; weights as published
    network      any front-end and model of ours, with weights as published or of a training
    tagger       a checkpoint of a tagging recipe, whose front-end and model it says itself
    extracted    what another program extracted from every clip, of a network that is not here (BEATs)

`resolved` makes a `network` of a tagger, so that what a detector's checkpoint stores needs no other file to be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from desed_task.embeddings.base_options import BaseEmbedderOptions
from desed_task.embeddings.extracted import ExtractedOptions
from desed_task.errors import CheckpointError
from desed_task.features.kaldi import KaldiOptions
from desed_task.features.panns import PANNsOptions
from desed_task.models.ast import ASTOptions
from desed_task.models.cnn14 import Cnn14Options
from desed_task.published.checkpoint import read_checkpoint
from desed_task.training.run_folder import find_checkpoint
from desed_task.variants import Features, Model

AUDIOSET_CLASSES = 527
# Where a checkpoint of ours says how it was made.
_DESCRIPTION = "desed_task"


class NetworkOptions(BaseEmbedderOptions):
    """Any network with embeddings, its front-end and its weights."""

    name: Literal["network"] = "network"
    features: Features = Field(description="From a waveform to what the network hears.")
    model: Model = Field(description="The network.")
    num_classes: int = Field(AUDIOSET_CLASSES, ge=1, description="Classes of its head.")
    clip_seconds: float | None = Field(None, gt=0, description="Length of what it learned from; null: the detector's.")
    weights: Path | None = Field(
        None, description="File of its weights, Hugging Face folder or hub id; null: as published (panns, ast)."
    )
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="Of that file; written down when a training begins, asked for after.",
    )


class PublishedOptions(NetworkOptions):
    """A network whose weights were published."""

    weights_dir: Path = Field(
        Path("pretrained"), description="Folder that published weights are fetched into, where weights is null."
    )


class PANNsEmbedderOptions(PublishedOptions):
    """A PANN: Cnn14 at 16 kHz, as the DESED baselines listen to it."""

    name: Literal["panns"] = "panns"  # type: ignore[assignment]
    features: PANNsOptions = Field(PANNsOptions(sample_rate=16000), description="Its front-end; 32000 Hz is Cnn14's.")
    model: Cnn14Options = Field(Cnn14Options(), description="The network.")


class ASTEmbedderOptions(PublishedOptions):
    """AST, trained on AudioSet."""

    name: Literal["ast"] = "ast"  # type: ignore[assignment]
    features: KaldiOptions = Field(KaldiOptions(target_frames=1024, std_scale=2), description="Its front-end.")
    model: ASTOptions = Field(ASTOptions(), description="The network.")


class TaggerOptions(BaseEmbedderOptions):
    """A tagger of a tagging recipe."""

    name: Literal["tagger"] = "tagger"
    checkpoint: Path = Field(description="Its checkpoint, or its run folder.")


EmbedderOptions = Annotated[
    PANNsEmbedderOptions | ASTEmbedderOptions | NetworkOptions | TaggerOptions | ExtractedOptions,
    Field(discriminator="name"),
]


def resolved(options: Any) -> NetworkOptions | ExtractedOptions:
    """The same without need of other files: of a tagger, what its checkpoint says; CheckpointError when it is none."""
    if not isinstance(options, TaggerOptions):
        assert isinstance(options, NetworkOptions | ExtractedOptions)
        return options
    path = find_checkpoint(options.checkpoint)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; name that of the tagger, or its run folder")
    described = read_checkpoint(path).get(_DESCRIPTION)
    if not isinstance(described, dict) or described.get("task") != "tagging":
        raise CheckpointError(f"{path}: no tagger of recipes/train_tagging.py; name one, or take network")
    stored = described["options"]
    return NetworkOptions(
        name="network",
        output=options.output,
        mode=options.mode,
        learning_rate=options.learning_rate,
        store=options.store,
        features=TypeAdapter(Features).validate_python(stored["features"]),
        model=TypeAdapter(Model).validate_python(stored["model"]),
        num_classes=len(stored["labels"]),
        clip_seconds=stored["data"]["clip_seconds"],
        weights=path,
    )
