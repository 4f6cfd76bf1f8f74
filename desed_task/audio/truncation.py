"""Recordings that end before their container says they do.

libsndfile reads a cut AU, W64, CAF or Ogg without a word and gives a shorter recording, so a download that broke off
would be trained on, or served, as if it were whole; FFmpeg does so with MP4, WebM and AAC. (Of a cut FLAC or MP3 the
decoders say so themselves. WAV and AIFF are looked at where their headers are read.)

Ogg, MP4 and WebM are walked here by their own structure, before decoding. For the rest libsndfile's log is read: it
notes "(should be N)" beside a size that goes beyond the file. Each function gives what is wrong, or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

from desed_task.audio.pcm import size_of
from desed_task.audio.wav import SMALLEST_UNKNOWN_SIZE

_OGG_HEADER_BYTES = 27
_MAX_BOXES = 100_000
_LOGGED_SIZE = re.compile(r": (\d+) \(should be (\d+)\)")
# Writers disagree on whether a size counts its own header.
_LOGGED_SIZE_SLACK = 16
_EBML_HEADER, _EBML_SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"


def find_truncation(stream: BinaryIO, container: str) -> str | None:
    """What an Ogg, MP4 or WebM lacks by its own structure; leaves the stream at its start."""
    find = _FINDERS.get(container)
    fault = find(stream, size_of(stream)) if find is not None else None
    stream.seek(0)
    return fault


def find_truncation_in_log(log: str) -> str | None:
    """What libsndfile noted when it opened an AU, W64 or CAF: a size beyond the file's end."""
    for stated, actual in ((int(stated), int(actual)) for stated, actual in _LOGGED_SIZE.findall(log)):
        if actual + _LOGGED_SIZE_SLACK < stated < SMALLEST_UNKNOWN_SIZE:
            return f"truncated, {actual} of {stated} bytes are there; fetch it again"
    return None


def _find_in_ogg(stream: BinaryIO, size: int) -> str | None:
    """Walk the pages (RFC 3533, 6): the last one must be whole. Other bytes after the pages are left alone.

    A file cut exactly between two pages looks like the recording of a live stream, and is read as one.
    """
    position = 0
    while position < size:
        stream.seek(position)
        header = stream.read(_OGG_HEADER_BYTES)
        if not header.startswith(b"OggS"[: len(header)]):
            return None
        segments = stream.read(header[-1]) if len(header) == _OGG_HEADER_BYTES else b""
        whole = len(header) == _OGG_HEADER_BYTES and len(segments) == header[-1]
        position += _OGG_HEADER_BYTES + len(segments) + sum(segments)
        if not whole or position > size:
            return "truncated, it breaks off in the middle of an Ogg page; fetch it again"
    return None


def _find_in_mp4(stream: BinaryIO, size: int) -> str | None:
    """Walk the boxes (ISO 14496-12, 4.2). A size of 0 goes on to the file's end."""
    position = 0
    for _ in range(_MAX_BOXES):
        stream.seek(position)
        header = stream.read(16)
        if not header:
            return None
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        if length == 0:
            return None
        if len(header) < 8 or position + length > size:
            missing = position + length - size
            return f"truncated, {max(1, missing)} bytes are missing at its end; fetch it again"
        position += max(length, 8)
    return None


def _find_in_webm(stream: BinaryIO, size: int) -> str | None:
    """EBML header, then one segment (RFC 8794, RFC 9559). One of a live recording does not state its size."""
    position = 0
    for mark in (_EBML_HEADER, _EBML_SEGMENT):
        stream.seek(position)
        head = stream.read(12)
        if head[:4] != mark or len(head) < 12:
            return None
        length, num_bytes = _ebml_size(head[4:])
        if length is None:
            return None
        position += 4 + num_bytes + length
    return f"truncated, {position - size} bytes are missing at its end; fetch it again" if position > size else None


def _ebml_size(data: bytes) -> tuple[int | None, int]:
    """A size of 1 to 8 bytes, and how many they are; all ones: not known (RFC 8794, 6)."""
    num_bytes = 9 - data[0].bit_length()
    if num_bytes > 8:
        return None, 1
    value = int.from_bytes(data[:num_bytes], "big") & (1 << 7 * num_bytes) - 1
    return (None if value == (1 << 7 * num_bytes) - 1 else value), num_bytes


_FINDERS: dict[str, Callable[[BinaryIO, int], str | None]] = {
    "OGG": _find_in_ogg,
    "MP4": _find_in_mp4,
    "WEBM": _find_in_webm,
}
