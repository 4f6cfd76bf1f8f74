"""What an Ogg holds, by its pages (RFC 3533), before any decoder sees it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from desed_task.audio.pcm import size_of
from desed_task.errors import AudioError, AudioFormatError

_HEADER_BYTES = 27
_BEGINS_STREAM = 0x02
_MAX_STREAMS = 8
_MARKS = {
    b"\x01vorbis": "Vorbis",
    b"OpusHead": "Opus",
    b"\x7fFLAC": "FLAC",
    b"Speex   ": "Speex",
    b"\x80theora": "Theora",
    b"fishead\0": "Skeleton",
}
_DECODED = ("Vorbis", "Opus", "FLAC")


class OggPage(NamedTuple):
    """begins_stream: it is the first of its stream; end: where the next one starts, beyond the file if it is cut."""

    begins_stream: bool
    body: int
    end: int


def ogg_pages(stream: BinaryIO, size: int) -> Iterator[OggPage]:
    """The pages of a file of `size` bytes, one after the other, up to the first bytes that are none."""
    position = 0
    while position < size:
        stream.seek(position)
        header = stream.read(_HEADER_BYTES)
        if not header.startswith(b"OggS"[: len(header)]):
            return
        if len(header) < _HEADER_BYTES:
            yield OggPage(False, size, size + 1)
            return
        segments = stream.read(header[-1])
        body = position + _HEADER_BYTES + len(segments)
        position = body + sum(segments) if len(segments) == header[-1] else size + 1
        yield OggPage(bool(header[5] & _BEGINS_STREAM), body, position)


def survey_ogg(stream: BinaryIO) -> tuple[bool, str | None]:
    """Whether one recording follows another (RFC 3533, 4), as those of internet radio do; and what is missing.

    The last page must be whole; other bytes after the pages are left alone. A file cut exactly between two pages looks
    like the recording of a live stream, and is read as one. The stream is left at its start.
    """
    size, end, num_streams = size_of(stream), 0, 0
    for page in ogg_pages(stream, size):
        num_streams += page.begins_stream
        end = page.end
    stream.seek(0)
    cut = "truncated, it breaks off in the middle of an Ogg page; fetch it again" if end > size else None
    return num_streams > 1, cut


def require_ogg_codec(stream: BinaryIO, name: str) -> str:
    """Vorbis, Opus or FLAC, the only stream of an Ogg, which is left at its start. AudioFormatError for others."""
    codecs = []
    for page in islice(ogg_pages(stream, size_of(stream)), _MAX_STREAMS):
        if not page.begins_stream or page.end == page.body:
            break
        stream.seek(page.body)
        packet = stream.read(8)
        codecs.append(next((codec for mark, codec in _MARKS.items() if packet.startswith(mark)), "an unknown codec"))
    stream.seek(0)
    if not codecs:
        raise AudioError(f"{name}: not decodable audio (an Ogg without the first page of a stream)")
    if len(codecs) > 1 or codecs[0] not in _DECODED:
        found = ", ".join(codecs)
        raise AudioFormatError(f"{name}: {found} in Ogg is not decoded; send one stream of {', '.join(_DECODED)}")
    return codecs[0]
