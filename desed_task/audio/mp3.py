"""The frames of an MP3, as far as one must know them to tell whether libsndfile decodes all of it.

libsndfile stops at the length that the first frame states (the tag `Xing` or `Info`); without one it guesses a length,
too short where the bit rate varies, and of several recordings in one file, or where the rate changes, it gives the
first, without a word. Such files are for PyAV.
"""

from __future__ import annotations

from typing import BinaryIO, NamedTuple

from desed_task.audio.pcm import size_of

# kbit/s of layer III (ISO 11172-3 and 13818-3, 2.4.2.3), and Hz of MPEG 1; MPEG 2 has half of them, 2.5 a quarter.
_KILOBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KILOBITS_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES = (44_100, 48_000, 32_000)
_RATE_SHARE = {3: 1, 2: 2, 0: 4}
_TAGS = (b"Xing", b"Info")
_HAS_FRAMES_AND_BYTES = 0x3
# How far behind a recording's end others are looked for: tags of text stand there too.
_LOOKED_AT = 4096


class _Frame(NamedTuple):
    """num_bytes: with its header; tag: where `Xing` stands in it."""

    num_bytes: int
    tag: int


def states_its_length(stream: BinaryIO, start: int) -> bool:
    """Whether the first frame, at `start`, says how long the recording is, and no other one follows."""
    stream.seek(start)
    head = stream.read(64)
    first = _frame(head)
    if first is None or head[first.tag : first.tag + 4] not in _TAGS:
        return False
    flags, num_bytes = (int.from_bytes(head[at : at + 4], "big") for at in (first.tag + 4, first.tag + 12))
    if flags & _HAS_FRAMES_AND_BYTES != _HAS_FRAMES_AND_BYTES:
        return False
    return not continues(stream, start + num_bytes)


def continues(stream: BinaryIO, position: int) -> bool:
    """Whether frames of an MP3 follow soon after `position`: two, one right behind the other."""
    if position >= size_of(stream):
        return False
    stream.seek(position)
    data = stream.read(_LOOKED_AT)
    at = data.find(b"\xff")
    while at >= 0:
        frame = _frame(data[at : at + 4])
        if frame is not None and _frame(data[at + frame.num_bytes : at + frame.num_bytes + 4]) is not None:
            return True
        at = data.find(b"\xff", at + 1)
    return False


def _frame(head: bytes) -> _Frame | None:
    """What four bytes say; None when they begin no frame of layer III."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kilobits, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in _RATE_SHARE or kilobits in (0, 15) or rate == 3:
        return None
    mpeg_1 = version == 3
    bits = 1000 * (_KILOBITS if mpeg_1 else _KILOBITS_LOW)[kilobits]
    num_bytes = (144 if mpeg_1 else 72) * bits * _RATE_SHARE[version] // _RATES[rate] + (head[2] >> 1 & 1)
    mono = head[3] >> 6 == 3
    return _Frame(num_bytes, 4 + ((17 if mono else 32) if mpeg_1 else (9 if mono else 17)))
