"""Composition root: the options of a detector, what is built from them, and the course of a training.

The only file that knows every variant. A training: read the conf, check everything, pack the audio, fit, then score
the best student and teacher on the test set. What a checkpoint stores (`describe`) is enough to test, serve or export
it without the conf it came from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from pytorch_lightning import seed_everything
from torch import nn

from desed_task.audio.reading import read_waveform
from desed_task.augment.filter_augment import FilterAugment, FilterAugmentOptions
from desed_task.augment.frequency_mask import FrequencyMask, FrequencyMaskOptions
from desed_task.augment.mixup import Mixup, MixupOptions
from desed_task.clips import ClipSet, Supervision, join_clip_sets
from desed_task.data.corpora.desed import DesedOptions, read_desed
from desed_task.data.corpora.esc import EscOptions, read_esc
from desed_task.data.corpora.folder import FolderOptions, read_folder
from desed_task.data.corpora.soundscapes import SoundscapesOptions, read_soundscapes
from desed_task.data.dataset import CPU, BatchDataset
from desed_task.data.joined import JoinedStore, open_stores
from desed_task.data.online_options import OnlineOptions
from desed_task.data.online_scenes import OnlineScenes
from desed_task.data.resident import AskedResidence, build_excerpts
from desed_task.data.source import Share, Source
from desed_task.data.store import PackedStore
from desed_task.data.stored_source import StoredSource
from desed_task.errors import CheckpointError, CorpusError, OptionsError
from desed_task.events import EventTable
from desed_task.features.logmel import LogMel, LogMelOptions
from desed_task.labels import LabelSet
from desed_task.metrics.report import Report, evaluate
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.options import Options, check_options
from desed_task.postprocessing.pipeline import PostProcessing, PostProcessingOptions, build_postprocessing
from desed_task.prediction import predict
from desed_task.published.checkpoint import (
    HYPER_PARAMETERS,
    MODELS,
    is_published,
    read_checkpoint,
    translate_checkpoint,
    weights_of,
)
from desed_task.published.years import ScalerRange
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid
from desed_task.training.energy import EnergyOptions
from desed_task.training.run_folder import code_version, find_checkpoint
from desed_task.training.sed_module import CHECKPOINT_KEY, SedModule
from desed_task.training.step import Augmentation
from desed_task.training.training_options import TrainingOptions
from desed_task.windowing import Windowing

CHECKPOINT_FORMAT = 1

Corpus = Annotated[SoundscapesOptions | DesedOptions | EscOptions | FolderOptions, Field(discriminator="name")]
TrainingCorpus = Annotated[
    SoundscapesOptions | DesedOptions | EscOptions | FolderOptions | OnlineOptions, Field(discriminator="name")
]
CORPORA: dict[str, Callable[[Any, Supervision, Collection[str] | None], ClipSet]] = {
    "soundscapes": read_soundscapes,
    "desed": read_desed,
    "esc10": read_esc,
    "esc50": read_esc,
    "folder": read_folder,
}
AugmentationOptions = Annotated[MixupOptions | FilterAugmentOptions | FrequencyMaskOptions, Field(discriminator="name")]
AUGMENTATIONS: dict[str, Callable[[Any], Augmentation]] = {
    "mixup": Mixup,
    "filter_augment": FilterAugment,
    "frequency_mask": FrequencyMask,
}


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


class DataOptions(Options):
    """What is trained on, selected by and tested on."""

    store: Path = Field(Path("data/store"), description="Where packed waveforms are kept.")
    residence: AskedResidence = Field(
        "auto",
        description="Where training clips lie: mapped (read from the store), resident (all in the memory of the "
        "training's device), or auto: resident on a GPU half of whose free memory suffices.",
    )
    clip_seconds: float = Field(10.0, gt=0, description="Length of a training clip and of the window a model hears.")
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


class SedOptions(Options):
    """A detector: its classes, front-end, model, data, training and post-processing."""

    labels: tuple[str, ...] = Field(min_length=1, description="Class names in the order of every class axis.")
    features: LogMelOptions = Field(LogMelOptions(), description="From a waveform to what the model hears.")
    model: CRNNOptions = Field(CRNNOptions(), description="The network.")
    augmentations: tuple[AugmentationOptions, ...] = Field((MixupOptions(),), description="In the order of their use.")
    data: DataOptions = Field(description="What is trained on, selected by and tested on.")
    training: TrainingOptions = Field(TrainingOptions(), description="The course of the training.")
    postprocessing: PostProcessingOptions = Field(
        PostProcessingOptions(), description="From scores to events, in tests and in the service alike."
    )
    energy: EnergyOptions = Field(EnergyOptions(), description="How energy is metered.")

    @model_validator(mode="after")
    def _consistent(self) -> SedOptions:
        labels, grid = LabelSet(self.labels), build_grid(self)
        build_postprocessing(self.postprocessing, labels, grid)
        if self.model.bands_left(self.features.n_mels) < 1:
            raise ValueError(
                f"model.pooling leaves nothing of features.n_mels {self.features.n_mels}; pool less or take more bands"
            )
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


@dataclass(frozen=True)
class System:
    """A detector that can be run: options, models by name (student, teacher), front-end and everything around them."""

    options: SedOptions
    models: Mapping[str, nn.Module]
    frontend: LogMel
    labels: LabelSet
    grid: FrameGrid
    windowing: Windowing
    postprocessing: PostProcessing

    def to(self, device: torch.device) -> System:
        """Move models and front-end, in place."""
        for module in (*self.models.values(), self.frontend):
            module.to(device)
        return self


def build_grid(options: SedOptions) -> FrameGrid:
    """The clocks of the model."""
    return FrameGrid(options.features.sample_rate, options.features.hop_length, options.model.time_pooling)


def build_model(options: SedOptions) -> nn.Module:
    """An untrained model."""
    return CRNN(options.model, options.features.n_mels, len(options.labels))


def build_frontend(options: SedOptions, exportable: bool = False) -> LogMel:
    """waveform -> what the model hears; `exportable` has only operators that every ONNX execution provider runs."""
    return LogMel(options.features, exportable)


def build_system(options: SedOptions, models: Mapping[str, nn.Module]) -> System:
    """Models and everything around them."""
    labels, grid = LabelSet(options.labels), build_grid(options)
    return System(
        options,
        models,
        build_frontend(options),
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
    return BatchDataset(sources, num_samples, num_frames, len(labels), options.training.seed, share, device)


def build_module(
    options: SedOptions, dataset: BatchDataset, validation: Callable[[nn.Module, LogMel], Mapping[str, float]]
) -> SedModule:
    """The student (seeded), its teacher and their training."""
    seed_everything(options.training.seed, verbose=False)
    student, frontend = build_model(options), build_frontend(options)
    return SedModule(
        student,
        frontend,
        options.training,
        [AUGMENTATIONS[augmentation.name](augmentation) for augmentation in options.augmentations],
        dataset.steps_per_epoch,
        lambda model: validation(model, frontend),
        describe(options),
    )


def describe(options: SedOptions) -> dict[str, Any]:
    """What a checkpoint stores beside the weights, as plain values."""
    grid = build_grid(options)
    return {
        "format": CHECKPOINT_FORMAT,
        "options": json.loads(options.model_dump_json()),
        "code": code_version(),
        "labels": list(options.labels),
        "grid": {"sample_rate": grid.sample_rate, "hop_length": grid.hop_length, "time_pooling": grid.time_pooling},
        "scaler_range": list(options.features.scaler_range),
        "postprocessing": json.loads(options.postprocessing.model_dump_json()),
    }


def load_system(path: Path, scaler_range: ScalerRange | None = None) -> System:
    """The system of a checkpoint (or of a run folder's best), in eval mode on the CPU; else CheckpointError.

    Checkpoints of the published code (2022-2024) are read too; `scaler_range` is for those that do not tell theirs.
    """
    path = find_checkpoint(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    checkpoint = read_checkpoint(path)
    if is_published(checkpoint):
        tree = translate_checkpoint(checkpoint, path, scaler_range)
    else:
        tree = _stored_tree(checkpoint, path)
        if scaler_range is not None:
            raise CheckpointError(f"--scaler_range: {path} says itself which it was trained with; leave the flag out")
    options = check_options(tree, SedOptions, default_origin=str(path))
    models: dict[str, nn.Module] = {}
    for name in MODELS:
        weights = weights_of(checkpoint, name)
        if weights is not None:
            models[name] = build_model(options).eval()
            load_weights(models[name], weights, f"{path}, {name}")
    if not models:
        raise CheckpointError(f"{path}: holds no model (sed_student, sed_teacher); train it again")
    return build_system(options, models)


def _stored_tree(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The options that a checkpoint of ours stores."""
    stored = checkpoint.get(CHECKPOINT_KEY)
    if not isinstance(stored, dict) or stored.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(
            f"{path}: the checkpoint does not say how it was trained (no {CHECKPOINT_KEY!r} of format "
            f"{CHECKPOINT_FORMAT}, no published {HYPER_PARAMETERS}); train it with recipes/train_sed.py"
        )
    options: dict[str, Any] = stored["options"]
    return options


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


def _first_few(names: Sequence[str], limit: int = 6) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def predict_clip_set(system: System, model: nn.Module, clip_set: ClipSet) -> dict[str, Scores]:
    """Scores of every clip, decoded from its file as the service decodes it."""
    waveforms = ((clip.audio_id, read_waveform(clip.path, system.grid.sample_rate)) for clip in clip_set.clips)
    return predict(
        model, system.frontend, as_evaluated(waveforms, system), system.windowing, system.labels, _device_of(model)
    )


def as_evaluated(
    waveforms: Iterable[tuple[str, NDArray[np.float32]]], system: System
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


def evaluate_clip_set(system: System, scores: Mapping[str, Scores], clip_set: ClipSet) -> Report:
    """The report of some scores on a strongly labelled set."""
    return evaluate(
        scores,
        EventTable(dict(clip_set.events)),
        {clip.audio_id: clip.duration for clip in clip_set.clips},
        system.postprocessing,
        files_expected=clip_set.files_expected,
    )


def stored_waveforms(store: PackedStore | JoinedStore) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """(audio_id, waveform) of every clip of a store."""
    for clip, audio_id in enumerate(store.audio_ids):
        yield audio_id, store.read(clip, 0, int(store.lengths[clip]))


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
