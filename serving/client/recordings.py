"""Recordings as callers have them, and the bytes that go over the wire.

A file is streamed from disk and bytes go as they are. A waveform is an array (samples,) or (samples, channels) with its
sample rate: int16 goes as raw samples, float as a WAV file of float32, so that nothing is rounded on the way.
"""

from __future__ import annotations

import os
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import anyio.to_thread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Recording: TypeAlias = "Path | str | bytes | NDArray[np.floating[Any]] | NDArray[np.int16]"

# Files up to this size are sent in one piece.
_SMALL_BYTES = 1 << 20
_PIECE_BYTES = 1 << 18
_IEEE_FLOAT = 3


@dataclass(frozen=True)
class Body:
    """What is sent of one recording. name: for batches; content: bytes, or the file that they are in."""

    content: bytes | Path
    content_type: str = "application/octet-stream"
    name: str = "recording"

    @property
    def num_bytes(self) -> int:
        """How many bytes are sent."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    def open(self, opened: ExitStack) -> IO[bytes] | bytes:
        """The bytes, or the open file of them."""
        return self.content if isinstance(self.content, bytes) else opened.enter_context(self.content.open("rb"))

    def pieces(self) -> bytes | Iterator[bytes]:
        """The bytes, of a large file piece by piece."""
        if isinstance(self.content, bytes):
            return self.content
        return self.content.read_bytes() if self.num_bytes <= _SMALL_BYTES else _pieces(self.content)

    async def pieces_async(self) -> bytes | AsyncIterator[bytes]:
        """The same where disks must not be waited for."""
        if isinstance(self.content, bytes):
            return self.content
        if self.num_bytes <= _SMALL_BYTES:
            return await anyio.to_thread.run_sync(self.content.read_bytes)
        return _pieces_async(self.content)


def as_body(recording: Recording, sample_rate: int | None = None) -> Body:
    """What is sent of a recording; TypeError or ValueError for what is none."""
    if isinstance(recording, str | os.PathLike):
        _refuse_rate(sample_rate)
        path = Path(recording)
        return Body(path, name=path.name)
    if isinstance(recording, bytes | bytearray | memoryview):
        _refuse_rate(sample_rate)
        return Body(bytes(recording))
    return _waveform_body(recording, sample_rate)


def _refuse_rate(sample_rate: int | None) -> None:
    if sample_rate is not None:
        raise TypeError("a file says its sample rate itself; give `sample_rate` with an array only")


def _waveform_body(waveform: Any, sample_rate: int | None) -> Body:
    import numpy as np

    if not isinstance(waveform, np.ndarray):
        raise TypeError(f"a recording is a path, bytes or an array, not {type(waveform).__name__}")
    if sample_rate is None:
        raise TypeError("an array does not say its sample rate; give `sample_rate`")
    if waveform.ndim not in (1, 2):
        raise ValueError(f"a waveform is (samples,) or (samples, channels), not {waveform.shape}")
    if sample_rate != int(sample_rate) or sample_rate < 1:
        raise ValueError(f"a sample rate is a whole number of Hz, not {sample_rate}")
    sample_rate = int(sample_rate)
    channels = 1 if waveform.ndim == 1 else waveform.shape[1]
    if waveform.dtype == np.int16:
        return Body(waveform.astype("<i2").tobytes(), f"audio/pcm;rate={sample_rate};channels={channels}")
    if not np.issubdtype(waveform.dtype, np.floating):
        raise TypeError(f"a waveform is float in [-1, 1] or int16, not {waveform.dtype}")
    return Body(_wav_of(waveform.astype("<f4").tobytes(), sample_rate, channels))


def _wav_of(samples: bytes, sample_rate: int, channels: int) -> bytes:
    frame_bytes = 4 * channels
    layout = struct.pack("<HHIIHHH", _IEEE_FLOAT, channels, sample_rate, sample_rate * frame_bytes, frame_bytes, 32, 0)
    chunks = [(b"fmt ", layout), (b"fact", struct.pack("<I", len(samples) // frame_bytes)), (b"data", samples)]
    data = b"".join(name + struct.pack("<I", len(chunk)) + chunk for name, chunk in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(data)) + b"WAVE" + data


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


async def _pieces_async(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await anyio.to_thread.run_sync(file.read, _PIECE_BYTES):
            yield piece
