"""The tagger: its options, what is built from them, and its checkpoints read back.

A tagger is trained on what is known about whole clips, and hears recordings of any length through chunks of
`data.clip_seconds` whose scores are pooled (`data.view`). Where its model gives frame scores it detects, too. What
taggers share with detectors is in `system`, what there is to choose from in `variants`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator
from pytorch_lightning import seed_everything
from torch import nn

from desed_task.chunking import Chunking, ClipPooling, Short, Tail
from desed_task.clips import ClipSet
from desed_task.data.corpora.class_tables import read_class_names
from desed_task.data.corpora.tagging_corpora import TAGGING_CORPORA, TaggingCorpus
from desed_task.data.dataset import CPU, BatchDataset
from desed_task.data.source import Share
from desed_task.data.tagging_options import TaggingSource
from desed_task.data.tagging_sources import build_tagged_sources, read_tagging_clips
from desed_task.embeddings.ears import Ears
from desed_task.errors import CheckpointError, CorpusError
from desed_task.labels import LabelSet
from desed_task.options import Options, check_options
from desed_task.postprocessing.pipeline import build_postprocessing
from desed_task.published.checkpoint import read_checkpoint
from desed_task.published.hugging_face import is_hugging_face
from desed_task.published.taggers import InitialWeights, initialise, load_initial
from desed_task.system import (
    HeardOptions,
    System,
    SystemOptions,
    build_augmentations,
    build_ears,
    build_grid,
    build_model,
    describe,
    load_models,
    stored_tree,
)
from desed_task.timeline import FrameGrid
from desed_task.training.class_weights import read_class_weights
from desed_task.training.run_folder import find_checkpoint
from desed_task.training.tagging_module import MODEL, TaggingModule
from desed_task.training.tagging_options import TaggingTrainingOptions
from desed_task.variants import AugmentationOptions

RECIPE = "recipes/train_tagging.py"
TASK = "tagging"
VALIDATION = "validation"
TaggingValidator = Callable[[nn.Module, Ears], Mapping[str, float]]
SetPredictor = Callable[[nn.Module, Ears], Mapping[str, NDArray[np.float32]]]


class ViewOptions(Options):
    """How a recording is heard that is not as long as data.clip_seconds: through chunks of that length."""

    hop_seconds: float | None = Field(
        None, gt=0, description="From the beginning of one chunk to that of the next; null: data.clip_seconds."
    )
    tail: Tail = Field(
        "shift", description="The rest at a recording's end: tile repeats it, shift moves the chunk back, drop, zeros."
    )
    short: Short = Field("zeros", description="A recording shorter than a chunk: tile repeats it, or zeros.")
    clip_scores: ClipPooling = Field(
        "mean_logit", description="Scores of the chunks -> that of the recording: mean_logit, mean, max or soft."
    )
    exponent: float | None = Field(
        None, description="Of soft (0 is mean_logit, a large one max); null: learned on the validation set at the end."
    )


class TaggingData(HeardOptions):
    """What is trained on, selected by and evaluated on."""

    view: ViewOptions = Field(ViewOptions(), description="How recordings of other lengths are heard.")
    train: tuple[TaggingSource, ...] = Field(min_length=1, description="The sources of each batch.")
    validation: TaggingCorpus | None = Field(
        description="What the epoch is selected by; null: nothing is left out of the training, its last epoch counts."
    )
    evaluation: dict[str, TaggingCorpus] = Field(
        default_factory=dict, description="What the report is about: further sets by their names, such as eval."
    )

    @field_validator("evaluation")
    @classmethod
    def _nameable(cls, evaluation: dict[str, Any]) -> dict[str, Any]:
        """Reports lie in folders of these names, beside that of the validation set."""
        for name in evaluation:
            if name == VALIDATION:
                raise ValueError(f"{name} is what data.validation is called; name this set otherwise, such as eval")
            if not re.fullmatch(r"\w[\w .+-]*", name):
                raise ValueError(f"{name!r} cannot name a folder of reports; take letters, digits, . _ + and -")
        return evaluation


class TaggingOptions(SystemOptions):
    """A tagger: its classes, front-end, model, data and training."""

    augmentations: tuple[AugmentationOptions, ...] = Field((), description="In the order of their use.")
    data: TaggingData = Field(description="What is trained on, selected by and evaluated on.")
    training: TaggingTrainingOptions = Field(TaggingTrainingOptions(), description="The course of the training.")

    @field_validator("labels", mode="before")
    @classmethod
    def _read(cls, labels: Any) -> Any:
        """A table of classes may stand in place of their names: its path."""
        if isinstance(labels, str | Path):
            return read_class_names(Path(labels))
        return tuple(labels) if isinstance(labels, list) else labels  # strict checks take no list from Python

    @model_validator(mode="after")
    def _consistent(self) -> TaggingOptions:
        build_view(self)
        training = self.training
        if self.data.validation is None:
            self._require_no_validation()
        for key, epochs in (("weight_averaging", training.weight_averaging), ("ensemble", training.ensemble)):
            if epochs is not None and training.validation_interval > 1:
                raise ValueError(
                    f"training.{key} counts every epoch in after its validation, and validation_interval is "
                    f"{training.validation_interval}; set it to 1"
                )
        return self

    def _require_no_validation(self) -> None:
        needed = {
            "training.schedule plateau": self.training.schedule.name == "plateau",
            "data.view.exponent null (learned)": self.data.view.clip_scores == "soft"
            and self.data.view.exponent is None,
            f"training.early_stop_patience {self.training.early_stop_patience}": self.training.early_stop_patience
            < self.training.n_epochs,
        }
        for what, asked in needed.items():
            if asked:
                raise ValueError(f"{what} goes by the validation set, and data.validation is null; set one of them")


Tagger = System[TaggingOptions]


def build_view(options: TaggingOptions) -> Chunking:
    """How recordings are heard; ValueError when hop and length do not fit."""
    view, seconds = options.data.view, options.data.clip_seconds
    exponent = 1.0 if view.exponent is None else view.exponent
    hop = seconds if view.hop_seconds is None else view.hop_seconds
    return Chunking(build_grid(options), seconds, hop, view.tail, view.short, view.clip_scores, exponent)


def build_tagger(options: TaggingOptions, models: Mapping[str, nn.Module]) -> Tagger:
    """Models and everything around them."""
    labels, grid = LabelSet(options.labels), build_grid(options)
    postprocessing = build_postprocessing(options.postprocessing, labels, grid)
    return System(options, models, labels, grid, build_view(options), postprocessing)


def with_exponent(options: TaggingOptions, exponent: float) -> TaggingOptions:
    """The same, with a learned exponent of the pooling."""
    view = options.data.view.model_copy(update={"exponent": exponent})
    return options.model_copy(update={"data": options.data.model_copy(update={"view": view})})


def read_training_sets(options: TaggingOptions, labels: LabelSet, limit: int | None = None) -> list[ClipSet]:
    """The clips of each source; `limit`, in batches, keeps the first ones (fast development runs)."""
    clip_sets = [read_tagging_clips(source, labels) for source in options.data.train]
    if limit is None:
        return clip_sets
    return [
        _first_clips(clip_set, limit * source.batch_size)
        for source, clip_set in zip(options.data.train, clip_sets, strict=True)
    ]


def read_evaluation_set(corpus: Any, labels: LabelSet, limit: int | None = None) -> ClipSet:
    """The clips of a set that taggers are scored on; CorpusError when none is there."""
    clip_set = TAGGING_CORPORA[corpus.name](corpus, "weak", labels)
    if not clip_set.clips:
        raise CorpusError(f"{clip_set.name}: none of its {clip_set.files_expected} recordings is there")
    return clip_set if limit is None else _first_clips(clip_set, limit)


def build_tagging_dataset(
    options: TaggingOptions,
    clip_sets: Sequence[ClipSet],
    labels: LabelSet,
    grid: FrameGrid,
    device: torch.device = CPU,
    share: Share = Share(),  # noqa: B008  frozen
) -> BatchDataset:
    """Training batches of `clip_sets` on `device`, one set per source of the conf; packs what is not packed yet."""
    data = options.data
    num_samples = grid.num_samples(data.clip_seconds)
    sources = build_tagged_sources(
        data.train, clip_sets, labels, grid.sample_rate, num_samples, data.store, device, data.residence
    )
    # Taggers learn from no frames, so none are encoded.
    return BatchDataset(sources, num_samples, 0, len(labels), options.training.seed, share, device)


def require_initial_weights(options: TaggingOptions) -> None:
    """CheckpointError when a file that a training is to begin from is not there, said before anything is packed."""
    for path in (options.training.init_from, getattr(options.model, "weights", None)):
        if path is not None and not path.is_file() and not is_hugging_face(path):
            raise CheckpointError(f"{path}: no such file of initial weights; correct the path, or fetch it")


def build_tagging_module(
    options: TaggingOptions,
    steps_per_epoch: int,
    validate: TaggingValidator,
    predict_sets: SetPredictor,
    begins: bool = True,
) -> tuple[TaggingModule, InitialWeights | None]:
    """The tagger (seeded, or begun from the weights that the conf names) and its training; what was loaded.

    begins: False for a training that goes on: its checkpoint has all weights, and what it began from may be gone.
    """
    seed_everything(options.training.seed, verbose=False)
    model, ears, training = build_model(options), build_ears(options), options.training
    loaded = _load_initial(model, options) if begins else None
    weights = training.class_weights
    module = TaggingModule(
        model,
        ears,
        training,
        build_augmentations(options),
        steps_per_epoch,
        lambda model: validate(model, ears),
        lambda model: predict_sets(model, ears),
        {"task": TASK, **describe(options)},
        None if weights is None else read_class_weights(weights, len(options.labels)),
    )
    return module, loaded


def published_tagger(path: Path, options: TaggingOptions) -> tuple[Tagger, InitialWeights]:
    """The tagger of a conf with the weights, head included, of a published file, in eval mode on the CPU; the report.

    CheckpointError when the file is of another network, other features or other classes.
    """
    model = build_model(options).eval()
    loaded = load_initial(model, path, options.features)
    if loaded.head:
        raise CheckpointError(
            f"{path}: has no head for the {len(options.labels)} classes of the conf ({loaded.head[0]}); name a conf of "
            f"the network as it was published, or train with --init_from"
        )
    return build_tagger(options, {MODEL: model}), loaded


def _load_initial(model: nn.Module, options: TaggingOptions) -> InitialWeights | None:
    path = options.training.init_from
    return initialise(model, options.features) if path is None else load_initial(model, path, options.features)


def load_tagger(path: Path) -> Tagger:
    """The tagger of a checkpoint (or of a run folder's best), in eval mode on the CPU; else CheckpointError."""
    path = find_checkpoint(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    return tagger_of(read_checkpoint(path), path)


def tagger_of(checkpoint: Mapping[str, Any], path: Path) -> Tagger:
    """As `load_tagger`, of what the checkpoint at `path` holds."""
    options = check_options(stored_tree(checkpoint, path, RECIPE), TaggingOptions, default_origin=str(path))
    weights = checkpoint.get(MODEL)
    if not isinstance(weights, Mapping):
        raise CheckpointError(f"{path}: holds no tagger ({MODEL}); train it again")
    return build_tagger(options, load_models({MODEL: weights}, options, path))


def _first_clips(clip_set: ClipSet, number: int) -> ClipSet:
    return clip_set.select(list(range(min(number, len(clip_set.clips)))))
