"""Clips of an LMDB are the same to the last bit, whichever way a batch has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from lmdb_files import flac_of, noise, write_published
from torch import Tensor

from desed_task.audio.reading import resample, resampled_length
from desed_task.clips import Clip, ClipSet, join_clip_sets
from desed_task.data.checking import check_recordings
from desed_task.data.corpora.lmdb import LmdbOptions, read_lmdb
from desed_task.data.dataset import BatchDataset
from desed_task.data.joined import open_stores
from desed_task.data.lmdb_store import LmdbStore
from desed_task.data.mapped import ClipStore, read_excerpt
from desed_task.data.resident import build_excerpts
from desed_task.data.store import PackedStore, is_packed
from desed_task.data.stored_source import StoredSource
from desed_task.errors import DesedTaskError
from desed_task.labels import LabelSet
from desed_task.timeline import FrameGrid

RATE, EXCERPT = 16_000, 512
LABELS, GRID = LabelSet(["hum"]), FrameGrid(RATE, 256, 1)
# (samples, rate, format): padded, whole, cut; at another rate; of more bits and channels.
RECORDINGS = [
    *((length, RATE, "PCM_16", 1) for length in (100, 512, 900, 1, 5000)),
    *((length, rate, "PCM_16", 1) for length in (511, 2001) for rate in (22_050, 44_100, 8_000)),
    *(
        (length, RATE, subtype, channels)
        for length in (700,)
        for subtype in ("PCM_16", "PCM_24")
        for channels in (1, 2)
    ),
]


def recording(number: int) -> bytes:
    length, rate, subtype, channels = RECORDINGS[number]
    samples = np.random.default_rng(number).uniform(-1, 1, (length, channels))
    return flac_of(samples, rate, subtype)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """plain/*.flac, and the same in clips.lmdb."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "plain").mkdir()
    for number in range(len(RECORDINGS)):
        (folder / "plain" / f"clips_{number}.flac").write_bytes(recording(number))
    write_published(folder / "clips.lmdb", [(recording(number), "hum") for number in range(len(RECORDINGS))])
    return folder


def of_lmdb(folder: Path, **options: Any) -> ClipSet:
    return read_lmdb(LmdbOptions(name="lmdb", path=folder / "clips.lmdb", **options), "none")


def of_files(folder: Path) -> ClipSet:
    paths = [folder / "plain" / f"clips_{number}.flac" for number in range(len(RECORDINGS))]
    return ClipSet("clips", tuple(Clip(path.stem, path, 0.0) for path in paths), "none")


def batches(clip_set: ClipSet, store: ClipStore, residence: Any = "mapped") -> Tensor:
    """Every batch of two epochs."""
    excerpts = build_excerpts([store], torch.device("cpu"), residence)
    source = StoredSource(clip_set, store, 4, LABELS, GRID, EXCERPT, excerpts[0])
    dataset = BatchDataset([source], EXCERPT, GRID.num_frames(EXCERPT), 1, 7)
    return torch.cat([dataset[epoch, step].waveform for epoch in range(2) for step in range(len(dataset))])


WAYS: dict[str, dict[str, Any]] = {"heard": {}, "in memory": {"in_memory": True}, "once": {"decode": "once"}}


@pytest.mark.parametrize("options", WAYS.values(), ids=WAYS)
def test_every_way_gives_the_batches_of_plain_files(folder: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    plain, clips = of_files(folder), of_lmdb(folder, **options)
    expected = batches(plain, open_stores(plain, tmp_path, RATE))
    assert expected.abs().amax() > 0.9
    store = open_stores(clips, tmp_path, RATE)
    assert isinstance(store, PackedStore if "decode" in options else LmdbStore)
    assert torch.equal(batches(clips, store), expected)
    assert torch.equal(batches(clips, store, "resident"), expected)


def test_what_is_decoded_when_heard_packs_nothing_and_needs_no_check(folder: Path, tmp_path: Path) -> None:
    clips = of_lmdb(folder)
    check_recordings([clips], tmp_path / "store", RATE)
    open_stores(clips, tmp_path / "store", RATE)
    assert not (tmp_path / "store").exists()


def test_what_is_decoded_once_is_packed_like_files(folder: Path, tmp_path: Path) -> None:
    clips = of_lmdb(folder, decode="once")
    check_recordings([clips], tmp_path, RATE)
    assert not is_packed(clips, tmp_path, RATE)
    open_stores(clips, tmp_path, RATE)
    check_recordings([clips], tmp_path, RATE)
    assert is_packed(clips, tmp_path, RATE)
    first_half = clips.select([0, 1, 2])
    assert is_packed(first_half, tmp_path, RATE)  # a part of a set needs no store of its own


def test_whole_clips_are_those_of_the_packed_store(folder: Path, tmp_path: Path) -> None:
    heard, packed = (open_stores(clips, tmp_path, RATE) for clips in (of_lmdb(folder), of_lmdb(folder, decode="once")))
    assert np.array_equal(heard.lengths, packed.lengths)
    assert heard.audio_ids == packed.audio_ids
    for clip, length in enumerate(heard.lengths.tolist()):
        assert np.array_equal(read_excerpt(heard, clip, 0, length + 3), read_excerpt(packed, clip, 0, length + 3))


def test_joined_sets_keep_their_ways(folder: Path, tmp_path: Path) -> None:
    other = write_published(tmp_path / "other.lmdb", [(recording(2), "hum")] * 3)
    other_clips = read_lmdb(LmdbOptions(name="lmdb", path=other, decode="once"), "none")
    store = open_stores(join_clip_sets([of_lmdb(folder), other_clips]), tmp_path, RATE)
    assert len(store) == len(RECORDINGS) + 3
    assert np.array_equal(store.samples(2, 0, 900), store.samples(len(RECORDINGS), 0, 900))


def test_soxr_makes_as_many_samples_as_is_told_beforehand() -> None:
    rng = np.random.default_rng(0)
    for from_rate, to_rate in ((44_100, 16_000), (22_050, 16_000), (16_000, 22_050), (8_000, 48_000), (11_025, 44_100)):
        for length in rng.integers(1, 30_000, 20).tolist():
            made = len(resample(np.zeros(length, dtype=np.float32), from_rate, to_rate))
            assert made == resampled_length(length, from_rate, to_rate)


def test_a_recording_that_breaks_off_is_named(tmp_path: Path) -> None:
    whole = flac_of(noise(0, 20_000))
    for name, content in (("half", whole[: len(whole) // 2]), ("garbled", whole[:9_000] + bytes(len(whole) - 9_000))):
        path = write_published(tmp_path / f"{name}.lmdb", [(whole, "hum"), (content, "hum")])
        clips = read_lmdb(LmdbOptions(name="lmdb", path=path), "none")
        store = open_stores(clips, tmp_path, RATE)
        store.samples(0, 0, 10)
        with pytest.raises(DesedTaskError, match=rf"{name}\.lmdb/1: "):
            store.samples(1, 0, 10)


def test_a_header_that_promises_hours_takes_no_memory(tmp_path: Path) -> None:
    content = bytearray(flac_of(noise(0, 2_000)))
    content[21:26] = (content[21] | 0x0F).to_bytes(1, "big") + b"\xff" * 4
    path = write_published(tmp_path / "a.lmdb", [(bytes(content), "hum")])
    store = open_stores(read_lmdb(LmdbOptions(name="lmdb", path=path), "none"), tmp_path, RATE)
    assert store.lengths[0] == (1 << 36) - 1
    with pytest.raises(DesedTaskError, match=r"a\.lmdb/0: "):
        store.samples(0, 0, 10)


def test_an_lmdb_that_was_replaced_is_refused(tmp_path: Path) -> None:
    path = write_published(tmp_path / "a.lmdb", [(flac_of(noise(n, 500)), "hum") for n in range(3)])
    clips = read_lmdb(LmdbOptions(name="lmdb", path=path), "none")
    path.unlink()
    write_published(path, [(flac_of(noise(0, 500)), "hum")])
    with pytest.raises(DesedTaskError, match=r"a\.lmdb/1: is not there any more"):
        open_stores(clips, tmp_path, RATE)


def test_recordings_of_another_container_are_heard_too(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(0, 900), RATE, subtype="PCM_16")
    path = write_published(tmp_path / "a.lmdb", [((tmp_path / "a.wav").read_bytes(), "hum")])
    store = open_stores(read_lmdb(LmdbOptions(name="lmdb", path=path), "none"), tmp_path, RATE)
    assert np.array_equal(store.samples(0, 0, 900), noise(0, 900))
