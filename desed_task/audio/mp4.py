"""An MP4 (ISO 14496-12) looked at before FFmpeg builds its index of it.

A box that goes beyond the file's end says that the file is cut. And a table of samples can say how many there are
without listing them: FFmpeg then writes an entry of some 50 bytes for each, so that a file of a kilobyte would take all
the memory there is. So a file may not state many more packets than it has room for. They are counted wherever the
letters of such a table stand, since FFmpeg looks for tables in nearly every box; PCM, whose samples are its packets, is
indexed by chunks and not counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from desed_task.audio.pcm import size_of
from desed_task.errors import AudioError

# 250,000 packets of 20 ms are 1.4 hours, whatever the file's size; beyond, 64 bytes each, 25 kbit/s.
_PACKETS_OF_ANY_FILE, _BYTES_PER_PACKET = 250_000, 64
# Everything but the samples: a picture of the cover, and 4 bytes for each packet.
_INDEX_BYTES_OF_ANY_FILE, _SHARE_OF_INDEX = 8 << 20, 4
_BOXES_OF_ANY_FILE, _BYTES_PER_BOX = 100_000, 256
_TABLES = re.compile(rb"stsz|stz2|trun")


def survey_mp4(stream: BinaryIO, name: str) -> str | None:
    """What is missing at its end, or None. AudioError for an index that the file has no room for."""
    size = size_of(stream)
    index, missing = _read_index(stream, size, name)
    num_packets = sum(_stated_packets(index, match.start()) for match in _TABLES.finditer(index))
    num_packets -= sum(_pcm_packets(track) for track in _tracks(index))
    if num_packets > max(_PACKETS_OF_ANY_FILE, size // _BYTES_PER_PACKET):
        raise AudioError(f"{name}: an MP4 of {size} bytes that states {num_packets} packets; export it again")
    return f"truncated, {missing} bytes are missing at its end; fetch it again" if missing else None


def _read_index(stream: BinaryIO, size: int, name: str) -> tuple[bytes, int]:
    """All boxes of the file but those of samples, and how many bytes its last box lacks."""
    parts: list[bytes] = []
    num_bytes = position = 0
    for _ in range(max(_BOXES_OF_ANY_FILE, size // _BYTES_PER_BOX)):
        stream.seek(position)
        header = stream.read(16)
        if not header:
            return b"".join(parts), 0
        end = position + _length(header, size - position)
        if header[4:8] != b"mdat":
            num_bytes += min(end, size) - position
            if num_bytes > max(_INDEX_BYTES_OF_ANY_FILE, size // _SHARE_OF_INDEX):
                raise AudioError(f"{name}: an MP4 of {size} bytes, too few of which are samples; export it again")
            stream.seek(position)
            parts.append(stream.read(min(end, size) - position))
        if end > size:
            return b"".join(parts), end - size
        position = end
    raise AudioError(f"{name}: an MP4 of too many boxes for its {size} bytes; export it again")


def _length(header: bytes, left: int) -> int:
    """Bytes of a box with its header. One without a size, or with one that cannot be, goes on to the file's end."""
    if len(header) < 8:
        return 8
    length = int.from_bytes(header[:4], "big")
    if length == 1:
        length = int.from_bytes(header[8:], "big")
    return length if length >= 8 else left


def _stated_packets(index: bytes, kind: int) -> int:
    """How many packets a table states, whose four letters are at `kind`: stsz, stz2 (8.7.3), trun (8.8.8)."""
    count = kind + (8 if index[kind : kind + 4] == b"trun" else 12)
    return int.from_bytes(index[count : count + 4], "big")


def _tracks(index: bytes) -> Iterator[bytes]:
    """The boxes trak, each whole, of the boxes moov."""
    for kind, start, end in _boxes(index, 0, len(index)):
        if kind == b"moov":
            yield from (index[a:b] for inner, a, b in _boxes(index, start + 8, end) if inner == b"trak")


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, first byte, end) of each box between."""
    for _ in range(_BOXES_OF_ANY_FILE):
        if start + 8 > end:
            return
        stop = min(end, start + _length(data[start : min(end, start + 16)], end - start))
        yield data[start + 4 : start + 8], start, stop
        start = stop


def _pcm_packets(track: bytes) -> int:
    """The samples of a track of PCM: its one table of durations (8.6.1.2) says that each lasts one tick."""
    if (track.count(b"stts"), track.count(b"stsz"), track.count(b"stz2"), track.count(b"trun")) != (1, 1, 0, 0):
        return 0
    entries = track.index(b"stts") + 8
    if track[entries : entries + 4] != b"\0\0\0\1" or track[entries + 8 : entries + 12] != b"\0\0\0\1":
        return 0
    return _stated_packets(track, track.index(b"stsz"))
