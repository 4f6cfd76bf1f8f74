"""Which container some bytes are, by their first bytes; names and Content-Types lie.

Only listed containers are handed to a decoder: a library that guesses among dozens of rare formats is a door for
hostile files (libsndfile's history of them is in ADPCM, SDS, HTK and their like).
"""

from __future__ import annotations

from pathlib import Path

from desed_task.errors import AudioError, AudioFormatError

CONTAINERS = ("WAV", "RF64", "FLAC", "OGG", "AIFF", "MP3")


def require_known_container(data: bytes, name: str = "audio") -> str:
    """The container of `data`; AudioFormatError when it is none of `CONTAINERS`."""
    container = container_of(data)
    if container is None:
        raise AudioFormatError(f"{name}: the first bytes are of no known audio file; send {', '.join(CONTAINERS)}")
    return container


def container_of(data: bytes) -> str | None:
    """The container of `data`, or None when its first bytes are of none of `CONTAINERS`."""
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
    if data[:3] == b"ID3" or _is_layer_3_frame(data[:2]):
        return "MP3"
    return None


def find_recordings(folder: Path) -> list[Path]:
    """The files under `folder`, subfolders too, that begin as one of `CONTAINERS`, sorted; AudioError without any."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file() and container_of(_head(path)) is not None]
    if not found:
        raise AudioError(f"{folder}: no recordings in this folder ({', '.join(CONTAINERS)})")
    return found


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(12)


def _is_layer_3_frame(head: bytes) -> bool:
    """Eleven bits of sync, then a version that is not reserved and layer III (ISO 11172-3, 2.4.1.3)."""
    return len(head) == 2 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[1] & 0x18 != 0x08
