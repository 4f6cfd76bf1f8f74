"""Many recordings: in order, bounded, and the first bad one named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.data.decoding import check_recordings, decode_recordings
from desed_task.errors import AudioError


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """Forty recordings; number n has 100 + n samples."""
    paths = [tmp_path / f"{number}.wav" for number in range(40)]
    for number, path in enumerate(paths):
        soundfile.write(path, np.zeros(100 + number), 16000, subtype="PCM_16")
    return paths


def test_recordings_come_in_order(recordings: list[Path]) -> None:
    assert [len(waveform) for waveform in decode_recordings(recordings, 16000)] == list(range(100, 140))


def test_sound_recordings_pass_the_check(recordings: list[Path]) -> None:
    check_recordings(recordings)
    check_recordings([])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "17.wav: no such audio file"),
        (b"", r"17.wav: the file is empty \(0 bytes\)"),
        (b"RIFF", "17.wav: not decodable audio"),
        (b"no sound at all, only words", "17.wav: not decodable audio"),
    ],
)
def test_the_first_bad_recording_is_named(recordings: list[Path], content: bytes | None, message: str) -> None:
    recordings[30].write_bytes(b"")
    recordings[17].unlink()
    if content is not None:
        recordings[17].write_bytes(content)
    with pytest.raises(AudioError, match=message):
        check_recordings(recordings)
    with pytest.raises(AudioError, match=message):
        list(decode_recordings(recordings, 16000))


def test_headers_tell_of_truncation_and_of_no_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(1000), 16000, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(AudioError, match=r"a\.wav: truncated, 456 of 2000 bytes"):
        check_recordings([path])
    soundfile.write(path, np.zeros(0), 16000, subtype="PCM_16")
    with pytest.raises(AudioError, match=r"a\.wav: holds no samples"):
        check_recordings([path])
