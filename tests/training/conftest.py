"""A training that takes a second: a small CRNN, clips of noise in memory, a front-end of frame magnitudes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from desed_task.batch import Batch, Targets
from desed_task.clips import Clip, ClipSet, Supervision
from desed_task.data.dataset import BatchDataset
from desed_task.data.stored_source import StoredSource
from desed_task.embeddings.ears import Ears
from desed_task.events import Event
from desed_task.labels import LabelSet
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.tagger import InputShape
from desed_task.timeline import FrameGrid
from desed_task.training.sed_module import SedModule
from desed_task.training.step import Augmentation
from desed_task.training.training_options import TrainingOptions

LABELS, GRID, BANDS, SAMPLES = LabelSet(["hum", "hiss"]), FrameGrid(16000, 256, 2), 8, 2560


class Magnitudes(nn.Module):
    """waveform (batch, samples) -> (batch, samples // 256 + 1, 8): means of absolute values, and their logarithm."""

    def spectrum(self, waveform: Tensor) -> Tensor:
        padded = nn.functional.pad(waveform, (0, 256))
        frames = padded[:, : padded.shape[1] // 256 * 256].reshape(len(waveform), -1, BANDS, 32)
        return frames.abs().mean(dim=3)

    def compress(self, spectrum: Tensor) -> Tensor:
        return torch.log10(spectrum + 1e-3)

    def normalise(self, logarithm: Tensor) -> Tensor:
        return logarithm


class Noise:
    """A store of ten clips of noise."""

    audio_ids = tuple(f"clip{number}" for number in range(10))
    lengths = np.full(10, SAMPLES)

    def __len__(self) -> int:
        return 10

    def samples(self, clip: int, first_sample: int, num_samples: int) -> NDArray[np.float32]:
        return np.random.default_rng(clip).normal(0, 3276.8, num_samples).astype(np.float32)


@pytest.fixture
def dataset() -> BatchDataset:
    """Batches of two strong, one weak and one unlabeled clip; five steps per epoch."""

    def source(name: str, supervision: Supervision, batch_size: int) -> StoredSource:
        clips = tuple(Clip(audio_id, Path(audio_id), 0.16) for audio_id in Noise.audio_ids)
        events = {clip.audio_id: (Event(0.02, 0.1, "hum"),) for clip in clips[::2]}
        tags = {clip.audio_id: ("hiss",) for clip in clips[1::2]}
        clip_set, store = ClipSet(name, clips, supervision, events, tags), Noise()
        return StoredSource(clip_set, store, batch_size, LABELS, GRID, SAMPLES)  # type: ignore[arg-type]

    sources = [source("strong", "strong", 2), source("weak", "weak", 1), source("unlabeled", "none", 1)]
    return BatchDataset(sources, SAMPLES, GRID.num_frames(SAMPLES), len(LABELS), seed=1)


@pytest.fixture
def batch() -> Batch:
    """Two strong, one weak and one unlabeled clip of noise."""
    waveform = 0.1 * torch.randn(4, SAMPLES, generator=torch.Generator().manual_seed(0))
    strong, weak = torch.zeros(4, GRID.num_frames(SAMPLES), 2), torch.zeros(4, 2)
    strong[:2, 1:3, 0], weak[2, 1] = 1.0, 1.0
    targets = Targets(strong, weak, torch.tensor([True, True, False, False]), torch.tensor([False, False, True, False]))
    return Batch(waveform, targets, ("a", "b", "c", "d"))


@pytest.fixture
def make_module() -> Callable[..., SedModule]:
    """SedModule of a small CRNN; keywords are TrainingOptions."""

    def make(
        validate: Callable[[nn.Module], Mapping[str, float]] = lambda model: {"objective": 0.5},
        augmentations: tuple[Augmentation, ...] = (),
        dropout: float = 0.2,
        **options: Any,
    ) -> SedModule:
        training = TrainingOptions(**{"n_epochs": 2, "n_epochs_warmup": 1, "num_threads": 1, **options})
        torch.manual_seed(training.seed)
        student = CRNN(
            CRNNOptions(nb_filters=(4, 4), pooling=((2, 2), (1, 4)), n_rnn_cell=4, dropout=dropout),
            InputShape(0, BANDS),
            len(LABELS),
        )
        return SedModule(
            student, Ears(Magnitudes()), training, augmentations, 5, validate, {"format": 1, "labels": ["hum"]}
        )

    return make
