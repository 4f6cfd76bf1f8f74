"""Which container some bytes are, by their first bytes; names and Content-Types lie.

Only listed containers are handed to a decoder: a library that guesses among dozens of rare formats is a door for
hostile files (libsndfile's history of them is in ADPCM, SDS, HTK and their like).
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from desed_task.errors import AudioError, AudioFormatError

# What soundfile or our own readers decode, then what needs PyAV.
_OF_AV = ("MP4", "WEBM", "AAC")
CONTAINERS = ("WAV", "RF64", "FLAC", "OGG", "AIFF", "MP3", *_OF_AV)
# Read from one's own disk, never from a request.
LOCAL_CONTAINERS = (*CONTAINERS, "AU", "W64", "CAF")
# Still pictures are ftyp files too (ISO 23008-12, AVIF, Canon's raw).
_PICTURES = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis", b"crx ", b"jxl ")
_W64_MARK = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_ID3_HEADER_BYTES = 10
_MAX_ID3_TAGS = 4
_ADTS_HEADER_BYTES = 7


def require_known_container(data: bytes, name: str = "audio") -> str:
    """The container of `data`; AudioFormatError when it is none of `CONTAINERS`."""
    container = container_of(data)
    if container is None:
        raise _unknown(name)
    return container


def container_of(data: bytes) -> str | None:
    """The container of `data`, or None when its first bytes are of none of `CONTAINERS`. Twelve bytes are enough."""
    form = data[8:12]
    if data[:4] == b"RIFF" and form == b"WAVE":
        return "WAV"
    if data[:4] == b"RF64" and form == b"WAVE":
        return "RF64"
    if data[:4] == b"FORM" and form in (b"AIFF", b"AIFC"):
        return "AIFF"
    if data[:4] == b"fLaC":
        return "FLAC"
    if data[:4] == b"OggS":
        return "OGG"
    if data[4:8] == b"ftyp" and form not in _PICTURES:
        return "MP4"
    if data[:4] == b"\x1aE\xdf\xa3":
        return "WEBM"
    if data[:3] == b"ID3" or _is_layer_3_frame(data[:2]):
        return "MP3"
    if _is_adts_frame(data[:_ADTS_HEADER_BYTES]):
        return "AAC"
    return None


def require_container(stream: BinaryIO, allowed: tuple[str, ...], name: str) -> str:
    """The container of a stream, which is left at its start; what an ID3 tag stands before is looked at too.

    AudioFormatError when it is none of `allowed`.
    """
    stream.seek(0)
    head = stream.read(16)
    container = container_of(head) or _local_container_of(head)
    if head[:3] == b"ID3":
        container = _behind_id3(stream)
    stream.seek(0)
    if container is None or container not in allowed:
        raise _unknown(name)
    return container


def find_recordings(folder: Path) -> list[Path]:
    """The files under `folder`, subfolders too, that begin as one of `CONTAINERS`, sorted; AudioError without any."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and container_of(_head(path)) is not None]
    if not found:
        raise AudioError(f"{folder}: no recordings in this folder ({', '.join(CONTAINERS)})")
    return found


def _unknown(name: str) -> AudioFormatError:
    return AudioFormatError(
        f"{name}: not decodable audio, the first bytes are of no known audio file; convert it to "
        f"{', '.join(CONTAINERS)}"
    )


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(12)


def _local_container_of(head: bytes) -> str | None:
    if head[:4] in (b".snd", b"dns."):
        return "AU"
    if head[:8] == b"caff\0\1\0\0":
        return "CAF"
    return "W64" if head == _W64_MARK else None


def skip_id3(stream: BinaryIO) -> int:
    """The first byte behind ID3 tags, where the stream then stands; a length has 7 bits in each byte (ID3v2.4, 3.1)."""
    position = 0
    for _ in range(_MAX_ID3_TAGS):
        stream.seek(position)
        head = stream.read(_ID3_HEADER_BYTES)
        if head[:3] != b"ID3" or len(head) < _ID3_HEADER_BYTES:
            break
        length = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        position += _ID3_HEADER_BYTES * (2 if head[5] & 0x10 else 1) + length
    stream.seek(position)
    return position


def _behind_id3(stream: BinaryIO) -> str | None:
    """MP3, FLAC or AAC behind tags; nothing else, since a decoder would guess there."""
    skip_id3(stream)
    head = stream.read(12)
    container = None if head[:3] == b"ID3" else container_of(head)
    return container if container in ("MP3", "FLAC", "AAC") else None


def _is_layer_3_frame(head: bytes) -> bool:
    """Eleven bits of sync, then a version that is not reserved and layer III (ISO 11172-3, 2.4.1.3)."""
    return len(head) == 2 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[1] & 0x18 != 0x08


def _is_adts_frame(head: bytes) -> bool:
    """Twelve bits of sync, layer 0, a rate that there is, and a frame longer than its header (ISO 13818-7, 6.2.1)."""
    if len(head) < _ADTS_HEADER_BYTES or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return False
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return head[2] >> 2 & 15 < 13 and length > _ADTS_HEADER_BYTES
