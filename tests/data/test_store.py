"""The packed store: what is read is what was recorded, and a store is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.audio.reading import read_waveform
from desed_task.clips import Clip, ClipSet
from desed_task.data import store as store_module
from desed_task.data.mapped import read_excerpt
from desed_task.data.store import changes_since_packed, is_packed, open_store, remove_old_stores
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


def index_of(store: Path) -> Path:
    """The one index in there."""
    (path,) = store.glob("*.json")
    return path


def visible(folder: Path) -> list[str]:
    """Everything but locks."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_sixteen_bit_recordings_come_back_exactly(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", short=100, longer=2500, one=1)
    store = open_store(clips, tmp_path / "store", 16000)
    assert store.audio_ids == ("short", "longer", "one")
    assert store.lengths.tolist() == [100, 2500, 1]
    assert store.offsets.tolist() == [0, 100, 2600]
    for number, clip in enumerate(clips.clips):
        recorded = read_waveform(clip.path, 16000)
        np.testing.assert_array_equal(read_excerpt(store, number, 0, len(recorded)), recorded)


def test_an_excerpt_is_padded_with_silence_and_never_the_next_clip(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", first=100, second=100)
    store = open_store(clips, tmp_path / "store", 16000)
    whole = read_excerpt(store, 0, 0, 100)
    np.testing.assert_array_equal(read_excerpt(store, 0, 30, 20), whole[30:50])
    excerpt = read_excerpt(store, 0, 90, 50)
    np.testing.assert_array_equal(excerpt[:10], whole[90:])
    assert not excerpt[10:].any()
    assert not read_excerpt(store, 1, 200, 10).any()
    assert read_excerpt(store, 0, 0, 10).dtype == np.float32


def test_other_rates_are_resampled_and_channels_averaged(tmp_path: Path) -> None:
    time = np.arange(44100) / 44100
    tone = np.stack([0.6 * np.sin(2 * np.pi * 440 * time), 0.2 * np.sin(2 * np.pi * 440 * time)], axis=1)
    soundfile.write(tmp_path / "tone.flac", tone, 44100)
    clips = ClipSet("tone", (Clip("tone", tmp_path / "tone.flac", 1.0),), "none")
    store = open_store(clips, tmp_path / "store", 16000)
    assert store.lengths.tolist() == [16000]
    expected = 0.4 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(read_excerpt(store, 0, 0, 16000)[200:-200], expected[200:-200], atol=1e-3)


def test_overshoot_is_clipped_and_does_not_wrap(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", np.array([1.7, -1.7, 0.5], dtype=np.float32), 16000, subtype="FLOAT")
    clips = ClipSet("loud", (Clip("loud", tmp_path / "loud.wav", 1.0),), "none")
    store = open_store(clips, tmp_path / "store", 16000)
    np.testing.assert_allclose(read_excerpt(store, 0, 0, 3), [32767 / 32768, -1.0, 0.5])


def test_a_store_that_fits_is_not_packed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = clip_set(tmp_path / "audio", a=10, b=20)
    assert not is_packed(clips, tmp_path / "store", 16000)
    open_store(clips, tmp_path / "store", 16000)
    assert is_packed(clips, tmp_path / "store", 16000)
    monkeypatch.setattr(store_module, "pack", None)
    assert len(open_store(clips, tmp_path / "store", 16000)) == 2


def test_changed_recordings_another_rate_and_further_clips_are_packed_anew(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", a=10, b=20)
    open_store(clips, tmp_path / "store", 16000)
    assert not is_packed(clips, tmp_path / "store", 8000)
    assert not is_packed(clip_set(tmp_path / "audio", a=10, b=20, c=30), tmp_path / "store", 16000)
    clips = clip_set(tmp_path / "audio", a=10, b=20)
    soundfile.write(clips.clips[0].path, np.full(10, 0.5), 16000, subtype="PCM_16")
    os.utime(clips.clips[0].path, ns=(1, 1))
    assert not is_packed(clips, tmp_path / "store", 16000)
    assert read_excerpt(open_store(clips, tmp_path / "store", 16000), 0, 0, 10).tolist() == [0.5] * 10


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
    assert visible(tmp_path / "store") == []


def test_a_store_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", a=10)
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match=r"file: the store cannot be written \(File exists\)"):
        open_store(clips, tmp_path / "file", 16000)


def test_the_index_is_plain_json(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", a=10, b=7)
    open_store(clips, tmp_path / "store", 16000)
    index = json.loads(index_of(tmp_path / "store").read_text())
    status = clips.clips[0].path.stat()
    source = [str(tmp_path / "audio" / "a.wav"), status.st_size, status.st_mtime_ns]
    samples = index_of(tmp_path / "store").with_suffix(".int16").read_bytes()
    assert (index["format"], index["name"], index["sample_rate"]) == (2, "noise", 16000)
    assert (index["audio_ids"], index["offsets"], index["lengths"]) == (["a", "b"], [0, 10], [10, 7])
    assert index["sources"][0] == source
    assert index["sha256"] == [hashlib.sha256(part).hexdigest() for part in (samples[:20], samples[20:])]


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        (".int16", lambda content: content[:-3], r"\.int16: 57 bytes, where its index promises 60; remove .*--clean"),
        (".int16", lambda content: content + b"more", r"\.int16: 64 bytes, where its index promises 60"),
        (".json", lambda content: content[:50], r"\.json: not the index of a packed store, or cut off"),
        (".json", lambda content: b"[1, 2]", r"\.json: not the index of a packed store"),
        (".json", lambda content: content.replace(b'"format": 2', b'"format": 1'), r"not a packed store of format 2"),
        (".json", lambda content: content.replace(b'"lengths"', b'"length"'), r"\.json: not the index of a packed"),
        (".json", lambda content: content.replace(b'["a", "b"]', b'["a"]'), r"columns are not of one length"),
    ],
)
def test_a_damaged_or_foreign_store_is_refused_and_clean_up_removes_it(
    tmp_path: Path, suffix: str, damage: Callable[[bytes], bytes], message: str
) -> None:
    clips = clip_set(tmp_path / "audio", a=10, b=20)
    open_store(clips, tmp_path / "store", 16000)
    path = index_of(tmp_path / "store").with_suffix(suffix)
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(CorpusError, match=message) as caught:
        open_store(clips, tmp_path / "store", 16000)
    assert "\n" not in str(caught.value)
    assert len(remove_old_stores(clips, tmp_path / "store", 16000)) == 2
    assert len(open_store(clips, tmp_path / "store", 16000)) == 2


def test_verifying_names_the_first_clip_that_is_not_as_it_was_packed(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", a=10, b=20, c=30)
    open_store(clips, tmp_path / "store", 16000).verify()
    samples = index_of(tmp_path / "store").with_suffix(".int16")
    content = bytearray(samples.read_bytes())
    content[2 * 10 + 5] ^= 1
    content[2 * 30 + 5] ^= 1
    samples.write_bytes(content)
    store = open_store(clips, tmp_path / "store", 16000)
    with pytest.raises(CorpusError, match=r"\.int16: b \(clip 2 of 3\) is not as it was packed; .*--clean"):
        store.verify()


def test_what_changed_since_a_set_was_packed_is_said_in_words(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", a=10, b=20, c=30, d=40)
    store = tmp_path / "store"
    assert changes_since_packed(clips, store, 16000) is None
    open_store(clips.select([0, 1, 2]), store, 16000)
    for name in ("b", "c"):
        os.utime(tmp_path / "audio" / f"{name}.wav", ns=(1, 1))
    changed = "noise: 2 of 3 recordings changed (first b.wav) since it was packed"
    assert changes_since_packed(clips.select([0, 1, 2]), store, 16000) == changed
    assert changes_since_packed(clips.select([0, 1, 3]), store, 16000) == (
        "noise: 1 of 3 recordings changed (first b.wav), 1 of 3 recordings are new, "
        "1 of 3 recordings are gone since it was packed"
    )
    assert changes_since_packed(clips, store, 8000) is None
    elsewhere = clip_set(tmp_path / "another", a=10)
    assert changes_since_packed(elsewhere, store, 16000) is None


def test_packing_anew_says_why(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clips = clip_set(tmp_path / "audio", a=10, b=20)
    open_store(clips, tmp_path / "store", 16000)
    os.utime(clips.clips[0].path, ns=(1, 1))
    with caplog.at_level("INFO"):
        open_store(clips, tmp_path / "store", 16000)
    assert "noise: 1 of 2 recordings changed (first a.wav) since it was packed; packing it anew" in caplog.messages


def test_old_stores_stay_until_they_are_cleaned_up(tmp_path: Path) -> None:
    clips, store = clip_set(tmp_path / "audio", a=10, b=20), tmp_path / "store"
    other_root = clip_set(tmp_path / "another", a=10)
    for packed in (clips, other_root):
        open_store(packed, store, 16000)
    open_store(clips, store, 8000)
    os.utime(clips.clips[0].path, ns=(1, 1))
    open_store(clips, store, 16000)
    assert len(list(store.glob("*.json"))) == 4
    assert len(remove_old_stores(clips, store, 16000)) == 2
    assert is_packed(clips, store, 16000)
    assert is_packed(other_root, store, 16000)
    assert len(list(store.glob("*.json"))) == len(list(store.glob("*.int16"))) == 3
    assert remove_old_stores(clips, store, 16000) == []


def test_a_part_of_a_set_reads_from_the_store_of_the_whole(tmp_path: Path) -> None:
    clips, store = clip_set(tmp_path / "audio", a=10, b=20, c=30), tmp_path / "store"
    open_store(clips, store, 16000)
    fold = clips.select([2, 0], name="noise_fold_2")
    assert is_packed(fold, store, 16000)
    opened = open_store(fold, store, 16000)
    assert (opened.audio_ids, opened.lengths.tolist()) == (("c", "a"), [30, 10])
    for number, clip in enumerate(fold.clips):
        np.testing.assert_array_equal(
            read_excerpt(opened, number, 0, len(read_waveform(clip.path, 16000))), read_waveform(clip.path, 16000)
        )
    opened.verify()
    assert len(list(store.glob("*.json"))) == 1
    assert not is_packed(clips.select([2, 0], name="other"), store, 16000)
    os.utime(clips.clips[0].path, ns=(1, 1))
    assert not is_packed(fold, store, 16000)


def test_a_set_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nothing: no recordings to pack"):
        open_store(ClipSet("nothing", (), "none"), tmp_path / "store", 16000)


def test_a_recording_that_vanished_is_named(tmp_path: Path) -> None:
    clips = clip_set(tmp_path / "audio", a=10, b=20)
    clips.clips[1].path.unlink()
    with pytest.raises(AudioError, match=r"b\.wav: cannot be read \(No such file or directory\)"):
        open_store(clips, tmp_path / "store", 16000)
