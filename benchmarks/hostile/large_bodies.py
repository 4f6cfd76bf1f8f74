"""Bodies of up to 25 MB, each of which makes a careless server take far more memory than it was sent."""

from __future__ import annotations

import struct

import numpy as np

from benchmarks.hostile.bombs import bombs
from benchmarks.hostile.corpus import RAW, HostileFile
from benchmarks.hostile.foreign_files import MULTIPART
from benchmarks.hostile.whole_files import encode


def large_bodies(num_bytes: int) -> list[HostileFile]:
    """Bombs, and much of everything else, of at most so many bytes each."""
    room = num_bytes - 4_096
    noise = np.random.default_rng(0).bytes(room)
    wav = _wav(noise, 16_000, 1)
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    field = b'--x\r\nContent-Disposition: form-data; name="labels"\r\n\r\n'
    samples = np.frombuffer(noise[: room // 3 * 2], dtype="<i2").astype(np.float32) / np.float32(32_768)
    bodies = {
        "wav of noise": wav,
        "wav of noise, 64 channels": _wav(noise, 16_000, 64),
        "wav of noise at 384 kHz": _wav(noise, 384_000, 8),
        "wav at 1 kHz": _wav(bytes(room), 1_000, 1),
        "flac of noise": encode(samples, "FLAC", "PCM_16"),
        "zeros after fLaC": b"fLaC" + bytes(room),
        "zeros after OggS": b"OggS" + bytes(room),
        "zeros after ftyp": b"\x00\x00\x00\x1cftypM4A " + bytes(room),
        "zeros after EBML": b"\x1aE\xdf\xa3" + bytes(room),
        "sync words": b"\xff\xfb" * (room // 2),
        "tag of id3": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(room),
        "chunks of riff": b"RIFF\xff\xff\xff\xffWAVE" + b"junk\x00\x00\x00\x00" * (room // 8),
        "pages of ogg": (b"OggS" + bytes(22) + b"\x01\x00") * (room // 28),
        "atoms of mp4": b"\x00\x00\x00\x1cftypM4A " + bytes(16) + b"\x00\x00\x00\x08free" * (room // 8),
        "elements of ebml": b"\x1aE\xdf\xa3" + b"\xec\x80" * (room // 2),
        "noise": noise,
    }
    files = [HostileFile(f"large: {name}", content) for name, content in bodies.items()]
    files += [HostileFile(f"bomb: {name}", content, RAW) for name, content in bombs(room).items()]
    return [
        *files,
        HostileFile("large: pcm", noise, "audio/pcm;rate=16000;channels=1"),
        HostileFile("large: pcm at 384 kHz, 8 channels", noise, "audio/pcm;rate=384000;channels=8"),
        HostileFile("large: multipart", part + wav[: room - 200] + b"\r\n--x--\r\n", MULTIPART),
        HostileFile("large: multipart field", field + noise[: room - 200] + b"\r\n--x--\r\n", MULTIPART),
        HostileFile("large: multipart of small parts", (part + b"\r\n") * (room // (len(part) + 2)), MULTIPART),
    ]


def _wav(data: bytes, rate: int, channels: int) -> bytes:
    align = 2 * channels
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * align, align, 16)
    size = len(data) // align * align
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<I", 16) + form
    return head + b"data" + struct.pack("<I", size) + data[:size]
