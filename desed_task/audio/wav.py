"""The header of a WAV: RIFF and RF64, walked chunk by chunk up to the samples (Microsoft's RIFF, EBU Tech 3306).

Integers of 8 to 32 bits, floats of 32 and 64, A-law and mu-law, also as WAVE_FORMAT_EXTENSIBLE, are decoded by pcm.py.
Any other codec (ADPCM, GSM, MP3 in WAV ...) is refused by its name: their decoders are where most of libsndfile's
security holes were.

Writers that stream do not know the length and put something in its place: that is no promise, and the samples go on to
the file's end. A size of 0 is one of them, unless the header was completed and says that other chunks follow.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

from desed_task.audio.decoder import Decoder
from desed_task.audio.pcm import PcmDecoder, PcmFormat, size_of
from desed_task.errors import AudioError, AudioFormatError

# What streaming writers put in a 32-bit size: ffmpeg 0xFFFFFFFF, sox 0x7FFFF000 and up, arecord 0x80000000.
SMALLEST_UNKNOWN_SIZE = 0x7FFFF000
_MAX_CHUNKS = 10_000
_PCM, _FLOAT, _ALAW, _ULAW, _EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
# The last 14 bytes of every subformat of WAVE_FORMAT_EXTENSIBLE that stands for a format tag.
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_OTHER_CODECS = {
    0x0002: "Microsoft ADPCM",
    0x0011: "IMA ADPCM",
    0x0031: "GSM 6.10",
    0x0040: "G.721 ADPCM",
    0x0050: "MPEG",
    0x0055: "MP3",
    0x0064: "G.726 ADPCM",
    0x00FF: "AAC",
    0x0161: "Windows Media Audio",
    0x2000: "AC-3",
    0xF1AC: "FLAC",
}


class _Format(NamedTuple):
    pcm: PcmFormat
    sample_rate: int
    channels: int


def open_wav(stream: BinaryIO, container: str, name: str) -> Decoder:
    """The decoder of a WAV. AudioFormatError for a codec that is not decoded, AudioError for a header that is none."""
    size = size_of(stream)
    stream.seek(4)
    riff_size = int.from_bytes(stream.read(4), "little")
    stream.seek(12)
    described: _Format | None = None
    long_size: int | None = None
    for _ in range(_MAX_CHUNKS):
        header = stream.read(8)
        if len(header) < 8:
            break
        stated = int.from_bytes(header[4:], "little")
        if header[:4] == b"data":
            if described is None:
                raise AudioError(f"{name}: not decodable audio (a WAV without a format before its samples)")
            start = stream.tell()
            if long_size is not None and stated == 0xFFFFFFFF:
                stated = long_size
            elif _is_unknown(stream, stated, riff_size, size):
                stated = -1
            return _decoder(stream, described, container, start, size - start, stated)
        body = stream.tell()
        if header[:4] == b"fmt ":
            described = _read_format(stream.read(min(stated, 40)), name)
        elif header[:4] == b"ds64" and container == "RF64":
            long_size = int.from_bytes(stream.read(24)[8:16], "little")
        stream.seek(body + stated + stated % 2)
    raise AudioError(f"{name}: not decodable audio (a WAV that holds no samples)")


def _decoder(stream: BinaryIO, described: _Format, container: str, start: int, available: int, stated: int) -> Decoder:
    """stated: bytes of samples as the header has it, -1 when it does not know."""
    damage = None
    if stated > available:
        damage = f"truncated, {available} of {stated} bytes of audio are there; fetch it again"
    num_bytes = available if stated < 0 else min(stated, available)
    pcm, rate, channels = described
    return PcmDecoder(stream, pcm, container, rate, channels, start, num_bytes, damage, max(stated, num_bytes))


def _is_unknown(stream: BinaryIO, stated: int, riff_size: int, size: int) -> bool:
    """Whether a data chunk's size is what a streaming writer puts there; the stream stays at the first sample."""
    if stated != 0:
        return stated >= SMALLEST_UNKNOWN_SIZE and stated > size - stream.tell()
    return riff_size + 8 <= stream.tell() or riff_size >= SMALLEST_UNKNOWN_SIZE


def _read_format(chunk: bytes, name: str) -> _Format:
    """The `fmt ` chunk; AudioFormatError names a codec that is not decoded."""
    if len(chunk) < 16:
        raise AudioError(f"{name}: not decodable audio (a WAV whose format has {len(chunk)} bytes)")
    tag, channels, rate, _, bytes_per_frame, bits = struct.unpack("<HHIIHH", chunk[:16])
    if tag == _EXTENSIBLE and len(chunk) >= 40:
        tag = int.from_bytes(chunk[24:26], "little") if chunk[26:40] == _SUBFORMAT_TAIL else tag
    if tag not in (_PCM, _FLOAT, _ALAW, _ULAW):
        codec = _OTHER_CODECS.get(tag, f"a codec of number 0x{tag:04X}")
        raise AudioFormatError(f"{name}: {codec} in WAV is not decoded; export it as PCM or FLAC")
    num_bytes = bytes_per_frame // channels if channels and bytes_per_frame % channels == 0 else 0
    pcm = _pcm_format(tag, num_bytes or (bits + 7) // 8)
    if channels == 0 or not pcm.possible or 8 * pcm.num_bytes < bits:
        raise AudioError(f"{name}: not decodable audio (a WAV of {channels} channels, {bits} bits)")
    return _Format(pcm, rate, channels)


def _pcm_format(tag: int, num_bytes: int) -> PcmFormat:
    if tag == _FLOAT:
        return PcmFormat("float", num_bytes)
    if tag == _PCM:
        return PcmFormat("unsigned" if num_bytes == 1 else "signed", num_bytes)
    return PcmFormat("alaw" if tag == _ALAW else "ulaw", num_bytes)
