"""Containers by their first bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.audio.containers import container_of, find_recordings, require_known_container
from desed_task.errors import AudioError, AudioFormatError


@pytest.mark.parametrize("container", ["WAV", "RF64", "FLAC", "OGG", "AIFF", "MP3"])
def test_what_is_written_is_recognised(container: str) -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros(2000), 16000, format=container)
    assert container_of(stream.getvalue()) == container


NO_AUDIO = [b"", b"RIFF", b"RIFF....AVI ", b"FORM....ILBM", b"\xff", b"\xff\xf1", b"<html>", b"PK"]


@pytest.mark.parametrize("data", NO_AUDIO)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(AudioFormatError, match="no known audio file; convert it to WAV"):
        require_known_container(data)


def test_recordings_are_found_by_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    soundfile.write(tmp_path / "below" / "b.dat", np.zeros(2000), 16000, format="FLAC")
    soundfile.write(tmp_path / "a.wav", np.zeros(2000), 16000)
    (tmp_path / "liar.wav").write_text("not a recording")
    assert find_recordings(tmp_path) == [tmp_path / "a.wav", tmp_path / "below" / "b.dat"]


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "liar.wav").write_text("not a recording")
    with pytest.raises(AudioError, match="no recordings in this folder"):
        find_recordings(tmp_path)
