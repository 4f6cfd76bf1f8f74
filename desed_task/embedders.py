"""Embedders of a conf: what there is to choose from, and how one is built from its options.

    panns, ast   the published networks, with their front-ends; weights as published
    network      any front-end and model of ours, with weights as published or of a training
    tagger       a checkpoint of a tagging recipe, whose front-end and model it says itself
    extracted    what another program extracted from every clip, of a network that is not here (BEATs)

`resolved` makes a `network` of a tagger, so that what a detector's checkpoint stores needs no other file to be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, TypeAdapter
from torch import nn

from desed_task.clips import ClipSet
from desed_task.embeddings.base_options import BaseEmbedderOptions
from desed_task.embeddings.embedder import Embedder, Hearing, Network, mel_clock, shape_heard
from desed_task.embeddings.extracted import ExtractedEmbedder, ExtractedOptions
from desed_task.embeddings.reading import EmbeddingReader
from desed_task.embeddings.store import StoredForm, open_embeddings
from desed_task.errors import CheckpointError, OptionsError
from desed_task.features.kaldi import KaldiOptions
from desed_task.features.panns import PANNsOptions
from desed_task.models.ast import ASTOptions
from desed_task.models.cnn14 import Cnn14Options
from desed_task.models.embedding import EmbeddingShape
from desed_task.models.tagger import InputShape
from desed_task.published.checkpoint import read_checkpoint
from desed_task.published.taggers import load_initial
from desed_task.training.run_folder import find_checkpoint
from desed_task.variants import FRONTENDS, MODELS, Features, Model

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
    weights: Path | None = Field(None, description="File of its weights.")


class PANNsEmbedderOptions(NetworkOptions):
    """A PANN: Cnn14 at 16 kHz, as the DESED baselines listen to it."""

    name: Literal["panns"] = "panns"  # type: ignore[assignment]
    features: PANNsOptions = Field(PANNsOptions(sample_rate=16000), description="Its front-end; 32000 Hz is Cnn14's.")
    model: Cnn14Options = Field(Cnn14Options(), description="The network.")


class ASTEmbedderOptions(NetworkOptions):
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


class BuiltEmbedder:
    """An embedder of a system whose waveforms have `system_rate` samples per second.

    clip_seconds: of the system.
    """

    def __init__(self, options: NetworkOptions, system_rate: int, clip_seconds: float) -> None:
        self.options, self.system_rate, self.clip_seconds = options, system_rate, clip_seconds

    def hearing(self, exportable: bool = False) -> Hearing:
        """What it hears."""
        features = self.options.features
        frontend = FRONTENDS[features.name](features, exportable)
        return Hearing(frontend, features.sample_rate, self.system_rate)

    def network(self) -> Network:
        """The network, untrained. OptionsError for an output that it does not offer."""
        model: nn.Module = MODELS[self.options.model.name](
            self.options.model, self._input_shape(), self.options.num_classes
        )
        try:
            return Network(model, self.options.output)
        except ValueError as error:
            raise OptionsError(f"embedders: {error}") from None

    def trained_network(self) -> Network:
        """The network with its weights. CheckpointError when they cannot be read or do not fit."""
        network, weights = self.network(), self.options.weights
        if weights is None:
            raise CheckpointError(f"embedders: no weights are named for {self.options.name}; set weights to their file")
        load_initial(network.network, weights, self.options.features)
        return network

    def embedder(self, exportable: bool = False) -> Embedder:
        """Frozen, with its weights."""
        return Embedder(self.hearing(exportable), self.trained_network())

    def stored_form(self) -> StoredForm:
        """What a store of its embeddings must hold: of a clip, (frames, dim), and which of its embeddings."""
        shape = self.shape(self.options.features)
        return StoredForm(self.options.output, shape.frames, shape.dim, shape.is_timed)

    def reader(self, clip_set: ClipSet) -> EmbeddingReader:
        """The embeddings of a set, for mode stored; CorpusError where they are not there or of another form."""
        assert self.options.store is not None, "mode stored has a store"
        return open_embeddings(self.options.store, clip_set, self.stored_form())

    def shape(self, listener: Any) -> EmbeddingShape:
        """Of the embedding of a clip, on the clock of the listener's front-end (its options); needs no weights."""
        features = self.options.features
        mel_frames = features.num_frames(ceil(round(self.clip_seconds * self.system_rate) * self._rate_ratio))
        with torch.device("meta"):  # nothing is computed
            heard = torch.zeros(1, mel_frames, features.num_bands)
            return shape_heard(self.network(), heard, mel_clock(features), mel_clock(listener))

    @property
    def _rate_ratio(self) -> float:
        return self.options.features.sample_rate / self.system_rate

    def _input_shape(self) -> InputShape:
        features = self.options.features
        seconds = self.options.clip_seconds or self.clip_seconds
        return InputShape(features.num_frames(round(seconds * features.sample_rate)), features.num_bands)


AnyEmbedder = BuiltEmbedder | ExtractedEmbedder


def build_embedders(options: Mapping[str, Any], system_rate: int, clip_seconds: float) -> dict[str, AnyEmbedder]:
    """Each embedder of a conf, by the name it has there."""
    return {name: _build_embedder(resolved(one), system_rate, clip_seconds) for name, one in options.items()}


def _build_embedder(options: NetworkOptions | ExtractedOptions, system_rate: int, clip_seconds: float) -> AnyEmbedder:
    if isinstance(options, ExtractedOptions):
        return ExtractedEmbedder(options)
    return BuiltEmbedder(options, system_rate, clip_seconds)
