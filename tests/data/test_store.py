"""The packed store: what is read is what was recorded, and a store is there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.audio.reading import Waveform, read_waveform
from desed_task.clips import Clip, ClipSet
from desed_task.data import store as store_module
from desed_task.data.store import is_packed, open_store
from desed_task.errors import AudioError, CorpusError


def clip_set(folder: Path, **lengths: int) -> ClipSet:
    """Recordings of 16-bit noise at 16 kHz, by name and number of samples."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    clips = []
    for name, num_samples in lengths.items():
        samples = rng.integers(-32768, 32768, num_samples, dtype=np.int16)
        soundfile.write(folder / f"{name}.wav", samples, 16000, subtype="PCM_16")
        clips.append(Clip(name, folder / f"{name}.wav", num_samples / 16000))
    return ClipSet("noise", tuple(clips), "none")


def test_sixteen_bit_recordings_come_back_exactly(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", short=100, longer=2500, one=1)
    store = open_store(clips, tmp_path / "store", 16000)
    assert store.audio_ids == ("short", "longer", "one")
    assert store.lengths.tolist() == [100, 2500, 1]
    assert store.offsets.tolist() == [0, 100, 2600]
    for number, clip in enumerate(clips.clips):
        recorded = read_waveform(clip.path, 16000)
        np.testing.assert_array_equal(store.read(number, 0, len(recorded)), recorded)


def test_an_excerpt_is_padded_with_silence_and_never_the_next_clip(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", first=100, second=100)
    store = open_store(clips, tmp_path / "store", 16000)
    whole = store.read(0, 0, 100)
    np.testing.assert_array_equal(store.read(0, 30, 20), whole[30:50])
    excerpt = store.read(0, 90, 50)
    np.testing.assert_array_equal(excerpt[:10], whole[90:])
    assert not excerpt[10:].any()
    assert not store.read(1, 200, 10).any()
    assert store.read(0, 0, 10).dtype == np.float32


def test_other_rates_are_resampled_and_channels_averaged(tmp_path: Path) -> None:
    time = np.arange(44100) / 44100
    tone = np.stack([0.6 * np.sin(2 * np.pi * 440 * time), 0.2 * np.sin(2 * np.pi * 440 * time)], axis=1)
    soundfile.write(tmp_path / "tone.flac", tone, 44100)
    clips = ClipSet("tone", (Clip("tone", tmp_path / "tone.flac", 1.0),), "none")
    store = open_store(clips, tmp_path / "store", 16000)
    assert store.lengths.tolist() == [16000]
    expected = 0.4 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(store.read(0, 0, 16000)[200:-200], expected[200:-200], atol=1e-3)


def test_overshoot_is_clipped_and_does_not_wrap(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", np.array([1.7, -1.7, 0.5], dtype=np.float32), 16000, subtype="FLOAT")
    clips = ClipSet("loud", (Clip("loud", tmp_path / "loud.wav", 1.0),), "none")
    store = open_store(clips, tmp_path / "store", 16000)
    np.testing.assert_allclose(store.read(0, 0, 3), [32767 / 32768, -1.0, 0.5])


def test_a_store_that_fits_is_not_packed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = clip_set(tmp_path / "audio", a=10, b=20)
    assert not is_packed(clips, tmp_path / "store", 16000)
    open_store(clips, tmp_path / "store", 16000)
    assert is_packed(clips, tmp_path / "store", 16000)
    monkeypatch.setattr(store_module, "decode_recordings", None)
    assert len(open_store(clips, tmp_path / "store", 16000)) == 2


def test_changed_recordings_another_rate_and_other_clips_are_packed_anew(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", a=10, b=20)
    open_store(clips, tmp_path / "store", 16000)
    assert not is_packed(clips, tmp_path / "store", 8000)
    assert not is_packed(clips.select([1, 0]), tmp_path / "store", 16000)
    soundfile.write(clips.clips[0].path, np.full(10, 0.5), 16000, subtype="PCM_16")
    os.utime(clips.clips[0].path, ns=(1, 1))
    assert not is_packed(clips, tmp_path / "store", 16000)
    assert open_store(clips, tmp_path / "store", 16000).read(0, 0, 10).tolist() == [0.5] * 10


def test_a_lost_half_of_a_store_is_packed_again(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", a=10)
    open_store(clips, tmp_path / "store", 16000)
    next((tmp_path / "store").glob("*.int16")).unlink()
    assert len(open_store(clips, tmp_path / "store", 16000)) == 1


def test_a_truncated_recording_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", whole=4000, cut=4000, after=4000)
    cut = clips.clips[1].path
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(AudioError, match=r"cut\.wav: truncated"):
        open_store(clips, tmp_path / "store", 16000)
    assert list((tmp_path / "store").iterdir()) == []


def test_interrupted_packing_leaves_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode_one(paths: Sequence[Path], sample_rate: int) -> Iterator[Waveform]:
        yield read_waveform(paths[0], sample_rate)
        raise KeyboardInterrupt

    clips = clip_set(tmp_path / "audio", a=10, b=20)
    monkeypatch.setattr(store_module, "decode_recordings", decode_one)
    with pytest.raises(KeyboardInterrupt):
        open_store(clips, tmp_path / "store", 16000)
    assert list((tmp_path / "store").iterdir()) == []


def test_a_store_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", a=10)
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match=r"file: the store cannot be written \(File exists\)"):
        open_store(clips, tmp_path / "file", 16000)


def test_the_index_is_plain_json(tmp_path: Path) -> None:
    open_store(clip_set(tmp_path / "audio", a=10), tmp_path / "store", 16000)
    index = json.loads(next((tmp_path / "store").glob("noise-*.json")).read_text())
    assert index == {"format": 1, "sample_rate": 16000, "audio_ids": ["a"], "offsets": [0], "lengths": [10]}
