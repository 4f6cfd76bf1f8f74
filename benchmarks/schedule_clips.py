"""A DESED-sized training set of noise in memory: as many clips per source, as many events, the same batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from desed_task.clips import Clip, ClipSet
from desed_task.data.dataset import BatchDataset
from desed_task.data.resident import build_excerpts
from desed_task.data.stored_source import StoredSource
from desed_task.events import Event
from desed_task.experiment import SedOptions
from desed_task.labels import LabelSet
from desed_task.system import build_grid

# Synthetic strong, weak and unlabeled clips of DESED.
NUM_CLIPS: Mapping[str, tuple[int, int, int]] = {"full": (10_000, 1_420, 14_412), "small": (8, 8, 16)}
SEED = 7
_EVENTS_PER_CLIP = 4


class NoiseStore:
    """Clips of equal length whose int16 samples are excerpts of one long noise."""

    def __init__(self, name: str, num_clips: int, num_samples: int) -> None:
        self.audio_ids = tuple(f"{name}_{number}" for number in range(num_clips))
        self.lengths = np.full(num_clips, num_samples)
        rng = np.random.default_rng(SEED)
        self._noise = rng.integers(-32768, 32768, 8 * num_samples, dtype=np.int16)
        self._first = rng.integers(0, 7 * num_samples, num_clips)

    def __len__(self) -> int:
        return len(self.audio_ids)

    def samples(self, clip: int, first_sample: int, num_samples: int) -> NDArray[np.int16]:
        """As a packed store's."""
        first = int(self._first[clip])
        last = first + min(first_sample + num_samples, int(self.lengths[clip]))
        return self._noise[first + first_sample : last]


def build_noise_dataset(options: SedOptions, num_clips: Sequence[int], device: torch.device) -> BatchDataset:
    """Batches as `options` ask for, of so many clips per source."""
    labels, grid = LabelSet(options.labels), build_grid(options)
    num_samples = grid.num_samples(options.data.clip_seconds)
    kinds = zip(options.data.train, num_clips, strict=True)
    stores = [NoiseStore(source.supervision, count, num_samples) for source, count in kinds]
    excerpts = build_excerpts(stores, device, options.data.residence)
    sources = [
        StoredSource(
            _clip_set(store, source.supervision, labels, options.data.clip_seconds),
            store,
            source.batch_size,
            labels,
            grid,
            num_samples,
            excerpts_of_store,
        )
        for source, store, excerpts_of_store in zip(options.data.train, stores, excerpts, strict=True)
    ]
    num_frames = grid.num_frames(num_samples)
    return BatchDataset(sources, num_samples, num_frames, len(labels), options.training.seed, device=device)


def _clip_set(store: NoiseStore, supervision: str, labels: LabelSet, seconds: float) -> ClipSet:
    rng = np.random.default_rng(SEED)
    clips = tuple(Clip(audio_id, Path(audio_id), seconds) for audio_id in store.audio_ids)
    events, tags = {}, {}
    for clip in clips:
        chosen = [labels[int(number)] for number in rng.integers(len(labels), size=_EVENTS_PER_CLIP)]
        onsets = (0.8 * seconds * rng.random(_EVENTS_PER_CLIP)).tolist()
        events[clip.audio_id] = tuple(
            Event(onset, onset + 0.2 * seconds, label) for onset, label in zip(onsets, chosen, strict=True)
        )
        tags[clip.audio_id] = tuple(sorted(set(chosen)))
    return ClipSet(supervision, clips, supervision, events, tags)  # type: ignore[arg-type]
