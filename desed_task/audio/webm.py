"""A WebM or Matroska (RFC 8794, RFC 9559) looked at before FFmpeg reads it.

A segment that goes beyond the file's end says that the file is cut; that of a live recording does not state its size.
And what is not samples (tags, cues, chapters, attachments) may not be large: FFmpeg keeps all of it, and a tag of three
bytes takes fifty in memory.
"""

from __future__ import annotations

from typing import BinaryIO

from desed_task.audio.pcm import size_of
from desed_task.errors import AudioError

_HEADER, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
# Void; and of a cluster that does not state its size: time, simple block, block group, position, previous size, CRC.
_NOT_KEPT = (0xEC, 0xE7, 0xA3, 0xA0, 0xA7, 0xAB, 0xBF)
_MAX_KEPT_BYTES = 2 << 20
_ELEMENTS_OF_ANY_FILE, _BYTES_PER_ELEMENT = 100_000, 32


def survey_webm(stream: BinaryIO, name: str) -> str | None:
    """What is missing at its end, or None. AudioError for more metadata than is read."""
    size = size_of(stream)
    position = kept = missing = 0
    for _ in range(max(_ELEMENTS_OF_ANY_FILE, size // _BYTES_PER_ELEMENT)):
        if position >= size:
            return f"truncated, {missing} bytes are missing at its end; fetch it again" if missing else None
        stream.seek(position)
        mark, length, header_bytes = _element(stream.read(12))
        end = size if length is None else position + header_bytes + length
        missing = max(missing, end - size)
        if mark == _SEGMENT or (mark == _CLUSTER and length is None):
            position += header_bytes
            continue
        if mark not in (_HEADER, _CLUSTER, *_NOT_KEPT):
            kept += min(end, size) - position
            if kept > _MAX_KEPT_BYTES:
                raise AudioError(f"{name}: more than {_MAX_KEPT_BYTES} bytes of tags and pictures; take them out")
        position = end
    raise AudioError(f"{name}: a WebM of too many parts for its {size} bytes; export it again")


def _element(head: bytes) -> tuple[int, int | None, int]:
    """An element's mark, the bytes of what it holds (None: not stated), and those of its header."""
    mark_bytes = min(4, 9 - head[0].bit_length())
    rest = head[mark_bytes:]
    size_bytes = 9 - rest[0].bit_length() if rest else 9
    if size_bytes > 8:
        return int.from_bytes(head[:mark_bytes], "big"), None, mark_bytes + 1
    ones = (1 << 7 * size_bytes) - 1
    length = int.from_bytes(rest[:size_bytes], "big") & ones
    return int.from_bytes(head[:mark_bytes], "big"), None if length == ones else length, mark_bytes + size_bytes
