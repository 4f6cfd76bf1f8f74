"""Training batches: fixed shares of several clip sets in each, cut to one length, with their targets.

An epoch is as long as its shortest source: min over the sources of clips // share steps (118 for DESED). Each source is
shuffled on its own, every epoch anew, from (seed, epoch, source) alone, so any batch of any epoch can be made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from desed_task.batch import Batch, Targets
from desed_task.clips import ClipSet
from desed_task.data.joined import JoinedStore
from desed_task.data.store import PackedStore
from desed_task.encoding import encode_strong, encode_weak
from desed_task.errors import CorpusError
from desed_task.events import Event
from desed_task.labels import LabelSet
from desed_task.timeline import FrameGrid


@dataclass(frozen=True)
class Source:
    """A clip set, its waveforms, and how many of its clips each batch holds."""

    clip_set: ClipSet
    store: PackedStore | JoinedStore
    batch_size: int


def require_share(clip_set: ClipSet, batch_size: int) -> None:
    """CorpusError when a set has too few clips for its share of one batch."""
    if len(clip_set.clips) < batch_size:
        raise CorpusError(
            f"{clip_set.name}: {len(clip_set.clips)} clips are fewer than its share of {batch_size} per batch; "
            f"lower its batch_size"
        )


class BatchDataset(Dataset[Batch]):
    """(epoch, step) -> Batch of clips from every source."""

    def __init__(
        self, sources: Sequence[Source], labels: LabelSet, grid: FrameGrid, clip_seconds: float, seed: int
    ) -> None:
        self.sources = tuple(sources)
        self.labels = labels
        self.grid = grid
        self.num_samples = grid.num_samples(clip_seconds)
        self.num_frames = grid.num_frames(self.num_samples)
        self.seed = seed
        self._orders: dict[int, list[NDArray[np.int64]]] = {}
        for source in self.sources:
            require_share(source.clip_set, source.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Batches until the shortest source is exhausted."""
        return min(len(source.store) // source.batch_size for source in self.sources)

    @property
    def fingerprint(self) -> str:
        """What the batches are made of: equal for the same clips and labels, in the same order, in the same shares."""
        parts = [
            (
                source.clip_set.supervision,
                source.batch_size,
                list(source.store.audio_ids),
                source.store.lengths.tolist(),
                [_plain(*_known_of(source.clip_set, audio_id)) for audio_id in source.store.audio_ids],
            )
            for source in self.sources
        ]
        return hashlib.sha256(json.dumps([self.seed, self.num_samples, parts]).encode()).hexdigest()

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __getitem__(self, position: tuple[int, int]) -> Batch:
        epoch, step = position
        # The 1 keeps these draws apart from those of `_order`.
        rng = np.random.default_rng((self.seed, epoch, step, 1))
        waveforms, strong, weak, has_strong, has_weak, audio_ids = [], [], [], [], [], []
        for source, order in zip(self.sources, self._order(epoch), strict=True):
            for clip in order[step * source.batch_size : (step + 1) * source.batch_size]:
                waveform, first_second = self._crop(source.store, int(clip), rng)
                clip_strong, clip_weak = self._encode(source.clip_set, int(clip), first_second)
                waveforms.append(waveform)
                strong.append(clip_strong)
                weak.append(clip_weak)
                has_strong.append(source.clip_set.supervision == "strong")
                has_weak.append(source.clip_set.supervision == "weak")
                audio_ids.append(source.store.audio_ids[clip])
        targets = Targets(
            torch.from_numpy(np.stack(strong)),
            torch.from_numpy(np.stack(weak)),
            torch.tensor(has_strong),
            torch.tensor(has_weak),
        )
        return Batch(torch.from_numpy(np.stack(waveforms)), targets, tuple(audio_ids))

    def _order(self, epoch: int) -> list[NDArray[np.int64]]:
        if epoch not in self._orders:
            self._orders = {
                epoch: [
                    np.random.default_rng((self.seed, epoch, number)).permutation(len(source.store))
                    for number, source in enumerate(self.sources)
                ]
            }
        return self._orders[epoch]

    def _crop(
        self, store: PackedStore | JoinedStore, clip: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], float]:
        """A random excerpt of a longer clip; (samples,) and the second at which it begins."""
        surplus = int(store.lengths[clip]) - self.num_samples
        first = int(rng.integers(0, surplus + 1)) if surplus > 0 else 0
        return store.read(clip, first, self.num_samples), first / self.grid.sample_rate

    def _encode(
        self, clip_set: ClipSet, clip: int, first_second: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        events, tags = _known_of(clip_set, clip_set.clips[clip].audio_id)
        strong = encode_strong(_shift(events, first_second), self.labels, self.grid, self.num_frames)
        return strong, encode_weak(tags, self.labels)


class EpochSampler(Sampler[tuple[int, int]]):
    """(epoch, step) for every step of the epoch that `set_epoch` names (the trainer calls it).

    first_epoch, first_step: where a resumed training goes on; later epochs begin at step 0.
    """

    def __init__(self, dataset: BatchDataset, first_epoch: int = 0, first_step: int = 0) -> None:
        self.dataset = dataset
        self.first_epoch, self.first_step = first_epoch, first_step
        self.epoch = first_epoch

    def set_epoch(self, epoch: int) -> None:
        """The next iteration is this epoch's."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        # A generator: a trainer that resumes makes the iterator before it names the epoch.
        first_step = self.first_step if self.epoch == self.first_epoch else 0
        for step in range(first_step, len(self.dataset)):
            yield self.epoch, step

    def __len__(self) -> int:
        return len(self.dataset)


def _known_of(clip_set: ClipSet, audio_id: str) -> tuple[Sequence[Event], Sequence[str]]:
    """The events and the tags of a clip that its supervision lets a batch know."""
    events = clip_set.events.get(audio_id, ()) if clip_set.supervision == "strong" else ()
    tags = clip_set.tags.get(audio_id, ()) if clip_set.supervision == "weak" else ()
    return events, tags


def _plain(events: Sequence[Event], tags: Sequence[str]) -> list[Any]:
    """Both as JSON, whatever the order of the table's rows."""
    return [sorted((event.onset, event.offset, event.event_label) for event in events), sorted(tags)]


def _shift(events: Sequence[Event], seconds: float) -> list[Event]:
    """Events on the clock of an excerpt that begins at `seconds`; those that end before it are dropped."""
    return [
        Event(max(0.0, event.onset - seconds), event.offset - seconds, event.event_label)
        for event in events
        if event.offset > seconds
    ]
