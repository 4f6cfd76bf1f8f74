"""A system that listens, detector or tagger: its options, its parts built from them, its checkpoint read back.

What detectors and taggers have in common; what sets them apart is in `experiment` and `tagging`. What a checkpoint
stores (`describe`) is enough to test, serve or export it without the conf it came from.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import nn

from desed_task.audio.reading import read_waveform
from desed_task.clips import ClipSet
from desed_task.data.mapped import ClipStore, read_excerpt
from desed_task.data.resident import AskedResidence
from desed_task.embedders.build import AnyEmbedder, BuiltEmbedder, build_embedders
from desed_task.embedders.options import EmbedderOptions
from desed_task.embeddings.ears import Ears
from desed_task.embeddings.learning import Learning
from desed_task.embeddings.pooling import Listener
from desed_task.embeddings.reading import NO_READERS, Readers
from desed_task.errors import CheckpointError, OptionsError
from desed_task.labels import LabelSet
from desed_task.models.tagger import InputShape
from desed_task.options import Options
from desed_task.postprocessing.pipeline import PostProcessing, PostProcessingOptions, build_postprocessing
from desed_task.prediction import predict
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid
from desed_task.training.course_options import CourseOptions
from desed_task.training.energy import EnergyOptions
from desed_task.training.module import CHECKPOINT_KEY
from desed_task.training.run_folder import code_version
from desed_task.training.step import Augmentation
from desed_task.variants import AUGMENTATIONS, FRONTENDS, MODELS, AugmentationOptions, Features, Model
from desed_task.views import View

CHECKPOINT_FORMAT = 1


class HeardOptions(Options):
    """Where waveforms are kept, and how much of one a model hears at a time."""

    store: Path = Field(Path("data/store"), description="Where packed waveforms are kept.")
    residence: AskedResidence = Field(
        "auto",
        description="Where training clips lie: mapped (read from the store), resident (all in the memory of the "
        "training's device), or auto: resident on a GPU half of whose free memory suffices.",
    )
    clip_seconds: float = Field(10.0, gt=0, description="Length of a training clip and of the window a model hears.")


class SystemOptions(Options):
    """A system: its classes, front-end, model, data, training and post-processing."""

    labels: tuple[str, ...] = Field(min_length=1, description="Class names in the order of every class axis.")
    features: Features = Field(description="From a waveform to what the model hears.")
    model: Model = Field(description="The network.")
    embedders: Mapping[str, EmbedderOptions] = Field(
        {}, description="Pretrained networks that the model listens to, by the names that its fusion uses."
    )
    augmentations: tuple[AugmentationOptions, ...] = Field(description="In the order of their use.")
    data: HeardOptions = Field(description="What is trained on, selected by and tested on.")
    training: CourseOptions = Field(description="The course of the training.")
    postprocessing: PostProcessingOptions = Field(
        PostProcessingOptions(), description="From scores to events, in tests and in the service alike."
    )
    energy: EnergyOptions = Field(EnergyOptions(), description="How energy is metered.")

    @model_validator(mode="after")
    def _fits(self) -> SystemOptions:
        build_postprocessing(self.postprocessing, LabelSet(self.labels), build_grid(self))
        self.model.require_fit(input_shape(self))
        fusion = getattr(self.model, "fusion", None)
        heard = set() if fusion is None else set(fusion.ways)
        if heard != set(self.embedders):
            there, ways = (", ".join(sorted(names)) or "none" for names in (set(self.embedders), heard))
            raise ValueError(f"embedders are {there} and model.fusion.ways (of a crnn) names {ways}; name each in both")
        return self


O_co = TypeVar("O_co", bound=SystemOptions, covariant=True)


@dataclass(frozen=True)
class System(Generic[O_co]):
    """A system that can be run: options, models by name and everything around them."""

    options: O_co
    models: Mapping[str, nn.Module]
    labels: LabelSet
    grid: FrameGrid
    windowing: View
    postprocessing: PostProcessing

    @cached_property
    def ears(self) -> Ears:
        """What it hears with, made when it is first asked for."""
        return build_ears(self.options)

    def to(self, device: torch.device) -> System[O_co]:
        """Move models and ears, in place."""
        for module in (*self.models.values(), self.ears):
            module.to(device)
        return self


def build_grid(options: SystemOptions) -> FrameGrid:
    """The clocks of the model."""
    return FrameGrid(options.features.sample_rate, options.features.hop_length, options.model.time_pooling)


def embedders_of(options: SystemOptions) -> dict[str, AnyEmbedder]:
    """The embedders of a conf; CheckpointError for a tagger that cannot be read."""
    return build_embedders(
        options.embedders, options.features.sample_rate, options.data.clip_seconds, listener_of(options)
    )


def listener_of(options: SystemOptions) -> Listener:
    """The detector, as embedders see it."""
    grid = build_grid(options)
    frames = grid.num_frames(grid.num_samples(options.data.clip_seconds))
    return Listener(options.features, options.model.time_pooling, frames)


def input_shape(options: SystemOptions) -> InputShape:
    """What the model hears of one window, but for embeddings."""
    num_samples = build_grid(options).num_samples(options.data.clip_seconds)
    return InputShape(options.features.num_frames(num_samples), options.features.num_bands)


def build_model(options: SystemOptions) -> nn.Module:
    """An untrained model, with embedders that learn; OptionsError for embeddings that it cannot listen to."""
    embedders = embedders_of(options)
    shape = input_shape(options)._replace(
        embeddings={name: embedder.shape(options.features) for name, embedder in embedders.items()}
    )
    try:
        model = MODELS[options.model.name](options.model, shape, len(options.labels))
    except ValueError as error:
        raise OptionsError(f"model: {error}") from None
    learning = {
        name: one.learner()
        for name, one in embedders.items()
        if isinstance(one, BuiltEmbedder) and one.options.mode == "learning"
    }
    return Learning(model, learning) if learning else model


def build_frontend(options: SystemOptions, exportable: bool = False) -> Any:
    """waveform -> what the model hears; `exportable` has only operators that every ONNX execution provider runs."""
    return FRONTENDS[options.features.name](options.features, exportable)


def build_ears(options: SystemOptions, exportable: bool = False) -> Ears:
    """What a system hears with: its front-end, and embedders with their weights.

    CheckpointError when these cannot be read; those of stored embeddings are read only for clips that are not stored.
    """
    of_mode: dict[str, dict[str, AnyEmbedder]] = {"stored": {}, "frozen": {}, "learning": {}}
    for name, embedder in embedders_of(options).items():
        of_mode[embedder.options.mode][name] = embedder
    return Ears(
        build_frontend(options, exportable),
        {name: embedder.embedder(exportable) for name, embedder in of_mode["frozen"].items()},
        {name: embedder.hearing(exportable) for name, embedder in of_mode["learning"].items()},
        {name: partial(embedder.embedder, exportable) for name, embedder in of_mode["stored"].items()},
    )


def load_learning(model: nn.Module, options: SystemOptions) -> None:
    """Give embedders that learn the weights they begin with; CheckpointError when these cannot be read."""
    if isinstance(model, Learning):
        for name, embedder in embedders_of(options).items():
            if name in model.embedders:
                weights = embedder.trained_network().state_dict()
                model.embedders[name].load_state_dict({key: weights[key] for key in model.embedders[name].state_dict()})


def build_augmentations(options: SystemOptions) -> list[Augmentation]:
    """What alters training clips, in order."""
    frontend = build_frontend(options)

    def hear(path: Path) -> NDArray[np.float32]:
        waveform = torch.from_numpy(read_waveform(path, options.features.sample_rate))
        with torch.no_grad():
            heard: NDArray[np.float32] = frontend(waveform[None])[0].numpy()
        return heard

    return [AUGMENTATIONS[augmentation.name](augmentation, hear) for augmentation in options.augmentations]


def describe(options: SystemOptions) -> dict[str, Any]:
    """What a checkpoint stores beside the weights, as plain values."""
    grid = build_grid(options)
    scaled = {"scaler_range": list(options.features.scaler_range)} if options.features.name == "logmel" else {}
    return {
        "format": CHECKPOINT_FORMAT,
        "options": json.loads(options.model_dump_json()),
        "code": code_version(),
        "labels": list(options.labels),
        "grid": {"sample_rate": grid.sample_rate, "hop_length": grid.hop_length, "time_pooling": grid.time_pooling},
        **scaled,
        "postprocessing": json.loads(options.postprocessing.model_dump_json()),
    }


def stored_tree(checkpoint: Mapping[str, Any], path: Path, recipe: str, or_what: str = "") -> dict[str, Any]:
    """The options that a checkpoint of ours stores; CheckpointError when it stores none (nor `or_what`)."""
    stored = checkpoint.get(CHECKPOINT_KEY)
    if not isinstance(stored, dict) or stored.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"{path}: the checkpoint does not say how it was trained (no {CHECKPOINT_KEY!r} of format "
            f"{CHECKPOINT_FORMAT}{or_what}); train it with {recipe}"
        )
    options: dict[str, Any] = stored["options"]
    return options


def load_models(
    weights: Mapping[str, Mapping[str, torch.Tensor]], options: SystemOptions, path: Path
) -> dict[str, nn.Module]:
    """Models by name, in eval mode on the CPU; CheckpointError when their weights do not fit."""
    models = {}
    for name, of_model in weights.items():
        models[name] = build_model(options).eval()
        load_weights(models[name], of_model, f"{path}, {name}")
    return models


def load_weights(model: nn.Module, weights: Mapping[str, torch.Tensor], source: str) -> None:
    """Load a state dict strictly; CheckpointError reports all that does not fit."""
    mine = model.state_dict()
    other = [
        f"size mismatch for {name}, {tuple(weights[name].shape)} for {tuple(mine[name].shape)}"
        for name in mine
        if name in weights and weights[name].shape != mine[name].shape
    ]
    kinds = (
        ("Missing keys", [name for name in mine if name not in weights]),
        ("unexpected keys", [name for name in weights if name not in mine]),
    )
    faults = [f"{kind}: {_first_few(names)}" for kind, names in kinds if names]
    if faults or other:
        report = "; ".join([*faults, *([_first_few(other)] if other else [])])
        raise CheckpointError(f"{source}: the weights do not fit the model: {report}")
    model.load_state_dict(weights)


def predict_waveforms(
    system: System[SystemOptions],
    model: nn.Module,
    waveforms: Iterable[tuple[str, NDArray[np.float32]]],
    stored: Readers = NO_READERS,
) -> dict[str, Scores]:
    """Scores of every waveform, on the device of the model; `stored`: embeddings of theirs."""
    device = next(model.parameters()).device
    return predict(model, system.ears, waveforms, system.windowing, system.labels, device, stored=stored)


def decoded_waveforms(clip_set: ClipSet, sample_rate: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(audio_id, waveform) of every clip, decoded from its file as the service decodes it."""
    return ((clip.audio_id, read_waveform(clip.path, sample_rate)) for clip in clip_set.clips)


def stored_waveforms(store: ClipStore) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(audio_id, waveform) of every clip of a store."""
    for clip, audio_id in enumerate(store.audio_ids):
        yield audio_id, read_excerpt(store, clip, 0, int(store.lengths[clip]))


def _first_few(names: Sequence[str], limit: int = 6) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
