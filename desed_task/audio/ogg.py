"""What an Ogg holds, by the first page of each of its streams (RFC 3533), before any decoder sees it."""

from __future__ import annotations

from typing import BinaryIO

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


def require_ogg_codec(stream: BinaryIO, name: str) -> str:
    """Vorbis, Opus or FLAC, the only stream of an Ogg, which is left at its start. AudioFormatError for others."""
    stream.seek(0)
    codecs = []
    for _ in range(_MAX_STREAMS):
        header = stream.read(_HEADER_BYTES)
        if len(header) < _HEADER_BYTES or header[:4] != b"OggS" or not header[5] & _BEGINS_STREAM:
            break
        packet = stream.read(sum(stream.read(header[26])))
        codecs.append(next((codec for mark, codec in _MARKS.items() if packet.startswith(mark)), "an unknown codec"))
    stream.seek(0)
    if not codecs:
        raise AudioError(f"{name}: not decodable audio (an Ogg without the first page of a stream)")
    if len(codecs) > 1 or codecs[0] not in _DECODED:
        found = ", ".join(codecs)
        raise AudioFormatError(f"{name}: {found} in Ogg is not decoded; send one stream of {', '.join(_DECODED)}")
    return codecs[0]
