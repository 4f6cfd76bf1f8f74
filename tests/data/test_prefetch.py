"""Batches made ahead: the same ones in the same order, none too early, and no thread is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from desed_task.clips import Clip, ClipSet
from desed_task.data.dataset import BatchDataset, EpochSampler
from desed_task.data.prefetch import DEPTH, PrefetchingLoader
from desed_task.data.stored_source import StoredSource
from desed_task.errors import AudioError
from desed_task.events import Event
from desed_task.labels import LabelSet
from desed_task.timeline import FrameGrid

SAMPLES, CLIPS, STEPS = 640, 12, 6


class Noise:
    """Twelve clips of noise, longer than an excerpt; `broken` cannot be read."""

    audio_ids = tuple(f"clip{number}" for number in range(CLIPS))
    lengths = np.full(CLIPS, 2 * SAMPLES)
    broken: int | None = None

    def __len__(self) -> int:
        return CLIPS

    def samples(self, clip: int, first_sample: int, num_samples: int) -> NDArray[np.int16]:
        if clip == self.broken:
            raise AudioError(f"clip{clip} cannot be read; fetch it again")
        noise = np.random.default_rng(clip).integers(-32768, 32768, 2 * SAMPLES).astype(np.int16)
        return noise[first_sample : first_sample + num_samples]


class Watched(BatchDataset):
    """Tells which batches were made, and in which threads."""

    made: list[tuple[int, int]]
    makers: list[threading.Thread]

    def __getitem__(self, position: tuple[int, int]) -> Any:
        self.made.append(position)
        self.makers.append(threading.current_thread())
        return super().__getitem__(position)


@pytest.fixture
def store() -> Noise:
    return Noise()


@pytest.fixture
def dataset(store: Noise) -> Watched:
    clips = tuple(Clip(name, Path(name), 0.08) for name in store.audio_ids)
    events = {clip.audio_id: (Event(0.01, 0.05, "Dog"),) for clip in clips}
    grid = FrameGrid(16_000, 64, 1)
    source = StoredSource(ClipSet("noise", clips, "strong", events), store, 2, LabelSet(["Dog"]), grid, SAMPLES)
    watched = Watched([source], SAMPLES, grid.num_frames(SAMPLES), 1, seed=3)
    watched.made, watched.makers = [], []
    return watched


@pytest.fixture
def loader(dataset: Watched) -> Iterator[PrefetchingLoader]:
    loader = PrefetchingLoader(dataset, EpochSampler(dataset))
    yield loader
    loader.close()


def until(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_batches_are_those_that_would_be_made_without_in_their_order(
    dataset: Watched, loader: PrefetchingLoader
) -> None:
    for epoch in (0, 1, 4):
        loader.sampler.set_epoch(epoch)
        batches = list(loader)
        assert len(batches) == len(loader) == STEPS
        for step, batch in enumerate(batches):
            expected = BatchDataset.__getitem__(dataset, (epoch, step))
            assert batch.audio_ids == expected.audio_ids
            assert torch.equal(batch.waveform, expected.waveform)
            for part, expected_part in zip(vars(batch.targets).values(), vars(expected.targets).values(), strict=True):
                assert torch.equal(part, expected_part)
    # The checks made each batch once more, without the loader.
    assert dataset.made[:STEPS] == [(0, step) for step in range(STEPS)]


def test_the_next_batch_is_made_while_one_is_in_use_and_no_more(dataset: Watched, loader: PrefetchingLoader) -> None:
    batches = iter(loader)
    next(batches)
    until(lambda: len(dataset.made) == 1 + DEPTH)
    time.sleep(0.05)
    assert len(dataset.made) == 1 + DEPTH
    next(batches)
    until(lambda: len(dataset.made) == 2 + DEPTH)
    assert threading.current_thread() not in dataset.makers


def test_nothing_is_made_before_the_epoch_is_named(dataset: Watched, loader: PrefetchingLoader) -> None:
    batches = iter(loader)
    time.sleep(0.05)
    assert dataset.made == []
    loader.sampler.set_epoch(5)
    next(batches)
    assert dataset.made[0] == (5, 0)
    assert len(list(batches)) == STEPS - 1
    assert dataset.made == [(5, step) for step in range(STEPS)]


def test_a_resumed_epoch_begins_in_its_middle(dataset: Watched) -> None:
    loader = PrefetchingLoader(dataset, EpochSampler(dataset, first_epoch=2, first_step=4))
    assert len(list(loader)) == 2
    loader.sampler.set_epoch(3)
    assert len(list(loader)) == STEPS
    assert dataset.made == [(2, 4), (2, 5), *((3, step) for step in range(STEPS))]


def test_a_fault_is_raised_as_itself_where_its_batch_is_asked_for(
    store: Noise, dataset: Watched, loader: PrefetchingLoader
) -> None:
    store.broken = int(dataset[0, 2].audio_ids[0].removeprefix("clip"))
    batches = iter(loader)
    next(batches)
    next(batches)
    with pytest.raises(AudioError, match="cannot be read; fetch it again"):
        next(batches)
    until(lambda: not any(maker.is_alive() for maker in dataset.makers[1:]))


@pytest.mark.parametrize("taken", [0, 1, STEPS - 1, STEPS])
def test_a_loop_that_is_left_leaves_no_thread(dataset: Watched, loader: PrefetchingLoader, taken: int) -> None:
    batches = iter(loader)
    for _ in range(taken):
        next(batches)
    loader.close()
    assert not any(maker.is_alive() for maker in dataset.makers)
    loader.close()
    assert next(batches, None) is None


def test_a_new_loop_ends_the_one_that_was_left(dataset: Watched, loader: PrefetchingLoader) -> None:
    next(iter(loader))
    first = dataset.makers[0]
    loader.sampler.set_epoch(1)
    assert len(list(loader)) == STEPS
    assert not first.is_alive()
    assert [position for position in dataset.made if position[0]] == [(1, step) for step in range(STEPS)]
