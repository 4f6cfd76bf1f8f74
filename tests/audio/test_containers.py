"""Containers by their first bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from desed_task.audio.containers import CONTAINERS, container_of, require_known_container
from desed_task.errors import AudioFormatError


@pytest.mark.parametrize("container", CONTAINERS)
def test_what_is_written_is_recognised(container: str) -> None:
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros(2000), 16000, format=container)
    assert container_of(stream.getvalue()) == container


NO_AUDIO = [b"", b"RIFF", b"RIFF....AVI ", b"FORM....ILBM", b"\xff", b"\xff\xf1", b"<html>", b"PK"]


@pytest.mark.parametrize("data", NO_AUDIO)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(AudioFormatError, match="no known audio file; send WAV"):
        require_known_container(data)
