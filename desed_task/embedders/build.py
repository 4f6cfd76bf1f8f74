"""An embedder, built from its options: what it hears, its network, what a store of its embeddings holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from desed_task.clips import ClipSet
from desed_task.embedders.options import NetworkOptions, resolved
from desed_task.embedders.weights import required_weights
from desed_task.embeddings.embedder import Embedder, Hearing, Network, mel_clock, shape_heard
from desed_task.embeddings.extracted import ExtractedEmbedder, ExtractedOptions
from desed_task.embeddings.origin import Origin
from desed_task.embeddings.pooling import Listener, Pooling, pooling_of
from desed_task.embeddings.pruning import parameters_in_use, prune
from desed_task.embeddings.reading import EmbeddingReader
from desed_task.embeddings.store import StoredForm, open_embeddings
from desed_task.embeddings.weight_files import sha256_of
from desed_task.errors import CheckpointError, OptionsError
from desed_task.models.ast import ASTOptions
from desed_task.models.embedding import EmbeddingShape
from desed_task.models.tagger import InputShape
from desed_task.published.taggers import InitialWeights, load_initial
from desed_task.variants import FRONTENDS, MODELS

LOG = logging.getLogger(__name__)
# At the end of a clip: a patch of AST.
_FRAMES_THAT_MAY_LACK = 16


class BuiltEmbedder:
    """An embedder of a system whose waveforms have `system_rate` samples per second.

    clip_seconds: of the system. listener: its detector, where there is one.
    """

    def __init__(
        self, options: NetworkOptions, system_rate: int, clip_seconds: float, listener: Listener | None = None
    ) -> None:
        self.options, self.system_rate, self.clip_seconds, self.listener = options, system_rate, clip_seconds, listener

    def hearing(self, exportable: bool = False) -> Hearing:
        """What it hears."""
        features = self.options.features
        frontend = FRONTENDS[features.name](features, exportable)
        return Hearing(frontend, features.sample_rate, self.system_rate)

    def network(self) -> Network:
        """The network, untrained.

        OptionsError for bands or clips that it cannot hear, or an output that it does not offer.
        """
        options = self.options
        self._require_whole_clip()
        try:
            model: nn.Module = MODELS[options.model.name](options.model, self._input_shape(), options.num_classes)
            return Network(model, options.output)
        except ValueError as error:
            raise OptionsError(f"embedders: {error}") from None

    def trained_network(self) -> Network:
        """The network with its weights; logs what was loaded. CheckpointError when they cannot be had or do not fit.

        A head that is missing, or of other classes, matters only for an embedding that is made of it.
        """
        network, weights = self.network(), required_weights(self.options)
        loaded = load_initial(network.network, weights, self.options.features)
        self._require_head(loaded)
        LOG.info("embedder %s: %s", self.options.name, loaded)
        return network

    def learner(self) -> Network:
        """The network, untrained, without what its embedding does not need."""
        return prune(self.network(), self._in_use())

    def embedder(self, exportable: bool = False) -> Embedder:
        """Frozen, with its weights, without what its embedding does not need."""
        pooling = self._pooling()
        with torch.inference_mode(False):  # made by one who only listens, it may be heard in a training next
            weights = None if pooling is None else pooling.weights()
            return Embedder(self.hearing(exportable), prune(self.trained_network(), self._in_use()), weights)

    def stored_form(self) -> StoredForm:
        """What a store of its embeddings must hold: of a clip, (frames, dim), which of its embeddings, of whom."""
        shape = self.shape(self.options.features)
        output = self.options.output
        return StoredForm(output, shape.frames, shape.dim, shape.is_timed, self.origin(), self._pooling())

    def origin(self) -> Origin:
        """What its embeddings are made of; weights that are not there, and of no known sha256, are not told."""
        made_of = json.loads(self.options.model_dump_json(include={"features", "model", "num_classes"}))
        made_of["model"].pop("weights", None)
        made_of["clip_seconds"] = self.options.clip_seconds or self.clip_seconds
        weights = self.options.weights
        known = self.options.sha256 or (sha256_of(weights) if weights is not None and weights.exists() else "")
        return Origin(made_of, known, self.clip_seconds)

    def reader(self, clip_set: ClipSet) -> EmbeddingReader:
        """The embeddings of a set, for mode stored; CorpusError where they are not there or of another form."""
        assert self.options.store is not None, "mode stored has a store"
        return open_embeddings(self.options.store, clip_set, self.stored_form())

    def shape(self, listener: Any) -> EmbeddingShape:
        """Of the embedding of a clip, on the clock of the listener's front-end (its options); needs no weights."""
        pooling = self._pooling()
        return self._own_shape(listener) if pooling is None else pooling.after

    def _pooling(self) -> Pooling | None:
        """How embeddings that are stored come in no more frames than the detector's."""
        if self.options.mode != "stored" or self.listener is None:
            return None
        return pooling_of(self._own_shape(self.listener.features), self.listener)

    def _own_shape(self, listener: Any) -> EmbeddingShape:
        with torch.device("meta"):  # nothing is computed
            return shape_heard(self.network(), self._heard(), mel_clock(self.options.features), mel_clock(listener))

    def _require_whole_clip(self) -> None:
        """OptionsError where the end of a clip would not be heard: a front-end or a model of a fixed length."""
        features, seconds = self.options.features, self.clip_seconds
        within = features
        if getattr(features, "target_frames", None) is not None:
            within = features.model_copy(update={"target_frames": None})
        mel_frames = within.num_frames(round(seconds * features.sample_rate))
        heard = self._heard().shape[1]
        if isinstance(self.options.model, ASTOptions):
            heard = min(heard, self.options.model.mel_frames_heard(self._input_shape()))
        if mel_frames - heard > _FRAMES_THAT_MAY_LACK:
            raise OptionsError(
                f"embedders: {self.options.name} hears {heard} mel frames, clips of {seconds:g} s have {mel_frames}; "
                f"take a shorter data.clip_seconds, or more features.target_frames (model.input_tdim)"
            )

    def _require_head(self, loaded: InitialWeights) -> None:
        """CheckpointError where the embedding is made of a head that was not loaded."""
        in_use = self._in_use() if loaded.head else ()
        needed = next((name for name in loaded.head if f"network.{name}" in in_use), None)
        if needed is not None:
            raise CheckpointError(
                f"{loaded.path}: output {self.options.output} is made of the head, and the file has no {needed} for "
                f"num_classes {self.options.num_classes}; set num_classes to its own, or take another output"
            )

    def _in_use(self) -> frozenset[str]:
        """The parameters that the embedding depends on."""
        with torch.inference_mode(False), torch.device("meta"):
            return parameters_in_use(self.network(), self._heard())

    def _heard(self) -> Tensor:
        """What the network hears of a clip, silent: (1, mel_frames, mel_bands)."""
        features = self.options.features
        rate_ratio = features.sample_rate / self.system_rate
        mel_frames = features.num_frames(ceil(round(self.clip_seconds * self.system_rate) * rate_ratio))
        return torch.zeros(1, mel_frames, features.num_bands)

    def _input_shape(self) -> InputShape:
        features = self.options.features
        seconds = self.options.clip_seconds or self.clip_seconds
        return InputShape(features.num_frames(round(seconds * features.sample_rate)), features.num_bands)


AnyEmbedder = BuiltEmbedder | ExtractedEmbedder


def build_embedders(
    options: Mapping[str, Any], system_rate: int, clip_seconds: float, listener: Listener | None = None
) -> dict[str, AnyEmbedder]:
    """Each embedder of a conf, by the name it has there."""
    return {name: build_embedder(resolved(one), system_rate, clip_seconds, listener) for name, one in options.items()}


def build_embedder(
    options: NetworkOptions | ExtractedOptions, system_rate: int, clip_seconds: float, listener: Listener | None = None
) -> AnyEmbedder:
    """One of them."""
    if isinstance(options, ExtractedOptions):
        return ExtractedEmbedder(options)
    return BuiltEmbedder(options, system_rate, clip_seconds, listener)
