"""Sources that join corpora: the clips of one after those of the other, each read from its own store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from desed_task.audio.reading import write_waveform
from desed_task.clips import Clip, ClipSet, join_clip_sets
from desed_task.data.joined import JoinedStore, open_stores
from desed_task.data.mapped import read_excerpt
from desed_task.data.store import PackedStore, open_store
from desed_task.errors import CorpusError
from desed_task.events import Event

RATE = 16_000


def clip_set(folder: Path, name: str, levels: list[float]) -> ClipSet:
    """Clips of constant samples, one tenth of a second each."""
    clips = []
    for number, level in enumerate(levels):
        path = folder / f"{name}_{number}.wav"
        write_waveform(path, np.full(RATE // 10, level, dtype=np.float32), RATE)
        clips.append(Clip(path.stem, path, 0.1))
    events = {clip.audio_id: (Event(0.0, 0.05, "Dog"),) for clip in clips}
    return ClipSet(
        name, tuple(clips), "strong", events, dict.fromkeys(events, ("Dog",)), missing=(folder / "gone.wav",)
    )


def test_clips_of_both_sets_are_read_in_their_order(tmp_path: Path) -> None:
    synthetic, real = clip_set(tmp_path, "synthetic", [0.1, 0.2]), clip_set(tmp_path, "real", [0.3, 0.4, 0.5])
    joined = join_clip_sets([synthetic, real])
    store = open_stores(joined, tmp_path / "store", RATE)
    assert isinstance(store, JoinedStore)
    assert (len(store), store.audio_ids[2]) == (5, "real_0")
    levels = [float(read_excerpt(store, clip, 10, 5)[0]) for clip in range(5)]
    assert levels == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], abs=1e-4)
    assert store.lengths.tolist() == [1600] * 5


def test_nothing_is_packed_twice(tmp_path: Path) -> None:
    synthetic, real = clip_set(tmp_path, "synthetic", [0.1]), clip_set(tmp_path, "real", [0.3])
    open_store(synthetic, tmp_path / "store", RATE)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*.int16")}
    open_stores(join_clip_sets([synthetic, real]), tmp_path / "store", RATE)
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*.int16")}
    assert len(after) == 2
    assert before.items() <= after.items()


def test_a_joined_set_counts_what_both_lack_and_keeps_what_is_known(tmp_path: Path) -> None:
    joined = join_clip_sets([clip_set(tmp_path, "synthetic", [0.1]), clip_set(tmp_path, "real", [0.3])])
    assert (joined.name, joined.files_present, joined.files_expected) == ("synthetic+real", 2, 4)
    assert joined.events["real_0"] == (Event(0.0, 0.05, "Dog"),)
    assert joined.tags["synthetic_0"] == ("Dog",)


def test_one_set_alone_is_itself(tmp_path: Path) -> None:
    alone = clip_set(tmp_path, "synthetic", [0.1])
    assert join_clip_sets([alone]) is alone
    assert isinstance(open_stores(alone, tmp_path / "store", RATE), PackedStore)


def test_a_clip_that_both_sets_have_is_refused(tmp_path: Path) -> None:
    alone = clip_set(tmp_path, "synthetic", [0.1])
    with pytest.raises(CorpusError, match=r"synthetic_0.wav is in it twice"):
        join_clip_sets([alone, alone])
