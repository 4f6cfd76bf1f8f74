"""The detector: its options, what is built from them, and the course of its training.

A training: read the conf, check everything, pack the audio, fit, then score the best student and teacher on the test
set. What detectors share with taggers is in `system`, what there is to choose from in `variants`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pytorch_lightning import seed_everything
from torch import Tensor, nn

from desed_task.augment.mixup import MixupOptions
from desed_task.clips import ClipSet, Supervision, join_clip_sets
from desed_task.data.dataset import CPU, BatchDataset
from desed_task.data.joined import open_stores
from desed_task.data.online_options import OnlineOptions
from desed_task.data.online_scenes import OnlineScenes
from desed_task.data.resident import build_excerpts
from desed_task.data.source import Share, Source
from desed_task.data.stored_source import StoredSource
from desed_task.embedders.options import resolved
from desed_task.embedders.weights import recorded, with_weights_beside
from desed_task.embeddings.ears import Ears
from desed_task.embeddings.learning import joined_weights
from desed_task.embeddings.reading import EmbeddingReader
from desed_task.errors import CheckpointError, CorpusError, OptionsError
from desed_task.events import EventTable
from desed_task.features.logmel import LogMelOptions
from desed_task.labels import LabelSet
from desed_task.metrics.report import Report, evaluate
from desed_task.models.crnn import CRNNOptions
from desed_task.options import Options, check_options
from desed_task.postprocessing.pipeline import build_postprocessing
from desed_task.published.checkpoint import (
    HYPER_PARAMETERS,
    MODELS,
    is_published,
    read_checkpoint,
    translate_checkpoint,
    weights_of,
)
from desed_task.published.fused_weights import detector_weights, embedder_weights
from desed_task.published.years import ScalerRange
from desed_task.scores import Scores
from desed_task.system import (
    HeardOptions,
    System,
    SystemOptions,
    build_augmentations,
    build_ears,
    build_grid,
    build_model,
    decoded_waveforms,
    describe,
    embedders_of,
    load_learning,
    load_models,
    predict_waveforms,
    stored_tree,
)
from desed_task.timeline import FrameGrid
from desed_task.training.run_folder import find_checkpoint
from desed_task.training.sed_module import SedModule
from desed_task.training.training_options import TrainingOptions
from desed_task.variants import CORPORA, AugmentationOptions, Corpus, Features, Model, TrainingCorpus
from desed_task.windowing import Windowing

RECIPE = "recipes/train_sed.py"


class TrainingSource(Options):
    """One source of training clips."""

    corpus: TrainingCorpus = Field(description="Where the clips are, or how they are made.")
    more: tuple[Corpus, ...] = Field((), description="Further corpora whose clips are drawn together with its own.")
    supervision: Supervision = Field(description="What is used of its labels: strong, weak or none.")
    batch_size: int = Field(ge=1, description="Its clips per batch.")

    @model_validator(mode="after")
    def _consistent(self) -> TrainingSource:
        if self.more and isinstance(self.corpus, OnlineOptions):
            raise ValueError("`more` cannot stand beside online scenes; make it a source of its own in data.train")
        return self


class EvaluationSource(Options):
    """One set that systems are scored on."""

    corpus: Corpus = Field(description="Where the clips are.")
    supervision: Literal["strong", "weak"] = Field(
        "strong", description="strong, or weak for a set that is scored by its tags."
    )


class DataOptions(HeardOptions):
    """What is trained on, selected by and tested on."""

    overlap_frames: int = Field(16, ge=0, description="Frames that neighbouring windows of a longer recording share.")
    train: tuple[TrainingSource, ...] = Field(min_length=1, description="The sources of each batch.")
    validation: tuple[EvaluationSource, ...] = Field(min_length=1, description="What the student is selected by.")
    test: EvaluationSource = Field(description="What the report is about (strong labels).")
    strong_real: Corpus | None = Field(
        None, description="Real strongly labelled recordings that --strong_real adds to the first strong source."
    )
    eval: Corpus | None = Field(None, description="What --eval_from_checkpoint listens to; its labels are not read.")
    evaluation_length: Literal["own", "clip"] = Field(
        "own",
        description="Recordings are evaluated at their own length, or padded or cut at random to clip_seconds as "
        "published.",
    )


class SedOptions(SystemOptions):
    """A detector: its classes, front-end, model, data, training and post-processing."""

    features: Features = Field(LogMelOptions(), description="From a waveform to what the model hears.")
    model: Model = Field(CRNNOptions(), description="The network.")
    augmentations: tuple[AugmentationOptions, ...] = Field((MixupOptions(),), description="In the order of their use.")
    data: DataOptions = Field(description="What is trained on, selected by and tested on.")
    training: TrainingOptions = Field(TrainingOptions(), description="The course of the training.")

    @classmethod
    def completed(cls, tree: Mapping[str, Any]) -> Mapping[str, Any]:
        """Confs of detectors need not name the usual front-end and model."""
        usual = {"features": "logmel", "model": "crnn"}
        named = {key: {"name": name, **tree[key]} for key, name in usual.items() if isinstance(tree.get(key), dict)}
        return {**tree, **named}

    @model_validator(mode="after")
    def _consistent(self) -> SedOptions:
        grid = build_grid(self)
        window_frames = grid.num_frames(grid.num_samples(self.data.clip_seconds))
        if self.data.overlap_frames >= window_frames:
            raise ValueError(
                f"data.overlap_frames {self.data.overlap_frames} is not less than the {window_frames} frames of "
                f"data.clip_seconds {self.data.clip_seconds:g}; overlap less or take longer clips"
            )
        if self.data.test.supervision != "strong":
            raise ValueError("data.test.supervision must be strong: PSDS and collar F1 need onsets and offsets")
        return self

    def with_strong_real(self) -> SedOptions:
        """The same with `data.strong_real` among the clips of the first strong source; OptionsError without one."""
        sources = self.data.train
        strong = next((number for number, source in enumerate(sources) if source.supervision == "strong"), None)
        if self.data.strong_real is None or strong is None:
            lacking = "data.strong_real is not set" if strong is not None else "no training source is strong"
            raise OptionsError(f"--strong_real: {lacking} in the conf; name the corpus there or leave the flag out")
        if isinstance(sources[strong].corpus, OnlineOptions):
            raise OptionsError(
                "--strong_real: the first strong source of the conf is online; put one with recordings before it"
            )
        joined = sources[strong].model_copy(update={"more": (*sources[strong].more, self.data.strong_real)})
        data = {"train": (*sources[:strong], joined, *sources[strong + 1 :]), "strong_real": None}
        return self.model_copy(update={"data": self.data.model_copy(update=data)})


def build_system(options: SedOptions, models: Mapping[str, nn.Module]) -> System[SedOptions]:
    """Models and everything around them."""
    labels, grid = LabelSet(options.labels), build_grid(options)
    return System(
        options,
        models,
        labels,
        grid,
        Windowing(grid, options.data.clip_seconds, options.data.overlap_frames),
        build_postprocessing(options.postprocessing, labels, grid),
    )


def build_clip_set(source: TrainingSource | EvaluationSource, labels: LabelSet, limit: int | None = None) -> ClipSet:
    """Read a corpus and check it; `limit` keeps the first clips (fast development runs). Online there is none yet."""
    if isinstance(source.corpus, OnlineOptions):
        return ClipSet(source.corpus.title, (), source.supervision)
    corpora = (source.corpus, *source.more) if isinstance(source, TrainingSource) else (source.corpus,)
    clip_set = join_clip_sets([_read_corpus(corpus, source.supervision, labels) for corpus in corpora])
    if isinstance(source, EvaluationSource) and source.supervision == "strong":
        _require_no_overlaps(clip_set)
    return clip_set if limit is None else clip_set.select(list(range(min(limit, len(clip_set.clips)))))


def build_eval_set(options: SedOptions, limit: int | None = None) -> ClipSet:
    """The recordings that are listened to without labels; OptionsError when the conf names none."""
    if options.data.eval is None:
        raise OptionsError(
            "data.eval: not set; name the recordings, such as --set 'data.eval={name: folder, root: RECORDINGS}'"
        )
    clip_set = CORPORA[options.data.eval.name](options.data.eval, "none", None)
    return clip_set if limit is None else clip_set.select(list(range(min(limit, len(clip_set.clips)))))


def _read_corpus(corpus: Any, supervision: Supervision, labels: LabelSet) -> ClipSet:
    return CORPORA[corpus.name](corpus, supervision, None if supervision == "none" else labels)


def _require_no_overlaps(clip_set: ClipSet) -> None:
    """CorpusError when events of one class overlap: PSDS would refuse them, hours later."""
    for audio_id, events in clip_set.events.items():
        for one, other in pairwise(sorted(events, key=lambda event: (event.event_label, event.onset))):
            if one.event_label == other.event_label and other.onset < one.offset:
                raise CorpusError(
                    f"{clip_set.name}: two {one.event_label} events of {audio_id} overlap at {other.onset:.3f} s, "
                    f"for which PSDS is not defined; merge them"
                )


def build_dataset(
    options: SedOptions,
    clip_sets: Sequence[ClipSet],
    labels: LabelSet,
    grid: FrameGrid,
    device: torch.device = CPU,
    share: Share = Share(),  # noqa: B008  frozen
) -> BatchDataset:
    """Training batches of `clip_sets` on `device`, one set per source of the conf; packs what is not packed yet.

    share: which rows of each batch are made, those of one rank.
    """
    num_samples = grid.num_samples(options.data.clip_seconds)
    stores = {
        number: open_stores(clip_set, options.data.store, options.features.sample_rate)
        for number, (source, clip_set) in enumerate(zip(options.data.train, clip_sets, strict=True))
        if not isinstance(source.corpus, OnlineOptions)
    }
    excerpts = dict(zip(stores, build_excerpts(list(stores.values()), device, options.data.residence), strict=True))
    sources: list[Source] = [
        OnlineScenes(source.corpus, source.supervision, source.batch_size, labels, grid, device)
        if isinstance(source.corpus, OnlineOptions)
        else StoredSource(
            clip_sets[number], stores[number], source.batch_size, labels, grid, num_samples, excerpts[number]
        )
        for number, source in enumerate(options.data.train)
    ]
    num_frames = grid.num_frames(num_samples)
    stored = [open_readers(options, clip_set) for clip_set in clip_sets]
    for number, store in stores.items():
        if stored[number] and int(store.lengths.max()) >= num_samples + grid.frame_samples:
            raise CorpusError(
                f"{clip_sets[number].name}: {store.audio_ids[int(store.lengths.argmax())]} is longer than "
                f"data.clip_seconds {options.data.clip_seconds:g}, and stored embeddings are of whole recordings; set "
                f"the embedder's mode to frozen"
            )
    return BatchDataset(sources, num_samples, num_frames, len(labels), options.training.seed, share, device, stored)


def open_readers(options: SedOptions, clip_set: ClipSet) -> dict[str, EmbeddingReader]:
    """By embedder of mode stored, the embeddings of a set; CorpusError where they are not there or of other clips."""
    return {
        name: embedder.reader(clip_set)
        for name, embedder in embedders_of(options).items()
        if embedder.options.mode == "stored"
    }


def with_resolved_embedders(options: SedOptions) -> SedOptions:
    """The same, in which every embedder says its network itself, and the sha256 of its weights. CheckpointError.

    For a training that begins: what its checkpoints store.
    """
    embedders = {name: recorded(resolved(one)) for name, one in options.embedders.items()}
    return options.model_copy(update={"embedders": embedders})


def build_module(
    options: SedOptions,
    dataset: BatchDataset,
    validation: Callable[[nn.Module, Ears], Mapping[str, float]],
    begins: bool = True,
) -> SedModule:
    """The student (seeded), its teacher and their training.

    begins: False for a training that goes on, whose checkpoint holds the weights of embedders that learn.
    """
    seed_everything(options.training.seed, verbose=False)
    student, ears = build_model(options), build_ears(options)
    if begins:
        load_learning(student, options)
    return SedModule(
        student,
        ears,
        options.training,
        build_augmentations(options),
        dataset.steps_per_epoch,
        lambda model: validation(model, ears),
        {"task": "detection", **describe(options)},
        {name: one.learning_rate for name, one in options.embedders.items() if one.mode == "learning"},
    )


def load_system(path: Path, scaler_range: ScalerRange | None = None) -> System[SedOptions]:
    """The system of a checkpoint (or of a run folder's best), in eval mode on the CPU; else CheckpointError.

    Checkpoints of the published code (2022-2024) are read too; `scaler_range` is for those that do not tell theirs.
    """
    path = find_checkpoint(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    return system_of(read_checkpoint(path), path, scaler_range)


def system_of(checkpoint: Mapping[str, Any], path: Path, scaler_range: ScalerRange | None = None) -> System[SedOptions]:
    """As `load_system`, of what the checkpoint at `path` holds."""
    if is_published(checkpoint):
        tree = translate_checkpoint(checkpoint, path, scaler_range)
    else:
        tree = stored_tree(checkpoint, path, RECIPE, f", no published {HYPER_PARAMETERS}")
        if scaler_range is not None:
            raise CheckpointError(f"--scaler_range: {path} says itself which it was trained with; leave the flag out")
    options = check_options(tree, SedOptions, default_origin=str(path))
    embedders = {name: with_weights_beside(one, path.parent) for name, one in options.embedders.items()}
    options = options.model_copy(update={"embedders": embedders})
    stored = {name: weights for name in MODELS if (weights := weights_of(checkpoint, name)) is not None}
    if is_published(checkpoint):
        stored = _published_weights(checkpoint, stored, options, path)
    models = load_models(stored, options, path)
    if not models:
        raise CheckpointError(f"{path}: holds no model (sed_student, sed_teacher); train it again")
    return build_system(options, models)


def _published_weights(
    checkpoint: Mapping[str, Any], stored: Mapping[str, dict[str, Tensor]], options: SedOptions, path: Path
) -> dict[str, dict[str, Tensor]]:
    """Of every model, by the names that weights have here."""
    weights = dict(stored)
    for name, embedder in embedders_of(options).items():
        weights = {model: detector_weights(of_model, name) for model, of_model in weights.items()}
        if embedder.options.mode == "learning":
            learned = {name: embedder_weights(checkpoint, embedder.learner().network, path)}
            weights = {model: joined_weights(of_model, learned) for model, of_model in weights.items()}
    return weights


def predict_clip_set(system: System[SedOptions], model: nn.Module, clip_set: ClipSet) -> dict[str, Scores]:
    """Scores of every clip, decoded from its file as the service decodes it; stored embeddings are read."""
    waveforms = as_evaluated(decoded_waveforms(clip_set, system.grid.sample_rate), system)
    return predict_waveforms(system, model, waveforms, open_readers(system.options, clip_set))


def as_evaluated(
    waveforms: Iterable[tuple[str, NDArray[np.float32]]], system: System[SedOptions]
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(audio_id, waveform) at the length that `data.evaluation_length` asks for."""
    rng = np.random.default_rng(system.options.training.seed)
    for audio_id, waveform in waveforms:
        own = system.options.data.evaluation_length == "own"
        yield audio_id, waveform if own else fit_to_length(waveform, system.windowing.window_samples, rng)


def fit_to_length(waveform: NDArray[np.float32], num_samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Padded with zeros, or cut to a random excerpt, as the published test does: (num_samples,)."""
    first = int(rng.integers(0, max(0, len(waveform) - num_samples) + 1))
    excerpt = waveform[first : first + num_samples]
    return np.pad(excerpt, (0, num_samples - len(excerpt)))


def evaluate_clip_set(system: System[SedOptions], scores: Mapping[str, Scores], clip_set: ClipSet) -> Report:
    """The report of some scores on a strongly labelled set."""
    return evaluate(
        scores,
        EventTable(dict(clip_set.events)),
        {clip.audio_id: clip.duration for clip in clip_set.clips},
        system.postprocessing,
        files_expected=clip_set.files_expected,
    )
