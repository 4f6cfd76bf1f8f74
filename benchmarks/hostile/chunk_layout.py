"""Where the parts of an audio file begin: chunks of RIFF and AIFF, blocks of FLAC, pages of Ogg, atoms of MP4, elements
of Matroska, frames of MP3. Only as much parsing as finding good places to cut, swap and lie needs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_ATOMS_OF_ATOMS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta")
_MATROSKA_MASTERS = (0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0xAE, 0xE1, 0x1F43B675, 0x114D9B74)


def boundaries(content: bytes) -> list[int]:
    """Offsets at which parts begin, the end included and the start not; none of what is not known."""
    head, form = content[:4], content[8:12]
    if head in (b"RIFF", b"RF64") and form == b"WAVE":
        found = _chunks(content, "<I")
    elif head == b"FORM":
        found = _chunks(content, ">I")
    elif head == b"fLaC":
        found = _flac_parts(content)
    elif head == b"OggS":
        found = (offset for offset, _ in ogg_pages(content))
    elif content[4:8] == b"ftyp":
        found = _atoms(content, 0, len(content))
    elif head == b"\x1aE\xdf\xa3":
        found = _elements(content, 0, len(content))
    else:
        found = _synchronised_frames(content)
    return sorted({offset for offset in found if 0 < offset < len(content)} | {len(content)})


def ogg_pages(content: bytes) -> list[tuple[int, int]]:
    """(offset, length) of each page (RFC 3533, section 6)."""
    pages, offset = [], 0
    while content[offset : offset + 4] == b"OggS" and offset + 27 <= len(content):
        num_segments = content[offset + 26]
        segments = content[offset + 27 : offset + 27 + num_segments]
        length = 27 + num_segments + sum(segments)
        pages.append((offset, length))
        offset += length
    return pages


def _chunks(content: bytes, size_format: str) -> Iterator[int]:
    offset = 12
    while offset + 8 <= len(content):
        yield offset
        yield offset + 8
        (size,) = struct.unpack_from(size_format, content, offset + 4)
        offset += 8 + size + size % 2


def _flac_parts(content: bytes) -> Iterator[int]:
    offset, last = 4, False
    while not last and offset + 4 <= len(content):
        yield offset
        yield offset + 4
        last = bool(content[offset] & 0x80)
        offset += 4 + int.from_bytes(content[offset + 1 : offset + 4], "big")
    while offset > 0:
        yield offset
        offset = content.find(b"\xff\xf8", offset + 2)


def _atoms(content: bytes, offset: int, end: int) -> Iterator[int]:
    while offset + 8 <= end:
        yield offset
        yield offset + 8
        (size,) = struct.unpack_from(">I", content, offset)
        if size < 8:
            return
        if content[offset + 4 : offset + 8] in _ATOMS_OF_ATOMS:
            yield from _atoms(content, offset + 8, min(end, offset + size))
        offset += size


def _elements(content: bytes, offset: int, end: int) -> Iterator[int]:
    while offset + 2 <= end:
        yield offset
        id_length = _vint_length(content[offset])
        size_at = offset + id_length
        if not id_length or size_at >= end:
            return
        size_length = _vint_length(content[size_at])
        start = size_at + size_length
        if not size_length or start > end:
            return
        size = int.from_bytes(content[size_at:start], "big") & ((1 << 7 * size_length) - 1)
        unknown = size == (1 << 7 * size_length) - 1
        stop = end if unknown else min(end, start + size)
        if int.from_bytes(content[offset:size_at], "big") in _MATROSKA_MASTERS:
            yield from _elements(content, start, stop)
        offset = stop


def _vint_length(first: int) -> int:
    return 9 - first.bit_length() if first else 0


def _synchronised_frames(content: bytes) -> Iterator[int]:
    offset = content.find(b"\xff")
    while offset >= 0:
        if offset + 1 < len(content) and content[offset + 1] & 0xE0 == 0xE0:
            yield offset
        offset = content.find(b"\xff", offset + 1)
