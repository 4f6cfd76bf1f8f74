"""Small files of very much sound: silence, which codecs shrink a thousandfold and more, in files of any size that are
valid to the last checksum. They are made in a few seconds whatever they claim, for only their frames are made.

    FLAC          a frame of 65,535 samples of silence takes 13 to 16 bytes, 34 to 37 of 8 channels
    Vorbis, Opus  pages of an encoded silence, repeated with new numbers, times and checksums
    MP3           a frame of 36 ms takes 36 bytes
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from benchmarks.hostile.checksums import checksums
from benchmarks.hostile.chunk_layout import ogg_pages
from benchmarks.hostile.whole_files import encode

_FLAC_BLOCK = 65_535
_UNKNOWN = 0


def bombs(num_bytes: int) -> dict[str, bytes]:
    """Files of about so many bytes that hold as much sound as their codec can put there."""
    return {
        "flac mono at 16 kHz": flac_silence(num_bytes, 1, 16_000),
        "flac 8 channels at 655350 Hz": flac_silence(num_bytes, 8, 655_350),
        "flac 8 channels at 655350 Hz, length unknown": flac_silence(num_bytes, 8, 655_350, claimed=_UNKNOWN),
        "flac 8 channels at 1 kHz": flac_silence(num_bytes, 8, 1_000),
        "flac that claims one second": flac_silence(num_bytes, 1, 48_000, claimed=48_000),
        "vorbis": ogg_silence(num_bytes, "VORBIS", 8_000),
        "opus": ogg_silence(num_bytes, "OPUS", 48_000),
        "mp3": mp3_silence(num_bytes),
    }


def flac_silence(num_bytes: int, channels: int, sample_rate: int, claimed: int | None = None) -> bytes:
    """A FLAC of 16 bits; claimed: samples by its header, all of them when None, 0 for unknown."""
    largest_frame = 13 + 3 * channels
    num_frames = max(1, num_bytes // largest_frame)
    pieces, first = [], 0
    # The number of a frame takes more bytes the larger it is.
    for length, limit in ((1, 1 << 7), (2, 1 << 11), (3, 1 << 16), (4, 1 << 21)):
        numbers = np.arange(first, min(num_frames, limit))
        if len(numbers):
            pieces.append(_flac_frames(numbers, length, channels).tobytes())
            first = int(numbers[-1]) + 1
    total = first * _FLAC_BLOCK if claimed is None else claimed
    return b"fLaC" + flac_stream_info(_FLAC_BLOCK, sample_rate, channels, total) + b"".join(pieces)


def flac_stream_info(block_size: int, sample_rate: int, channels: int, num_samples: int, bits: int = 16) -> bytes:
    """The metadata block that every FLAC begins with, here its last (RFC 9639, 8.2)."""
    packed = sample_rate << 44 | (channels - 1) << 41 | (bits - 1) << 36 | num_samples & ((1 << 36) - 1)
    sizes = struct.pack(">HH", block_size, block_size) + bytes(6)
    return b"\x80\x00\x00\x22" + sizes + struct.pack(">Q", packed) + bytes(16)


def ogg_silence(num_bytes: int, subtype: str, rate: int) -> bytes:
    """An Ogg of 15 s of silence, one page of which comes again and again."""
    content = encode(np.zeros(15 * rate, dtype=np.float32), "OGG", subtype, rate)
    pages = [content[offset : offset + length] for offset, length in ogg_pages(content)]
    # A page with granule position 0 or -1 is one of headers.
    headers = [page for page in pages[:-1] if page[6:14] in (bytes(8), b"\xff" * 8)]
    body = max(pages[len(headers) : -1], key=len)
    step = _granule(pages[len(headers) + 1]) - _granule(pages[len(headers)])
    repeats = max(1, (num_bytes - sum(map(len, headers))) // len(body))
    return b"".join(headers) + _repeated_pages(body, repeats, len(headers), step)


def mp3_silence(num_bytes: int) -> bytes:
    """Frames of 36 ms at 16 kHz and the lowest rate of MPEG-2 layer III, 8 kbit/s, whose side information is all 0."""
    frame = b"\xff\xf3\x18\xc0" + bytes(32)
    return frame * max(1, num_bytes // len(frame))


def _flac_frames(numbers: NDArray[np.int64], length: int, channels: int) -> NDArray[np.uint8]:
    """Frames of constant channels, whose numbers take `length` bytes: (frames, bytes)."""
    # sync, fixed block size; 16-bit block size, rate of the header; channels, 16 bits a sample
    fixed = [0xFF, 0xF8, 0x70, (channels - 1) << 4 | 0x08]
    size = (_FLAC_BLOCK - 1).to_bytes(2, "big")
    head = np.empty((len(numbers), 4 + length + 2), dtype=np.uint8)
    head[:, :4] = fixed
    head[:, 4 : 4 + length] = _as_utf8(numbers, length)
    head[:, 4 + length :] = np.frombuffer(size, dtype=np.uint8)
    subframes = np.zeros((len(numbers), 3 * channels), dtype=np.uint8)
    frames = np.hstack([head, checksums(head, 8)[:, None].astype(np.uint8), subframes])
    checks = checksums(frames, 16)
    return np.hstack([frames, (checks >> np.uint64(8))[:, None].astype(np.uint8), checks[:, None].astype(np.uint8)])


def _as_utf8(numbers: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
    """(frames, length): each number as UTF-8 has it."""
    if length == 1:
        return numbers[:, None].astype(np.uint8)
    columns = [0x80 | (numbers >> (6 * place)) & 0x3F for place in range(length - 2, -1, -1)]
    lead = (0xFF << (8 - length)) & 0xFF | (numbers >> (6 * (length - 1)))
    return np.stack([lead, *columns], axis=1).astype(np.uint8)


def _granule(page: bytes) -> int:
    return int(struct.unpack_from("<q", page, 6)[0])


def _repeated_pages(page: bytes, repeats: int, first_number: int, step: int) -> bytes:
    """The page so many times, numbered, `step` samples apart, with their checksums."""
    pages = np.tile(np.frombuffer(page, dtype=np.uint8), (repeats, 1))
    numbers = np.arange(repeats)
    pages[:, 5] = 0  # neither a continued packet nor the first or last page
    pages[:, 6:14] = (step * (numbers + 1)).astype("<i8").view(np.uint8).reshape(-1, 8)
    pages[:, 18:22] = (first_number + numbers).astype("<u4").view(np.uint8).reshape(-1, 4)
    pages[:, 22:26] = 0
    pages[:, 22:26] = checksums(pages, 32).astype("<u4").view(np.uint8).reshape(-1, 4)
    return pages.tobytes()
