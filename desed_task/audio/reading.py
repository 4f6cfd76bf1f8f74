"""One set of functions that turns a recording into a waveform, for training, evaluation and serving alike.

A recording is a file of a container and codec that is decoded (containers.py, wav.py, ogg.py ...), or one of an LMDB
(records.py). It is read in bounded blocks, its channels averaged, and resampled with soxr (HQ). One that is missing,
empty, truncated, undecodable, or holds NaN or infinity is an `AudioError`; what a header claims is never trusted for an
allocation. stream.py gives the same samples block by block.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

from desed_task.audio.containers import LOCAL_CONTAINERS
from desed_task.audio.decoder import Decoder, mono_blocks
from desed_task.audio.limits import DecodeLimits
from desed_task.audio.opening import open_decoder, open_file
from desed_task.audio.resampling import resample, resampled_length
from desed_task.audio.stream import too_short
from desed_task.audio.waveform import AudioInfo, Waveform
from desed_task.errors import AudioError

__all__ = [
    "AudioInfo",
    "Waveform",
    "check_header",
    "read_recording",
    "read_waveform",
    "resample",
    "resampled_length",
    "write_waveform",
]

_UNKNOWN_LENGTH = 1 << 62


def read_waveform(
    source: Path | bytes, sample_rate: int, max_seconds: float | None = None, name: str = "audio"
) -> Waveform:
    """Decode, average the channels, resample: (samples,) float32, nominally in [-1, 1]. name: what bytes are called."""
    return read_recording(source, sample_rate, max_seconds, name)[0]


def read_recording(
    source: Path | bytes, sample_rate: int, max_seconds: float | None = None, name: str = "audio"
) -> tuple[Waveform, AudioInfo]:
    """As `read_waveform`, with what the recording was. `max_seconds` refuses longer ones while decoding."""
    name = name if isinstance(source, bytes) else str(source)
    limits = DecodeLimits(max_seconds=max_seconds, containers=LOCAL_CONTAINERS)
    with io.BytesIO(source) if isinstance(source, bytes) else open_file(source) as stream:
        decoder = open_decoder(stream, limits, name)
        try:
            blocks = list(mono_blocks(decoder, limits, name))
        finally:
            decoder.close()
    mono = np.concatenate(blocks)
    waveform = resample(mono, decoder.sample_rate, sample_rate)
    if len(waveform) == 0:
        raise too_short(name, len(mono), decoder.sample_rate)
    return waveform, _info(decoder, len(mono))


def check_header(path: Path) -> AudioInfo:
    """What a recording says of itself, read without decoding it.

    AudioError when it is missing, empty, no audio, or (WAV, Ogg, AIFF ...) shorter than its header promises. It is
    quick enough for every file of a corpus before long work begins; damage inside a recording shows when it is decoded.
    One that does not say how long it is has a duration beyond all others.
    """
    limits = DecodeLimits(containers=LOCAL_CONTAINERS)
    with open_file(path) as stream:
        decoder = open_decoder(stream, limits, str(path))
        decoder.close()
    if decoder.claimed_frames == 0:
        raise AudioError(f"{path}: holds no samples")
    return _info(decoder, _UNKNOWN_LENGTH if decoder.claimed_frames is None else decoder.claimed_frames)


def write_waveform(path: Path, waveform: Waveform, sample_rate: int) -> None:
    """Write (samples,) as 16-bit PCM in the container the suffix names (.wav, .flac), whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    container = path.suffix.removeprefix(".").upper()
    soundfile.write(partial, np.clip(waveform, -1.0, 1.0), sample_rate, subtype="PCM_16", format=container)
    partial.replace(path)


def _info(decoder: Decoder, num_samples: int) -> AudioInfo:
    return AudioInfo(num_samples / decoder.sample_rate, decoder.sample_rate, decoder.channels, decoder.container)
