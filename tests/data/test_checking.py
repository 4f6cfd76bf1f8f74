"""Every fault of every recording, collected in one pass before anything long begins."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.clips import Clip, ClipSet, join_clip_sets
from desed_task.data.checking import FAULTS_FILE, check_recordings, find_faults, read_true_durations
from desed_task.data.store import open_store
from desed_task.errors import AudioError, CorpusError

SECONDS = 0.5


def write(path: Path, seconds: float = SECONDS, rate: int = 16000) -> Clip:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * rate)), rate)
    return Clip(path.stem, path, SECONDS)


@pytest.fixture
def clips(tmp_path: Path) -> ClipSet:
    """wav, flac, ogg; two more are listed and missing."""
    audio = tmp_path / "audio"
    present = [write(audio / f"{name}.{suffix}") for name, suffix in (("a", "wav"), ("b", "flac"), ("c", "ogg"))]
    return ClipSet("real", tuple(present), "none", missing=(audio / "d.wav", audio / "e.wav"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def listed(store: Path) -> list[list[str]]:
    return [line.split("\t") for line in (store / FAULTS_FILE).read_text().splitlines()]


def test_sound_recordings_pass(clips: ClipSet, tmp_path: Path) -> None:
    sound = ClipSet("sound", clips.clips, "none")
    check_recordings([sound], tmp_path / "store", 16000)
    assert not (tmp_path / "store").exists()


def test_missing_recordings_are_a_warning_and_a_list(
    clips: ClipSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "store"
    check_recordings([clips], store, 16000)
    assert caplog.record_tuples == [
        (
            "desed_task.data.checking",
            logging.WARNING,
            f"real: 3 of 5 files present; the missing ones are in {store / FAULTS_FILE}",
        )
    ]
    assert listed(store)[1:] == [["real", str(path), "missing"] for path in clips.missing]


def test_all_faults_of_all_sets_are_in_one_sentence_and_one_list(clips: ClipSet, tmp_path: Path) -> None:
    other = ClipSet("other", (write(tmp_path / "other" / "x.wav"), write(tmp_path / "other" / "y.wav")), "none")
    truncate(clips.clips[0].path)
    clips.clips[1].path.write_bytes(b"")
    other.clips[1].path.write_bytes(b"words, no sound")
    store = tmp_path / "store"
    with pytest.raises(AudioError) as caught:
        check_recordings([clips, other], store, 16000)
    audio = tmp_path / "audio"
    assert str(caught.value) == (
        f"real: 3 of 5 files present, 2 unusable, first {audio / 'a.wav'}: truncated, 956 of 16000 bytes of audio are "
        f"there; other: 2 of 2 files present, 1 unusable, {other.clips[1].path}: not decodable audio, the first "
        f"bytes are of no known audio file; fetch them again or delete them (all are listed in {store / FAULTS_FILE})"
    )
    assert [row[:2] for row in listed(store)[1:]] == [
        *(["real", str(audio / name)] for name in ("d.wav", "e.wav", "a.wav", "b.flac")),
        ["other", str(tmp_path / "other" / "y.wav")],
    ]


def test_what_one_sentence_can_say_is_not_written(
    clips: ClipSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sound = ClipSet("sound", clips.clips[1:], "none", missing=clips.missing[:1])
    check_recordings([sound], tmp_path / "store", 16000)
    assert caplog.messages == ["sound: 2 of 3 files present; d.wav is missing"]
    truncate(clips.clips[0].path)
    with pytest.raises(AudioError, match=r"1 unusable, .*a\.wav: truncated, [^;]*; fetch it again or delete it$"):
        check_recordings([ClipSet("cut", clips.clips, "none")], tmp_path / "store", 16000)
    assert not (tmp_path / "store").exists()


def test_the_list_goes_when_nothing_is_missing(clips: ClipSet, tmp_path: Path) -> None:
    check_recordings([clips], tmp_path / "store", 16000)
    check_recordings([ClipSet("real", clips.clips, "none")], tmp_path / "store", 16000)
    assert not (tmp_path / "store" / FAULTS_FILE).exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such audio file"),
        (b"", "the file is empty (0 bytes)"),
        (
            b"RIFF",
            "not decodable audio, the first bytes are of no known audio file; convert it to WAV, RF64, FLAC, OGG, "
            "AIFF, MP3, MP4, WEBM, AAC",
        ),
    ],
)
def test_reasons(clips: ClipSet, tmp_path: Path, content: bytes | None, reason: str) -> None:
    clips.clips[2].path.unlink()
    if content is not None:
        clips.clips[2].path.write_bytes(content)
    (fault,) = find_faults(clips, tmp_path / "store", 16000)
    assert (fault.path, fault.reason) == (clips.clips[2].path, reason)


def test_a_recording_without_samples_is_a_fault(clips: ClipSet, tmp_path: Path) -> None:
    write(clips.clips[0].path, seconds=0.0)
    assert [fault.reason for fault in find_faults(clips, tmp_path / "store", 16000)] == ["holds no samples"]


# A table of durations says 0.5 s; 0.25 s more or less is rounding and padding.
@pytest.mark.parametrize(("seconds", "is_fault"), [(0.5, False), (0.7, False), (0.3, False), (0.8, True), (0.2, True)])
def test_a_length_other_than_the_tables_is_a_fault(tmp_path: Path, seconds: float, is_fault: bool) -> None:
    clip = write(tmp_path / "a.wav", seconds, rate=44100)
    nominal = ClipSet("real", (clip,), "none")
    assert find_faults(nominal, tmp_path / "store", 16000) == []
    tabled = ClipSet("real", (clip,), "none", durations_table=tmp_path / "durations.tsv")
    reasons = [fault.reason for fault in find_faults(tabled, tmp_path / "store", 16000)]
    assert reasons == ([f"lasts {seconds:.2f} s, 0.5 s in durations.tsv"] if is_fault else [])


def test_the_parts_of_a_joined_set_are_checked_by_their_own_tables(clips: ClipSet, tmp_path: Path) -> None:
    long = ClipSet("long", (write(tmp_path / "l.wav", 2.0),), "none", durations_table=tmp_path / "durations.tsv")
    with pytest.raises(AudioError, match=r"^long: 1 of 1 files present, 1 unusable, .*l\.wav: lasts 2\.00 s"):
        check_recordings([join_clip_sets([clips, long])], tmp_path / "store", 16000)


def test_a_set_that_is_used_twice_is_reported_once(clips: ClipSet, tmp_path: Path) -> None:
    truncate(clips.clips[0].path)
    with pytest.raises(AudioError, match=r"^real: 3 of 5 files present, 1 unusable, [^;]*; fetch it again"):
        check_recordings([clips, clips], tmp_path / "store", 16000)
    assert len(listed(tmp_path / "store")) == 1 + 2 + 1


def test_what_is_packed_unchanged_is_not_read_again(clips: ClipSet, tmp_path: Path) -> None:
    open_store(clips, tmp_path / "store", 16000)
    path = clips.clips[0].path
    before, size = path.stat().st_mtime_ns, path.stat().st_size
    path.write_bytes(b"\0" * size)
    os.utime(path, ns=(before, before))
    assert find_faults(clips, tmp_path / "store", 16000) == []
    assert len(find_faults(clips, tmp_path / "another", 16000)) == 1


def test_a_list_that_cannot_be_written_is_a_clear_error(clips: ClipSet, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match=r"faulty_recordings\.tsv: cannot be written \(File exists\); name another"):
        check_recordings([clips], tmp_path / "file", 16000)


def test_durations_are_those_of_the_headers_and_what_cannot_be_read_keeps_its_own(clips: ClipSet) -> None:
    write(clips.clips[0].path, seconds=1.25, rate=44100)
    truncate(clips.clips[2].path)
    nominal = [Clip(clip.audio_id, clip.path, 10.0) for clip in clips.clips]
    assert [clip.duration for clip in read_true_durations(nominal, "real")] == [1.25, 0.5, 10.0]
