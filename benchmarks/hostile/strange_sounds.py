"""Recordings that are whole and strange: of no or one sample, of NaN and infinity, of many channels and high rates."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from benchmarks.hostile.lies import patched
from benchmarks.hostile.whole_files import RATE, encode, sweep


def strange_sounds() -> dict[str, tuple[bytes, bool | None]]:
    """Name -> (content, whether a service has to answer it: None where either is right)."""
    silence = np.zeros(RATE, dtype=np.float32)
    found: dict[str, tuple[bytes, bool | None]] = {
        "wav of no samples": (encode(silence[:0], "WAV", "PCM_16"), False),
        "wav of one sample": (encode(sweep(RATE)[4_000:4_001], "WAV", "PCM_16"), None),
        "flac of no samples": (encode(silence[:0], "FLAC", "PCM_16"), False),
        "flac of 16 samples": (encode(sweep(RATE)[4_000:4_016], "FLAC", "PCM_16"), True),
        "aiff of no samples": (encode(silence[:0], "AIFF", "PCM_16"), False),
        "ogg of no samples": (encode(silence[:0], "OGG", "VORBIS"), False),
        "mp3 of 10 samples": (encode(sweep(RATE)[:10], "MP3", "MPEG_LAYER_III"), None),
        "silence": (encode(silence, "WAV", "PCM_16"), True),
        "full scale": (
            encode(np.where(np.arange(RATE) % 40 < 20, 1.0, -1.0).astype(np.float32), "WAV", "PCM_16"),
            True,
        ),
        "a constant": (encode(silence + 0.99, "WAV", "FLOAT"), True),
        "denormals": (encode(silence + np.float32(1e-40), "WAV", "FLOAT"), True),
        "8 channels": (encode(sweep(RATE, 8), "WAV", "PCM_16"), True),
        "8 channels of flac": (encode(sweep(RATE, 8), "FLAC", "PCM_16"), True),
        "64 channels": (encode(sweep(1_000, 64), "WAV", "PCM_16"), None),
        "1024 channels": (_wav_of_many_channels(1_024), None),
        "two channels that cancel": (encode(sweep(RATE, 2) * np.array([1, -1], np.float32), "WAV", "PCM_16"), True),
        "8 kHz": (encode(sweep(8_000), "WAV", "PCM_16", 8_000), True),
        "192 kHz": (encode(sweep(192_000), "FLAC", "PCM_24", 192_000), True),
        "384 kHz": (encode(sweep(384_000), "WAV", "PCM_16", 384_000), True),
        "44101 Hz": (encode(sweep(44_101), "WAV", "PCM_16", 44_101), True),
        "integers of 32 bits": (encode(sweep(RATE), "WAV", "PCM_32"), True),
    }
    values = {"nan": np.nan, "infinity": np.inf, "-infinity": -np.inf, "3e38": 3e38, "-3e38": -3e38, "1e10": 1e10}
    for name, value in values.items():
        for place, where in ((0, "at the start"), (RATE - 1, "at the end")):
            samples = sweep(RATE)
            samples[place] = value
            found[f"{name} {where}"] = encode(samples, "WAV", "FLOAT"), None if value == 1e10 else False
    doubles = np.zeros(RATE)
    doubles[5] = 1e300
    found["1e300 as double"] = _doubles(doubles), False
    everything = np.random.default_rng(3).integers(0, 2**32, RATE, dtype=np.uint32).view(np.float32)
    found["random bits as float"] = encode_raw_floats(everything), False
    return found


def encode_raw_floats(samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> bytes:
    """A WAV of float32 whose bits are exactly these."""
    head = encode(np.zeros(len(samples), dtype=np.float32), "WAV", "FLOAT")
    start = head.index(b"data") + 8
    return head[:start] + samples.tobytes() + head[start + samples.nbytes :]


def _doubles(samples: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format="WAV", subtype="DOUBLE")
    return stream.getvalue()


def _wav_of_many_channels(channels: int) -> bytes:
    mono = encode(sweep(20 * channels), "WAV", "PCM_16")
    aligned = patched(patched(mono, 22, "<H", channels), 32, "<H", 2 * channels)
    return patched(aligned, 28, "<I", 2 * channels * RATE)
