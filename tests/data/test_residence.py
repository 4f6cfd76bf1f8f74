"""Where training clips lie: batches are the same to the last bit, and the choice is made by what fits."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from desed_task.clips import Clip, ClipSet, join_clip_sets
from desed_task.data import resident
from desed_task.data.dataset import BatchDataset
from desed_task.data.joined import JoinedStore, open_stores
from desed_task.data.mapped import SampleStore, read_excerpt
from desed_task.data.resident import AskedResidence, ResidentExcerpts, build_excerpts, choose_residence
from desed_task.data.source import Share
from desed_task.data.stored_source import StoredSource
from desed_task.errors import OptionsError
from desed_task.labels import LabelSet
from desed_task.timeline import FrameGrid

CPU = torch.device("cpu")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
RATE, EXCERPT = 16_000, 512
LABELS, GRID = LabelSet(["Dog"]), FrameGrid(RATE, 256, 1)
# Shorter than an excerpt, as long, longer: padded, whole, cut at random.
LENGTHS = (100, 512, 900, 1, 5000, 511, 513, 2000)


def clip_set(folder: Path, name: str, seed: int) -> ClipSet:
    rng = np.random.default_rng(seed)
    clips = []
    for number, num_samples in enumerate(LENGTHS):
        path = folder / f"{name}{number}.wav"
        samples = rng.integers(-32768, 32768, num_samples, dtype=np.int16)
        soundfile.write(path, samples, RATE, subtype="PCM_16")
        clips.append(Clip(path.stem, path, num_samples / RATE))
    return ClipSet(name, tuple(clips), "none")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> list[ClipSet]:
    """A set of its own, and one that joins two others."""
    folder = tmp_path_factory.mktemp("recordings")
    alone, one, other = (clip_set(folder, name, seed) for seed, name in enumerate(("alone", "one", "other")))
    return [alone, join_clip_sets([one, other])]


@pytest.fixture(scope="module")
def stores(sets: list[ClipSet], tmp_path_factory: pytest.TempPathFactory) -> list[SampleStore]:
    folder = tmp_path_factory.mktemp("store")
    return [open_stores(clips, folder, RATE) for clips in sets]


def waveforms(
    sets: list[ClipSet],
    stores: list[SampleStore],
    asked: AskedResidence,
    device: torch.device = CPU,
    share: Share = Share(),  # noqa: B008  frozen
) -> Tensor:
    """Every batch of three epochs, one after another."""
    excerpts = build_excerpts(stores, device, asked)
    sources = [
        StoredSource(clips, store, 4, LABELS, GRID, EXCERPT, of_store)
        for clips, store, of_store in zip(sets, stores, excerpts, strict=True)
    ]
    dataset = BatchDataset(sources, EXCERPT, GRID.num_frames(EXCERPT), 1, 7, share, device)
    batches = [dataset[epoch, step] for epoch in range(3) for step in range(len(dataset))]
    assert all(batch.waveform.device.type == device.type for batch in batches)
    return torch.cat([batch.waveform for batch in batches]).cpu()


@pytest.mark.parametrize("device", DEVICES)
def test_resident_and_mapped_clips_give_the_same_bits(
    sets: list[ClipSet], stores: list[SampleStore], device: str
) -> None:
    assert isinstance(stores[1], JoinedStore)
    mapped = waveforms(sets, stores, "mapped")
    assert mapped.abs().amax() > 0.9
    for asked in ("mapped", "resident"):
        assert torch.equal(waveforms(sets, stores, asked, torch.device(device)), mapped)  # type: ignore[arg-type]


def test_every_rank_finds_its_rows_in_either_way(sets: list[ClipSet], stores: list[SampleStore]) -> None:
    for rank in range(2):
        mapped, in_memory = (waveforms(sets, stores, asked, CPU, Share(rank, 2)) for asked in ("mapped", "resident"))  # type: ignore[arg-type]
        assert torch.equal(mapped, in_memory)


def test_an_excerpt_is_what_the_store_reads(stores: list[SampleStore]) -> None:
    store = stores[0]
    batch = torch.full((3, EXCERPT), torch.nan)
    chosen = [(4, 1234), (0, 0), (7, 1600)]  # from the middle, padded, up to the end and beyond
    for excerpts in (build_excerpts([store], CPU, asked)[0] for asked in ("mapped", "resident")):  # type: ignore[arg-type]
        excerpts.fill(chosen, batch)
        for row, (clip, first) in zip(batch, chosen, strict=True):
            expected = read_excerpt(store, clip, first, EXCERPT)  # type: ignore[attr-defined]
            np.testing.assert_array_equal(row.numpy(), expected)
    assert not batch[1, 100:].any()
    assert not batch[2, 400:].any()


def test_only_the_clips_of_the_source_become_resident(sets: list[ClipSet], tmp_path: Path) -> None:
    open_stores(sets[0], tmp_path, RATE)
    part = sets[0].select([6, 1], "alone_part")
    store = open_stores(part, tmp_path, RATE)
    assert len(list(tmp_path.glob("*.int16"))) == 1
    excerpts = ResidentExcerpts(store, CPU)
    assert excerpts.num_samples == LENGTHS[6] + LENGTHS[1]
    batch = torch.empty(2, EXCERPT)
    excerpts.fill([(0, 0), (1, 0)], batch)
    np.testing.assert_array_equal(batch[0].numpy(), read_excerpt(store, 0, 0, EXCERPT))
    np.testing.assert_array_equal(batch[1].numpy(), read_excerpt(store, 1, 0, EXCERPT))


@pytest.mark.parametrize(
    ("num_bytes", "device", "free", "asked", "chosen"),
    [
        (8e9, "cuda", 16e9, "auto", "resident"),
        (8e9 + 2, "cuda", 16e9, "auto", "mapped"),
        (1, "cpu", 64e9, "auto", "mapped"),
        (8e9, "cuda", 80e9, "mapped", "mapped"),
        (8e9, "cuda", 9e9, "resident", "resident"),
        (8e9, "cpu", 9e9, "resident", "resident"),
    ],
)
def test_clips_are_resident_on_a_gpu_half_of_whose_free_memory_suffices(
    num_bytes: float, device: str, free: float, asked: AskedResidence, chosen: str
) -> None:
    assert choose_residence(int(num_bytes), device, free, asked) == chosen


def test_clips_that_do_not_fit_are_refused_in_one_sentence(
    stores: list[SampleStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident, "_free_bytes", lambda device: 1e3)
    sentence = (
        r"data.residence: resident, but the training clips are 0.1 MB and 0.0 MB of the cpu memory are free; take "
        r"auto or mapped"
    )
    with pytest.raises(OptionsError, match=sentence):
        build_excerpts(stores, CPU, "resident")
    with pytest.raises(OptionsError, match=r"are 8,201 MB and 4,000 MB of the cuda memory"):
        choose_residence(8_201_000_000, "cuda", 4e9, "resident")


def test_the_log_says_which_way_and_how_much(stores: list[SampleStore], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    build_excerpts(stores, CPU, "auto")
    build_excerpts(stores, CPU, "resident")
    assert [record.message for record in caplog.records] == [
        "training clips: memory-mapped, 0.1 MB",
        "training clips: resident on cpu, 0.1 MB",
    ]
