"""Small real trainings in which the embedding knows the label and the audio, noise, does not.

Fusion learns it while clips are mixed, rolled and masked, because what is done to a clip is done to its embedding and
its labels; it learns nothing from embeddings of other clips, or from such as do not move with the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from desed_task.augment.mixup import Mixup, MixupOptions
from desed_task.augment.spec_augment import SpecAugment, SpecAugmentOptions
from desed_task.augment.time_roll import TimeRoll, TimeRollOptions
from desed_task.batch import Batch, Embedding
from desed_task.clips import Clip, ClipSet
from desed_task.data.dataset import BatchDataset
from desed_task.data.stored_source import StoredSource
from desed_task.embeddings.ears import Ears
from desed_task.events import Event
from desed_task.features.frontend import StagedFrontend
from desed_task.labels import LabelSet
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.embedding import EmbeddingShape
from desed_task.models.tagger import InputShape
from desed_task.timeline import FrameGrid
from desed_task.training.step import Augmentation, compute_losses, prepare
from desed_task.training.training_options import TrainingOptions

LABELS, GRID = LabelSet(["a", "b", "c", "d"]), FrameGrid(16_000, 256, 4)
FRAMES, MEL_FRAMES, BANDS = 16, 64, 8
SAMPLES = MEL_FRAMES * 256
CLIPS, HELD_OUT, STEPS = 96, 64, 80
MIXUP = Mixup(MixupOptions(probability=1.0))
ROLL = TimeRoll(TimeRollOptions(max_frames=MEL_FRAMES // 2))
MASK = SpecAugment(SpecAugmentOptions(domain="normalised", max_bands=2, max_frames=16))


NOISE = np.random.default_rng(0).normal(0, 3276.8, (CLIPS, SAMPLES)).astype(np.float32)


class Magnitudes(StagedFrontend):
    """waveform (batch, samples) -> (batch, samples / 256, 8): means of absolute values."""

    def spectrum(self, waveform: Tensor) -> Tensor:
        return waveform.reshape(len(waveform), -1, BANDS, 32).abs().mean(dim=3)

    def compress(self, spectrum: Tensor) -> Tensor:
        return torch.log10(spectrum + 1e-3)

    def normalise(self, logarithm: Tensor) -> Tensor:
        return logarithm


class Noise:
    """A store of clips of noise, whatever happens in them."""

    audio_ids = tuple(f"clip{number}" for number in range(CLIPS))
    lengths = np.full(CLIPS, SAMPLES)

    def __len__(self) -> int:
        return CLIPS

    def samples(self, clip: int, first_sample: int, num_samples: int) -> NDArray[np.float32]:
        return NOISE[clip, first_sample : first_sample + num_samples]


@dataclass
class Told:
    """A reader of embeddings by clip: (clips, embedding_frames, dim)."""

    values: Tensor
    is_timed: bool
    fingerprint: str = "told"

    def read(self, audio_ids: Sequence[str]) -> Embedding:
        return Embedding(self.values[[Noise.audio_ids.index(name) for name in audio_ids]], self.is_timed)


@dataclass
class Task:
    """What happens in the clips of a set, and what the embeddings of these and of the held-out clips say.

    known: (clips, frames, classes), or (clips, 1, classes) for tags; the held-out ones follow those of the training.
    """

    known: Tensor
    told: Tensor
    shape: EmbeddingShape
    way: str


def tags() -> Task:
    """One class per clip, in an embedding of the clip: a pattern of six values and some noise."""
    generator = torch.Generator().manual_seed(0)
    known = torch.eye(4)[torch.randint(4, (CLIPS + HELD_OUT,), generator=generator)][:, None]
    return Task(known, _patterns(known, generator), EmbeddingShape(1, 6), "global")


def events(way: str = "aligned") -> Task:
    """One event of half a clip, of one class, in an embedding twice as fine as the frames."""
    generator = torch.Generator().manual_seed(1)
    clips = CLIPS + HELD_OUT
    onset = torch.randint(FRAMES // 2 + 1, (clips, 1), generator=generator)
    frame = torch.arange(FRAMES)
    active = (frame >= onset) & (frame < onset + FRAMES // 2)
    classes = torch.eye(4)[torch.randint(4, (clips,), generator=generator)]
    known = active[:, :, None] * classes[:, None]
    told = _patterns(known.repeat_interleave(2, dim=1), generator)
    return Task(known, told, EmbeddingShape(2 * FRAMES, 6, 2.0, 0.5), way)


def _patterns(known: Tensor, generator: torch.Generator) -> Tensor:
    values = known @ torch.randn(4, 6, generator=generator)
    return values + 0.2 * torch.randn(values.shape, generator=generator)


def dataset(task: Task, told: Tensor, is_timed: bool) -> BatchDataset:
    """Batches of 24 clips of noise, each with its labels and embedding."""
    clips = tuple(Clip(name, Path(name), SAMPLES / GRID.sample_rate) for name in Noise.audio_ids)
    is_strong = task.known.shape[1] > 1
    strong = {clip.audio_id: _events_of(known) for clip, known in zip(clips, task.known, strict=False)}
    weak = {
        clip.audio_id: tuple(LABELS[int(number)] for number in known.amax(dim=0).nonzero())
        for clip, known in zip(clips, task.known, strict=False)
    }
    clip_set = ClipSet("noise", clips, "strong", strong) if is_strong else ClipSet("noise", clips, "weak", tags=weak)
    source = StoredSource(clip_set, Noise(), 24, LABELS, GRID, SAMPLES)  # type: ignore[arg-type]
    return BatchDataset([source], SAMPLES, FRAMES, 4, seed=1, stored=[{"e": Told(told, is_timed)}])


def _events_of(known: Tensor) -> tuple[Event, ...]:
    """(frames, classes) with one run of one class."""
    frames = known.amax(dim=1).nonzero().flatten()
    label = LABELS[int(known.sum(dim=0).argmax())]
    return (Event(int(frames[0]) * GRID.frame_seconds, (int(frames[-1]) + 1) * GRID.frame_seconds, label),)


def batches(data: BatchDataset) -> Any:
    """STEPS batches, epoch after epoch."""
    for number in range(STEPS):
        yield data[divmod(number, data.steps_per_epoch)]


def accuracy(
    task: Task, augmentations: Sequence[Augmentation], permuted: bool = False, is_timed: bool | None = None
) -> float:
    """Train a fused CRNN; the share of held-out clips (or frames) of which it says the very classes."""
    torch.manual_seed(0)
    is_timed = task.shape.is_timed if is_timed is None else is_timed
    told = task.told[torch.randperm(len(task.told))] if permuted else task.told
    model, ears = _model(task), Ears(Magnitudes())
    optimiser, rng = torch.optim.Adam(model.parameters(), lr=0.01), np.random.default_rng(0)
    options = TrainingOptions(mean_teacher=None)
    for batch in batches(dataset(task, told, is_timed)):
        inputs, targets = prepare(batch, ears, augmentations, rng)
        optimiser.zero_grad()
        compute_losses(model, None, inputs, targets, options, 0.0).total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    heard = ears(0.1 * torch.randn(HELD_OUT, SAMPLES), {"e": Embedding(told[CLIPS:], is_timed)})
    with torch.no_grad():
        said = model.eval()(heard)
    probs = said.strong_probs if task.known.shape[1] > 1 else said.weak_probs[:, None]
    return float(((probs > 0.5) == (task.known[CLIPS:] > 0.5)).all(dim=2).float().mean())


def _model(task: Task) -> CRNN:
    options = CRNNOptions(
        nb_filters=(4, 8),
        pooling=((2, 2), (2, 4)),
        dropout=0.0,
        n_rnn_cell=16,
        rnn_layers=1,
        fusion={"ways": {"e": task.way}},
    )
    return CRNN(options, InputShape(MEL_FRAMES, BANDS, {"e": task.shape}), 4)


# What a clip's embedding and its labels go through together.


def told_exactly(task: Task) -> Batch:
    """A batch whose embeddings are the labels themselves."""
    return dataset(task, task.known.clone(), is_timed=task.shape.is_timed)[0, 0]


@pytest.mark.parametrize(
    ("task", "augmentations"), [(tags(), [MIXUP]), (events(), [MIXUP]), (events(), [ROLL]), (events(), [MIXUP, ROLL])]
)
def test_an_embedding_that_is_the_label_still_is_it(task: Task, augmentations: Sequence[Augmentation]) -> None:
    batch = told_exactly(task)
    inputs, targets = prepare(batch, Ears(Magnitudes()), augmentations, np.random.default_rng(2))
    before = batch.targets.strong if task.shape.is_timed else batch.targets.weak[:, None]
    after = targets.strong if task.shape.is_timed else targets.weak[:, None]
    assert not torch.equal(before, after)
    torch.testing.assert_close(inputs.embeddings["e"].values, after)


def test_an_embedding_is_silent_where_its_clip_is_and_says_the_label_elsewhere() -> None:
    batch = told_exactly(events())
    inputs, targets = prepare(batch, Ears(Magnitudes()), [MIXUP, ROLL, MASK], np.random.default_rng(2))
    said = inputs.embeddings["e"].values
    silent = (said == 0).all(dim=2)
    assert (silent | (said == targets.strong).all(dim=2)).all()
    hidden = (inputs.mel == 0).all(dim=2)  # mel frames
    assert torch.equal(hidden[:, 2::4] & silent, hidden[:, 2::4])  # the one in the middle of each embedding frame
    assert 0 < hidden.float().mean() < 0.5


# Learning.


def test_tags_that_only_the_embedding_knows_are_learned_while_clips_are_mixed() -> None:
    assert accuracy(tags(), [MIXUP]) > 0.95


def test_tags_are_not_learned_from_the_embeddings_of_other_clips() -> None:
    assert accuracy(tags(), [MIXUP], permuted=True) < 0.4


def test_events_that_only_the_embedding_knows_are_learned_while_clips_are_mixed_rolled_and_masked() -> None:
    assert accuracy(events(), [MIXUP, ROLL, MASK]) > 0.9


def test_events_are_not_learned_from_the_embeddings_of_other_clips() -> None:
    # Half of all frames are silent, which is right as often.
    assert accuracy(events(), [MIXUP, ROLL, MASK], permuted=True) < 0.6


def test_events_are_not_learned_from_embeddings_that_stay_while_their_clips_are_rolled() -> None:
    mistaken = events("pool1d")
    mistaken.shape = EmbeddingShape(2 * FRAMES, 6)  # as if it did not follow the clip's time
    assert accuracy(mistaken, [ROLL]) < 0.8
    assert accuracy(events("pool1d"), [ROLL]) > 0.9
