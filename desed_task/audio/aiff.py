"""The header of an AIFF or AIFC, walked chunk by chunk to its samples (Apple's AIFF-C, 1991).

Integers of 8 to 32 bits in either order, floats, A-law and mu-law are decoded by pcm.py; compressed kinds (ima4, MAC3,
QDM2 ...) are refused by their four letters.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

from desed_task.audio.decoder import Decoder
from desed_task.audio.pcm import PcmDecoder, PcmFormat, size_of
from desed_task.audio.wav import SMALLEST_UNKNOWN_SIZE
from desed_task.errors import AudioError, AudioFormatError

_MAX_CHUNKS = 10_000
_KINDS = {
    b"NONE": ("signed", True),
    b"twos": ("signed", True),
    b"in24": ("signed", True),
    b"in32": ("signed", True),
    b"sowt": ("signed", False),
    b"raw ": ("unsigned", True),
    b"fl32": ("float", True),
    b"FL32": ("float", True),
    b"fl64": ("float", True),
    b"FL64": ("float", True),
    b"alaw": ("alaw", True),
    b"ALAW": ("alaw", True),
    b"ulaw": ("ulaw", True),
    b"ULAW": ("ulaw", True),
}


class _Common(NamedTuple):
    """What the chunk COMM says."""

    pcm: PcmFormat
    sample_rate: int
    channels: int
    num_frames: int


def open_aiff(stream: BinaryIO, container: str, name: str) -> Decoder:
    """The decoder of an AIFF. AudioFormatError for another codec, AudioError for a header that is none."""
    size = size_of(stream)
    stream.seek(8)
    compressible = stream.read(4) == b"AIFC"
    common: _Common | None = None
    samples: tuple[int, int] | None = None
    for _ in range(_MAX_CHUNKS):
        header = stream.read(8)
        if len(header) < 8 or (common is not None and samples is not None):
            break
        stated, body = int.from_bytes(header[4:], "big"), stream.tell()
        if header[:4] == b"COMM":
            common = _read_common(stream.read(min(stated, 24)), compressible, name)
        elif header[:4] == b"SSND":
            offset = int.from_bytes(stream.read(8)[:4], "big")
            samples = body + 8 + offset, max(0, stated - 8 - offset)
        stream.seek(body + stated + stated % 2)
    if common is None or samples is None:
        raise AudioError(f"{name}: not decodable audio (an AIFF that holds no {'samples' if common else 'format'})")
    return _decoder(stream, container, common, samples, size)


def _decoder(stream: BinaryIO, container: str, common: _Common, samples: tuple[int, int], size: int) -> Decoder:
    """samples: where they begin and how many bytes their chunk states; COMM's number of frames binds too."""
    start, stated = samples
    pcm, rate, channels, num_frames = common
    available = max(0, size - start)
    sizes = [stated, num_frames * channels * pcm.num_bytes]
    known = [num_bytes for num_bytes in sizes if 0 < num_bytes < SMALLEST_UNKNOWN_SIZE - 8]
    promised = min(known) if known else (0 if _is_complete(stream, start) else available)
    damage = None
    if promised > available:
        damage = f"truncated, {available} of {promised} bytes of audio are there; fetch it again"
    return PcmDecoder(stream, pcm, container, rate, channels, start, min(promised, available), damage, promised)


def _is_complete(stream: BinaryIO, start: int) -> bool:
    """Whether the size in front of all, which is written last, says that something stands behind the samples."""
    stream.seek(4)
    return start - 8 < int.from_bytes(stream.read(4), "big") < SMALLEST_UNKNOWN_SIZE


def _read_common(chunk: bytes, compressible: bool, name: str) -> _Common:
    if len(chunk) < (22 if compressible else 18):
        raise AudioError(f"{name}: not decodable audio (an AIFF whose format has {len(chunk)} bytes)")
    channels, num_frames, bits = struct.unpack(">HIH", chunk[:8])
    kind = chunk[18:22] if compressible else b"NONE"
    if kind not in _KINDS:
        letters = kind.decode("latin-1")
        raise AudioFormatError(f"{name}: the codec {letters!r} in AIFF is not decoded; export it as PCM or FLAC")
    encoding, big_endian = _KINDS[kind]
    num_bytes = 1 if encoding in ("alaw", "ulaw") else (bits + 7) // 8
    if kind.lower() in (b"fl32", b"fl64"):
        num_bytes = int(kind[2:]) // 8
    pcm = PcmFormat(encoding, num_bytes, big_endian)  # type: ignore[arg-type]
    if channels == 0 or not pcm.possible:
        raise AudioError(f"{name}: not decodable audio (an AIFF of {channels} channels, {bits} bits)")
    return _Common(pcm, _extended_float(chunk[8:18]), channels, num_frames)


def _extended_float(data: bytes) -> int:
    """A rate in Hz, as 80 bits of IEEE 754: sign, exponent, then 64 bits, the first of them before the point."""
    exponent, mantissa = struct.unpack(">HQ", data)
    shift = 16383 + 63 - (exponent & 0x7FFF)
    if exponent & 0x8000 or shift < 0:
        return 0
    return mantissa + (1 << shift >> 1) >> shift if shift < 128 else 0
