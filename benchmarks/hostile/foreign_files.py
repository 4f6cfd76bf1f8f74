"""What is no audio at all, or audio and something else, or a request that is malformed around its audio."""

from __future__ import annotations

import base64
import gzip
import io
import zipfile

import numpy as np

from benchmarks.hostile.whole_files import whole_files

_BOUNDARY = "x"
MULTIPART = f"multipart/form-data; boundary={_BOUNDARY}"


def foreign_files() -> dict[str, bytes]:
    """Bodies that no service for audio has to answer."""
    wav, flac = whole_files()["wav pcm16"], whole_files()["flac pcm16"]
    noise = np.random.default_rng(5).bytes(20_000)
    return {
        "nothing": b"",
        "one byte": b"R",
        "RIFF": b"RIFF",
        "fLaC": b"fLaC",
        "OggS": b"OggS",
        "a sync word": b"\xff\xfb",
        "noise": noise,
        "noise after RIFF": b"RIFF\x00\x10\x00\x00WAVE" + noise,
        "noise after fLaC": b"fLaC" + noise,
        "noise after OggS": b"OggS" + noise,
        "noise after ID3": b"ID3" + noise,
        "noise after FORM": b"FORM\x00\x00\x10\x00AIFF" + noise,
        "noise after ftyp": b"\x00\x00\x00\x1cftypM4A " + noise,
        "noise after EBML": b"\x1aE\xdf\xa3" + noise,
        "noise after ADTS": b"\xff\xf1P@" + noise,
        "zeros": bytes(50_000),
        "ones": b"\xff" * 50_000,
        "html": b"<!doctype html><title>404</title>" * 50,
        "json": b'{"inputs": "' + b"A" * 5_000 + b'"}',
        "deep json": b"[" * 50_000,
        "text": "gr\u00fc\u00dfe \U0001f415".encode() * 100,
        "zip": _zip(wav),
        "gzip": gzip.compress(wav, mtime=0),
        "zip bomb": gzip.compress(bytes(10_000_000), mtime=0),
        "pdf": b"%PDF-1.7\n" + noise,
        "png": b"\x89PNG\r\n\x1a\n" + noise,
        "elf": b"\x7fELF\x02\x01\x01" + noise,
        "midi": b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x00\x60MTrk" + noise,
        "avi": b"RIFF\x00\x10\x00\x00AVI LIST" + noise,
        "playlist": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n",
        "concat script": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "polyglot of wav and zip": wav + _zip(flac),
        "polyglot of wav and html": wav[:44] + b"<script>" * 2_000,
        "polyglot of zip and wav": _zip(flac) + wav,
        "polyglot of flac and mp3": flac + whole_files()["mp3"],
        "wav in base64": base64.b64encode(wav),
    }


def malformed_requests() -> dict[str, tuple[bytes, str]]:
    """Name -> (body, Content-Type) of requests that are broken around their audio."""
    wav = whole_files()["wav pcm16"]
    part = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'.encode()
    end = f"\r\n--{_BOUNDARY}--\r\n".encode()
    return {
        "multipart without a boundary": (part + wav + end, "multipart/form-data"),
        "multipart that does not end": (part + wav, MULTIPART),
        "multipart of another boundary": (part + wav + end, "multipart/form-data; boundary=y"),
        "multipart without a file": (f"--{_BOUNDARY}--\r\n".encode(), MULTIPART),
        "multipart of nothing": (b"", MULTIPART),
        "multipart of a thousand files": ((part + b"RIFF\r\n") * 1_000 + part + wav + end, MULTIPART),
        "multipart of a thousand fields": (_fields(1_000) + end, MULTIPART),
        "multipart with a path": (part.replace(b"a.wav", b"../../../../etc/passwd") + wav + end, MULTIPART),
        "multipart with a head of 100 kB": (part[:-2] + b"X: " + b"y" * 100_000 + b"\r\n\r\n" + wav + end, MULTIPART),
        "multipart of noise": (np.random.default_rng(6).bytes(5_000), MULTIPART),
        "pcm without a rate": (wav[44:], "audio/pcm"),
        "pcm at rate 0": (wav[44:], "audio/pcm;rate=0"),
        "pcm at a rate of words": (wav[44:], "audio/pcm;rate=fast"),
        "pcm at rate -1": (wav[44:], "audio/pcm;rate=-1"),
        "pcm at 10^30 Hz": (wav[44:], f"audio/pcm;rate={10**30}"),
        "pcm at 1 Hz": (wav[44:], "audio/pcm;rate=1"),
        "pcm of 0 channels": (wav[44:], "audio/pcm;rate=16000;channels=0"),
        "pcm of 10000 channels": (wav[44:], "audio/pcm;rate=16000;channels=10000"),
        "pcm of an odd number of bytes": (wav[44:-1], "audio/pcm;rate=16000;channels=1"),
        "pcm of one byte": (b"\x00", "audio/L16;rate=16000"),
        "pcm of nothing": (b"", "audio/L16;rate=16000"),
        "content type of nonsense": (wav, 'audio/;;;="'),
        "form": (b"file=" + b"%52" * 3_000, "application/x-www-form-urlencoded"),
        "json": (b'{"inputs": 7}', "application/json"),
        "json that is none": (b'{"inputs": ', "application/json"),
    }


def _fields(number: int) -> bytes:
    field = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="threshold"\r\n\r\n0.5\r\n'
    return field.encode() * number


def _zip(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.wav"), content)
    return stream.getvalue()
