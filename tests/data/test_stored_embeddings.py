"""Stored embeddings in training batches: those of the very clips that were drawn, source by source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from desed_task.batch import Embedding
from desed_task.data.dataset import BatchDataset
from desed_task.data.source import Draw, Moment, Share


class Numbers:
    """A source whose clips are called after it and their numbers."""

    def __init__(self, name: str, batch_size: int) -> None:
        self.name, self.batch_size, self.num_batches = name, batch_size, 4

    def draw(self, moment: Moment, crops: np.random.Generator, rows: range) -> Draw:
        names = tuple(f"{self.name}{10 * moment.step + row}" for row in rows)
        return Draw(names, "none", np.zeros((0, 4), np.int64), np.zeros((0, 2), np.int64), None)

    def fill(self, draw: Draw, waveforms: Tensor) -> None:
        waveforms.zero_()

    def describe(self) -> Any:
        return self.name


class Hundreds:
    """Embeddings that are the number of the clip, and 100 of source b."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def read(self, audio_ids: Sequence[str]) -> Embedding:
        numbers = [float(name[1:]) + (100 if name[0] == "b" else 0) for name in audio_ids]
        return Embedding(torch.tensor(numbers)[:, None, None], is_timed=False)


def dataset(share: Share = Share(), made_of: str = "x") -> BatchDataset:  # noqa: B008  frozen
    stored = [{"e": Hundreds(made_of)}, {"e": Hundreds("y")}]
    return BatchDataset([Numbers("a", 2), Numbers("b", 4)], 160, 1, 1, seed=1, share=share, stored=stored)


def test_a_batch_holds_the_embeddings_of_its_clips() -> None:
    batch = dataset()[0, 1]
    assert batch.audio_ids == ("a10", "a11", "b10", "b11", "b12", "b13")
    assert batch.embeddings["e"].values.flatten().tolist() == [10, 11, 110, 111, 112, 113]
    assert batch.embeddings["e"].is_timed is False


def test_each_rank_reads_its_own() -> None:
    parts = [dataset(Share(rank, 2))[0, 0].embeddings["e"].values.flatten().tolist() for rank in range(2)]
    assert parts == [[0, 100, 101], [1, 102, 103]]


def test_another_embedder_makes_other_batches() -> None:
    assert dataset().fingerprint == dataset().fingerprint
    assert dataset().fingerprint != dataset(made_of="z").fingerprint


@pytest.mark.parametrize("stored", [(), ({}, {})])
def test_without_embeddings_a_fingerprint_is_what_it_was(stored: Any) -> None:
    sources = [Numbers("a", 2), Numbers("b", 4)]
    plain = BatchDataset(sources, 160, 1, 1, seed=1)
    assert BatchDataset(sources, 160, 1, 1, seed=1, stored=stored).fingerprint == plain.fingerprint
    assert BatchDataset(sources, 160, 1, 1, seed=1, stored=stored)[0, 0].embeddings == {}
