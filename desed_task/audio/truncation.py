"""Recordings that end before their container says they do.

libsndfile reads a cut WAV, AIFF, AU, W64, RF64 or Ogg without a word and gives a shorter recording, so a download that
broke off would be trained on, or served, as if it were whole. (Of a cut FLAC or MP3 it says so itself while decoding.)

WAV and Ogg are checked here by their own headers, before decoding. For the rest libsndfile's log is read: it notes
"(should be N)" beside a size that goes beyond the file. Writers that stream do not know the length; the sizes they put
in its place are no promise and are not held against them.
"""

from __future__ import annotations

import io
import re
import struct
from typing import BinaryIO

from desed_task.errors import AudioError

# What streaming writers put in a 32-bit size: ffmpeg 0xFFFFFFFF, sox 0x7FFFF000 and up, arecord 0x80000000.
_SMALLEST_UNKNOWN_SIZE = 0x7FFFF000
_MAX_CHUNKS = 10_000
_OGG_HEADER_BYTES = 27
_LOGGED_SIZE = re.compile(r": (\d+) \(should be (\d+)\)")
# Writers disagree on whether a size counts its own header.
_LOGGED_SIZE_SLACK = 16


def refuse_truncated(stream: BinaryIO, name: str) -> None:
    """AudioError when the headers of a WAV or Ogg promise more bytes than there are; leaves the stream at its start."""
    head = stream.read(12)
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        _refuse_truncated_wav(stream, size, name)
    elif head[:4] == b"OggS":
        _refuse_truncated_ogg(stream, size, name)
    stream.seek(0)


def refuse_truncated_by_log(log: str, name: str) -> None:
    """AudioError when libsndfile's log of an opened AIFF, AU, W64, RF64 or CAF notes a size beyond the file's end."""
    for stated, actual in ((int(stated), int(actual)) for stated, actual in _LOGGED_SIZE.findall(log)):
        if actual + _LOGGED_SIZE_SLACK < stated < _SMALLEST_UNKNOWN_SIZE:
            raise AudioError(f"{name}: truncated, {actual} of {stated} bytes are there; fetch it again")


def _refuse_truncated_wav(stream: BinaryIO, size: int, name: str) -> None:
    stream.seek(12)
    for _ in range(_MAX_CHUNKS):
        header = stream.read(8)
        if len(header) < 8:
            return
        stated = int(struct.unpack("<I", header[4:])[0])
        available = size - stream.tell()
        if header[:4] == b"data":
            if available < stated < _SMALLEST_UNKNOWN_SIZE:
                raise AudioError(f"{name}: truncated, {available} of {stated} bytes of audio are there; fetch it again")
            return
        stream.seek(stated + stated % 2, io.SEEK_CUR)


def _refuse_truncated_ogg(stream: BinaryIO, size: int, name: str) -> None:
    """Walk the pages (RFC 3533, 6): the last one must be whole. Other bytes after the pages are left alone.

    A file cut exactly between two pages looks like the recording of a live stream, and is read as one.
    """
    position = 0
    while position < size:
        stream.seek(position)
        header = stream.read(_OGG_HEADER_BYTES)
        if not header.startswith(b"OggS"[: len(header)]):
            return
        segments = stream.read(header[-1]) if len(header) == _OGG_HEADER_BYTES else b""
        whole = len(header) == _OGG_HEADER_BYTES and len(segments) == header[-1]
        position += _OGG_HEADER_BYTES + len(segments) + sum(segments)
        if not whole or position > size:
            raise AudioError(f"{name}: truncated, it breaks off in the middle of an Ogg page; fetch it again")
