"""Training batches: shares, epochs, order, crops and targets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from desed_task.clips import Clip, ClipSet, Supervision
from desed_task.data.dataset import BatchDataset, EpochSampler
from desed_task.data.source import Share
from desed_task.data.stored_source import StoredSource
from desed_task.errors import CorpusError, OptionsError
from desed_task.events import Event
from desed_task.labels import DESED_LABELS, LabelSet
from desed_task.timeline import FrameGrid

LABELS = LabelSet(["Cat", "Dog", "Speech"])
GRID = FrameGrid(16000, 256, 4)
Stored = Callable[[int], StoredSource]


class Ramps:
    """A store whose clip n says at sample s: (1000 n + s) / 10^6. Lengths in samples."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = np.array(lengths)
        self.audio_ids = tuple(f"clip{number}" for number in range(len(lengths)))

    def __len__(self) -> int:
        return len(self.lengths)

    def samples(self, clip: int, first_sample: int, num_samples: int) -> NDArray[np.float32]:
        samples = np.arange(first_sample, min(first_sample + num_samples, self.lengths[clip]))
        return (32768 * (1000 * clip + samples) / 1e6).astype(np.float32)


def source(
    name: str,
    num_clips: int,
    batch_size: int,
    supervision: Supervision,
    *,
    samples: int = 64,
    labels: LabelSet = LABELS,
    **known: Any,
) -> Stored:
    clips = tuple(Clip(f"clip{number}", Path(f"{name}{number}.wav"), samples / 16000) for number in range(num_clips))
    store: Any = Ramps([samples] * num_clips)
    return partial(StoredSource, ClipSet(name, clips, supervision, **known), store, batch_size, labels, GRID)


def dataset(*sources: Stored, seconds: float = 64 / 16000, seed: int = 42, num_classes: int = 3) -> BatchDataset:
    samples = GRID.num_samples(seconds)
    stored = [source(samples) for source in sources]
    return BatchDataset(stored, samples, GRID.num_frames(samples), num_classes, seed)


def desed() -> BatchDataset:
    """As many clips per source as DESED has, each with what its supervision gives."""
    event = {f"clip{number}": (Event(0.0, 0.001, "Dog"),) for number in range(10_000)}
    tag = {f"clip{number}": ("Cat",) for number in range(1420)}
    return dataset(
        source("synthetic", 10_000, 12, "strong", events=event),
        source("weak", 1420, 12, "weak", tags=tag),
        source("unlabeled", 14_412, 24, "none", events=event, tags=dict.fromkeys(event, ("Dog",))),
    )


def test_an_epoch_ends_with_its_shortest_source() -> None:
    assert len(desed()) == desed().steps_per_epoch == 1420 // 12 == 118


def test_a_batch_is_12_strong_12_weak_and_24_unlabeled_clips() -> None:
    batch = desed()[0, 117]
    assert len(batch) == 48
    assert batch.targets.has_strong.tolist() == [True] * 12 + [False] * 36
    assert batch.targets.has_weak.tolist() == [False] * 12 + [True] * 12 + [False] * 24
    strong, weak = batch.targets.strong, batch.targets.weak
    assert strong.shape == (48, GRID.num_frames(64), 3)
    assert weak[12:24].tolist() == [[1.0, 0.0, 0.0]] * 12
    # Labels beyond the supervision are not handed on, whoever knows them.
    assert not strong[12:].any()
    assert not weak[:12].any()
    assert not weak[24:].any()


def test_every_clip_is_heard_at_most_once_per_epoch() -> None:
    data = dataset(source("strong", 7, 2, "strong"), source("none", 6, 2, "none"))
    heard = list(chain.from_iterable(data[3, step].audio_ids[:2] for step in range(len(data))))
    assert len(data) == 3
    assert len(set(heard)) == 6


def test_each_epoch_is_shuffled_anew_and_reproducibly() -> None:
    def order(seed: int, epoch: int) -> list[tuple[str, ...]]:
        data = dataset(source("strong", 30, 5, "strong"), source("none", 30, 5, "none"), seed=seed)
        return [data[epoch, step].audio_ids for step in range(len(data))]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    # Sources are not shuffled alike.
    assert [ids[:5] for ids in order(1, 0)] != [ids[5:] for ids in order(1, 0)]


def test_any_batch_can_be_made_again_on_its_own() -> None:
    long_clips = source("strong", 9, 3, "strong", samples=5000)
    straight = dataset(long_clips)
    batches = [straight[epoch, step] for epoch in range(2) for step in range(3)]
    alone = dataset(long_clips)[1, 2]
    assert alone.audio_ids == batches[5].audio_ids
    assert (alone.waveform == batches[5].waveform).all()


def test_a_short_clip_is_padded_at_its_end() -> None:
    batch = dataset(source("none", 1, 1, "none", samples=40))[0, 0]
    assert batch.waveform.shape == (1, 64)
    assert not batch.waveform[0, 40:].any()
    assert batch.waveform[0, 1] == pytest.approx(1e-6)


def test_a_long_clip_is_cut_at_random_and_its_events_move_with_it() -> None:
    second = 16000
    events = {"clip0": (Event(1.0, 2.0, "Cat"), Event(5.5, 6.0, "Dog"))}
    data = dataset(source("strong", 1, 1, "strong", samples=8 * second, events=events), seconds=4.0)
    firsts = set()
    for epoch in range(30):
        batch = data[epoch, 0]
        first = round(float(batch.waveform[0, 0]) * 1e6)  # the ramp tells where the excerpt begins
        assert 0 <= first <= 4 * second
        firsts.add(first)
        begin = first / second
        for position, (onset, offset) in ((0, (1.0, 2.0)), (1, (5.5, 6.0))):
            active = batch.targets.strong[0, :, position].nonzero().flatten().tolist()
            onset_frame = max(0, int(np.floor((onset - begin) / 0.064 + 1e-6)))
            offset_frame = min(62, int(np.ceil((offset - begin) / 0.064 - 1e-6)))
            assert active == list(range(onset_frame, offset_frame))
    assert len(firsts) > 20


def test_ten_seconds_are_156_frames_of_ten_classes() -> None:
    events = {"clip0": (Event(0.1, 9.999, "Speech"),)}
    clip = source("strong", 1, 1, "strong", samples=160_000, labels=LabelSet(DESED_LABELS), events=events)
    targets = dataset(clip, seconds=10.0, num_classes=10)[0, 0].targets
    assert targets.strong.shape == (1, 156, 10)
    # .1 s lies in frame 1 (.064 to .128); the event goes beyond the last frame's end, 9.984 s
    assert targets.strong[0, :, 8].tolist() == [0.0] + [1.0] * 155


def test_too_few_clips_for_one_batch_are_refused() -> None:
    with pytest.raises(
        CorpusError, match="weak: 3 clips are fewer than its share of 4 per batch; lower its batch_size"
    ):
        dataset(source("strong", 10, 2, "strong"), source("weak", 3, 4, "weak"))


def test_the_sampler_gives_the_steps_of_the_epoch_it_is_told() -> None:
    sampler = EpochSampler(dataset(source("strong", 6, 2, "strong")))
    assert list(sampler) == [(0, 0), (0, 1), (0, 2)]
    sampler.set_epoch(5)
    assert list(sampler) == [(5, 0), (5, 1), (5, 2)]
    assert len(sampler) == 3


def test_the_fingerprint_is_of_the_clips_and_of_what_a_batch_knows_of_them() -> None:
    dog, cat = (Event(0.0, 0.001, label) for label in ("Dog", "Cat"))
    mine = dataset(source("strong", 2, 1, "strong", events={"clip0": (dog, cat)})).fingerprint
    assert dataset(source("strong", 2, 1, "strong", events={"clip0": (cat, dog)})).fingerprint == mine
    others = [
        source("strong", 2, 1, "strong", events={"clip0": (dog,)}),
        source("strong", 2, 1, "strong", events={"clip1": (dog, cat)}),
        source("weak", 2, 1, "weak", tags={"clip0": ("Cat",)}),
        source("weak", 2, 1, "weak", tags={"clip0": ("Dog",)}),
    ]
    assert len({mine, *(dataset(other).fingerprint for other in others)}) == 5
    unlabeled = source("none", 2, 1, "none", events={"clip0": (dog,)}), source("none", 2, 1, "none")
    assert dataset(unlabeled[0]).fingerprint == dataset(unlabeled[1]).fingerprint


def test_two_ranks_hear_together_what_one_hears() -> None:
    sources = [
        source(
            "strong", 9, 4, "strong", samples=5000, events={f"clip{n}": (Event(0.1, 0.2, "Dog"),) for n in range(9)}
        ),
        source("weak", 8, 2, "weak", tags={"clip3": ("Cat",)}),
    ]
    alone = dataset(*sources)[2, 1]
    stored = [source(64) for source in sources]
    parts = [BatchDataset(stored, 64, GRID.num_frames(64), 3, 42, Share(rank, 2))[2, 1] for rank in range(2)]
    order = [0, 1, 4, 2, 3, 5]  # rank 0: two strong clips and a weak one; rank 1: the others
    together = torch.cat([part.waveform for part in parts])
    assert (together == alone.waveform[order]).all()
    assert (torch.cat([part.targets.strong for part in parts]) == alone.targets.strong[order]).all()
    assert [*parts[0].audio_ids, *parts[1].audio_ids] == [alone.audio_ids[row] for row in order]


def test_a_batch_that_cannot_be_shared_evenly_is_refused() -> None:
    stored = source("weak", 9, 3, "weak")(64)
    with pytest.raises(OptionsError, match="weak: its 3 clips per batch cannot be shared evenly by 2 processes"):
        BatchDataset([stored], 64, 0, 3, 42, Share(0, 2))
