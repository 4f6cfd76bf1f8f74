"""Many recordings: in order, bounded, and the first bad one named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.data.decoding import decode_recordings, in_threads
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


def test_the_first_bad_recording_ends_it_and_later_ones_are_not_begun(recordings: list[Path]) -> None:
    begun = []

    def work(path: Path) -> str:
        begun.append(path)
        if path.name == "3.wav":
            raise AudioError(path.name)
        return path.name

    done: list[str] = []
    with pytest.raises(AudioError, match=r"3\.wav"):
        done.extend(in_threads(work, recordings, num_threads=2))
    assert done == ["0.wav", "1.wav", "2.wav"]
    assert len(begun) < 20


def test_whoever_stops_listening_stops_the_work(recordings: list[Path]) -> None:
    begun = []
    results = in_threads(begun.append, recordings, num_threads=1)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(begun) < 10


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_the_number_of_threads_changes_nothing(recordings: list[Path], num_threads: int) -> None:
    lengths = [len(waveform) for waveform in decode_recordings(recordings, 16000, num_threads)]
    assert lengths == list(range(100, 140))


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
        list(decode_recordings(recordings, 16000))
