"""Training batches: fixed shares of several sources in each, cut to one length, with their targets.

An epoch is as long as its shortest source: min over the sources of clips // share steps (118 for DESED). Each source is
shuffled on its own, every epoch anew, from (seed, epoch, source) alone, so any batch of any epoch can be made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from desed_task.batch import Batch, Embedding
from desed_task.data.source import Draw, Moment, Share, Source
from desed_task.data.target_encoding import encode_targets
from desed_task.embeddings.reading import Readers

CPU = torch.device("cpu")


class BatchDataset(Dataset[Batch]):
    """(epoch, step) -> this process's part of a batch of clips from every source, on `device`.

    num_samples, num_frames, num_classes: of each clip.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        num_samples: int,
        num_frames: int,
        num_classes: int,
        seed: int,
        share: Share = Share(),  # noqa: B008  frozen
        device: torch.device = CPU,
        stored: Sequence[Readers] = (),
    ) -> None:
        """stored: of each source, the stored embeddings of its clips by embedder; none by default."""
        self.stored = tuple(stored)
        self.sources = tuple(sources)
        self.num_samples, self.num_frames, self.num_classes = num_samples, num_frames, num_classes
        self.seed = seed
        self.device = device
        self._rows = [share.rows_of(source.batch_size, source.name) for source in self.sources]

    @property
    def steps_per_epoch(self) -> int:
        """Batches until the shortest source is exhausted."""
        return min(source.num_batches for source in self.sources)

    @property
    def fingerprint(self) -> str:
        """What the batches are made of: equal for the same clips and labels, in the same order, in the same shares."""
        parts = [source.describe() for source in self.sources]
        embeddings = [{name: reader.fingerprint for name, reader in readers.items()} for readers in self.stored]
        made_of = [self.seed, self.num_samples, parts, *([embeddings] if any(embeddings) else [])]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __getitem__(self, position: tuple[int, int]) -> Batch:
        epoch, step = position
        # The 1 keeps these draws apart from those of the orders.
        crops = np.random.default_rng((self.seed, epoch, step, 1))
        draws = [
            source.draw(Moment(self.seed, epoch, step, number), crops, rows)
            for number, (source, rows) in enumerate(zip(self.sources, self._rows, strict=True))
        ]
        waveform = torch.empty((sum(map(len, draws)), self.num_samples), device=self.device)
        first = 0
        for source, draw in zip(self.sources, draws, strict=True):
            source.fill(draw, waveform[first : first + len(draw)])
            first += len(draw)
        targets = encode_targets(draws, self.num_frames, self.num_classes, self.device)
        audio_ids = tuple(audio_id for draw in draws for audio_id in draw.audio_ids)
        return Batch(waveform, targets, audio_ids, self._embeddings(draws))

    def _embeddings(self, draws: Sequence[Draw]) -> dict[str, Embedding]:
        """By embedder, of all clips that were drawn."""
        if not self.stored:
            return {}
        read = {
            name: [readers[name].read(draw.audio_ids) for readers, draw in zip(self.stored, draws, strict=True)]
            for name in self.stored[0]
        }
        return {
            name: Embedding(torch.cat([part.values for part in parts]), parts[0].is_timed).to(self.device)
            for name, parts in read.items()
        }


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
