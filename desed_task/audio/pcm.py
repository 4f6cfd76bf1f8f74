"""Samples that lie in a file as they are: integers, floats, A-law and mu-law (ITU-T G.711), in blocks.

Whoever has read where they begin and how they are written (wav.py, aiff.py, raw_pcm.py) needs no library to decode
them, and no library's parser ever sees the file. The values are those of libsndfile, bit for bit: integers are divided
by the power of two of their width.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from desed_task.audio.decoder import Frames
from desed_task.audio.waveform import Waveform

Encoding = Literal["unsigned", "signed", "float", "alaw", "ulaw"]
_FLOAT_BYTES = (4, 8)


@dataclass(frozen=True)
class PcmFormat:
    """How one sample is written. num_bytes: 1 to 4 of integers, 4 or 8 of floats, 1 of A-law and mu-law."""

    encoding: Encoding
    num_bytes: int
    big_endian: bool = False

    @property
    def possible(self) -> bool:
        """Whether there are such samples."""
        if self.encoding == "float":
            return self.num_bytes in _FLOAT_BYTES
        return self.num_bytes == 1 if self.encoding in ("unsigned", "alaw", "ulaw") else 1 <= self.num_bytes <= 4

    def decoded(self, data: bytes | memoryview) -> Waveform:
        """Whole samples as float32."""
        if self.encoding == "unsigned":
            centred = np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)
            return centred / np.float32(128)
        if self.encoding in ("alaw", "ulaw"):
            return _g711_values(self.encoding)[np.frombuffer(data, np.uint8)]
        order = ">" if self.big_endian else "<"
        if self.encoding == "float":
            with np.errstate(all="ignore"):
                return np.frombuffer(data, f"{order}f{self.num_bytes}").astype(np.float32)
        if self.num_bytes == 3:
            integers, bits = _widened(data, self.big_endian), 32
        else:
            integers, bits = np.frombuffer(data, f"{order}i{self.num_bytes}"), 8 * self.num_bytes
        waveform = integers.astype(np.float32)
        waveform *= np.float32(2.0 ** (1 - bits))
        return waveform


class PcmDecoder:
    """Decodes `num_bytes` of samples from where they start; see decoder.py."""

    def __init__(
        self,
        stream: BinaryIO,
        pcm: PcmFormat,
        container: str,
        sample_rate: int,
        channels: int,
        start: int,
        num_bytes: int,
        damage: str | None = None,
        claimed_bytes: int | None = None,
    ) -> None:
        """num_bytes: how many there are; claimed_bytes: how many the header says, None if it does not know."""
        self.container, self.sample_rate, self.channels, self.damage = container, sample_rate, channels, damage
        self._stream, self._pcm = stream, pcm
        self.bounded = pcm.encoding != "float"
        self._bytes_per_frame = pcm.num_bytes * channels
        self._position, self._frames_left = start, num_bytes // self._bytes_per_frame
        claimed = num_bytes if claimed_bytes is None else claimed_bytes
        self.claimed_frames: int | None = claimed // self._bytes_per_frame

    def read(self, max_frames: int) -> Frames:
        """(samples, channels); empty at the end."""
        wanted = min(max_frames, self._frames_left) * self._bytes_per_frame
        self._stream.seek(self._position)
        data = self._stream.read(wanted)
        data = data[: len(data) // self._bytes_per_frame * self._bytes_per_frame]
        self._position += len(data)
        self._frames_left -= len(data) // self._bytes_per_frame
        return self._pcm.decoded(data).reshape(-1, self.channels)

    def close(self) -> None:
        """Nothing was opened here."""


def size_of(stream: BinaryIO) -> int:
    """Bytes of a stream, which is left at its start."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return size


def _widened(data: bytes | memoryview, big_endian: bool) -> NDArray[np.int32]:
    """24 bits in the upper three bytes of 32."""
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    parts = np.frombuffer(data, np.uint8).reshape(-1, 3)
    wide[:, 1:] = parts[:, ::-1] if big_endian else parts
    return wide.view("<i4")[:, 0]


@cache
def _g711_values(law: Literal["alaw", "ulaw"]) -> Waveform:
    """The 256 values: sign, exponent of 3 bits, mantissa of 4 (G.711, tables 1 and 2), 16-bit scale."""
    codes = np.arange(256) ^ (0x55 if law == "alaw" else 0xFF)
    exponent, mantissa = codes >> 4 & 7, codes & 15
    if law == "alaw":
        size = np.where(exponent == 0, 2 * mantissa + 1 << 3, (2 * mantissa + 33 << 3) << np.maximum(exponent - 1, 0))
    else:
        size = ((2 * mantissa + 33) << exponent + 2) - 132
    positive = codes & 0x80 != 0 if law == "alaw" else codes & 0x80 == 0
    return (np.where(positive, size, -size) / 32768).astype(np.float32)
