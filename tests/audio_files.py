"""Recordings made for a test, in formats that soundfile writes and in those that only PyAV does."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

RATE = 16_000


def tone(seconds: float, sample_rate: int = RATE, hertz: float = 440.0) -> NDArray[np.float32]:
    """(samples,) of half of full scale."""
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.5 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def encoded(
    samples: NDArray[Any], container: str = "WAV", sample_rate: int = RATE, subtype: str | None = None
) -> bytes:
    """(samples,) or (samples, channels) by soundfile."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, sample_rate, format=container, subtype=subtype)
    return stream.getvalue()


def encoded_by_av(samples: NDArray[np.float32], form: str, codec: str, sample_rate: int = 48_000) -> bytes:
    """(samples,) or (samples, channels: 1 or 2) by PyAV; form: FFmpeg's name of the container, such as `webm`."""
    av = pytest.importorskip("av")
    channels = samples.reshape(len(samples), -1).T
    layout = "mono" if len(channels) == 1 else "stereo"
    stream = io.BytesIO()
    with av.open(stream, "w", format=form) as container:
        track = container.add_stream(codec, rate=sample_rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, 0, Fraction(1, sample_rate)
        fifo = av.audio.fifo.AudioFifo()
        for converted in av.AudioResampler(format=track.format, layout=layout, rate=sample_rate).resample(frame):
            fifo.write(converted)
        while (block := fifo.read(track.frame_size or 1024, partial=True)) is not None:
            container.mux(track.encode(block))
        container.mux(track.encode(None))
    return stream.getvalue()


def with_total_samples(flac: bytes, total: int) -> bytes:
    """STREAMINFO holds the 36 bits of the total from the low half of byte 21 on; 0: not stated."""
    return flac[:21] + bytes([flac[21] & 0xF0 | total >> 32]) + struct.pack(">I", total & 0xFFFFFFFF) + flac[26:]


def with_sizes(wav: bytes, size: int) -> bytes:
    """A plain 44-byte-header WAV whose two sizes say `size`."""
    return wav[:4] + struct.pack("<I", size) + wav[8:40] + struct.pack("<I", size) + wav[44:]
