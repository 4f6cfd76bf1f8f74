"""A record of an LMDB: msgpack of (recording, label) or (recording, label, fold), as GISE-51's files have them.

The recording is a whole FLAC file. The label is a text, in which several are joined by a delimiter, or a class number
(ESC-50, whose records have a fold). The parts are found without copying or touching the recording, so what 60,000
records say of themselves is read in seconds. Numbers that numpy wrote (msgpack_numpy) are read as well.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

# What msgpack puts before an array of 2 or 3, and before bytes or text: (first byte, bytes of the length that follows).
_FIRST_OF_ARRAY = 0x90
_LENGTHS = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_FLAC_MARK, _STREAMINFO_BYTES = b"fLaC", 34


class Record(NamedTuple):
    """A recording's bytes, a view of the record; its label; its fold, None where it has none."""

    audio: memoryview
    label: str | int
    fold: int | None


class FlacInfo(NamedTuple):
    """What a FLAC file's first block says: Hz, channels, bits of a sample, samples (0: not stated)."""

    sample_rate: int
    channels: int
    bits: int
    num_samples: int


def parse_record(value: memoryview) -> Record:
    """The parts of a record; ValueError, in words, for anything else."""
    from msgpack import Unpacker

    num_parts = value[0] - _FIRST_OF_ARRAY if len(value) > 1 else 0
    if num_parts not in (2, 3):
        raise ValueError("no msgpack of two or three parts")
    first, length = _extent(value)
    if first + length > len(value):
        raise ValueError(f"cut off, {len(value)} of {first + length} bytes")
    unpacker = Unpacker(raw=True, strict_map_key=False)
    unpacker.feed(value[first + length :])
    rest = [_plain(part) for part in unpacker]
    if len(rest) != num_parts - 1:
        raise ValueError("cut off behind its recording")
    fold = rest[1] if num_parts == 3 else None
    if isinstance(fold, str):
        raise ValueError(f"a fold {fold!r} that is no number")
    return Record(value[first : first + length], rest[0], fold)


def build_record(audio: bytes, label: str | int, fold: int | None = None) -> bytes:
    """As `parse_record` reads it, and every reader of the published layout."""
    from msgpack import packb

    packed: bytes = packb((audio, label) if fold is None else (audio, label, fold))
    return packed


def parse_flac(audio: memoryview | bytes) -> FlacInfo | None:
    """What FLAC says of itself; None for another container, or one that is cut off."""
    if bytes(audio[:4]) != _FLAC_MARK or len(audio) < 8 + _STREAMINFO_BYTES or audio[4] & 0x7F:
        return None
    packed = int.from_bytes(audio[18:26], "big")
    return FlacInfo(packed >> 44, (packed >> 41 & 0x7) + 1, (packed >> 36 & 0x1F) + 1, packed & (1 << 36) - 1)


def _extent(value: memoryview) -> tuple[int, int]:
    """Where the bytes of a record's first part begin, and how many they are."""
    kind = value[1]
    if kind & 0xE0 == 0xA0:
        return 2, kind & 0x1F
    size = _LENGTHS.get(kind)
    if size is None or len(value) < 2 + size:
        raise ValueError("its first part are no bytes of a recording")
    return 2 + size, int.from_bytes(value[2 : 2 + size], "big")


def _plain(part: Any) -> str | int:
    """Text or a whole number, also one that msgpack_numpy wrote."""
    if isinstance(part, dict) and part.get(b"nd") is False:
        part = np.frombuffer(part[b"data"], dtype=np.dtype(part[b"type"].decode("ascii")))[0].item()
    if isinstance(part, bytes):
        return part.decode("utf-8")
    if isinstance(part, int) and not isinstance(part, bool):
        return part
    raise ValueError(f"a label or fold {part!r} that is neither text nor a whole number")
