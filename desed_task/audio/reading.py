"""One set of functions that turns a recording into a waveform, for training, evaluation and serving alike.

A recording is any file libsndfile decodes, or one of an LMDB (records.py). It is read in bounded blocks, its channels
averaged, and resampled with soxr (HQ). One that is missing, empty, truncated, undecodable, or holds NaN or infinity is
an `AudioError`; what a header claims is never trusted for an allocation.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from desed_task.audio.records import open_recording
from desed_task.audio.truncation import refuse_truncated, refuse_truncated_by_log
from desed_task.errors import AudioError, AudioTooLongError

Waveform = NDArray[np.float32]

_BLOCK_SAMPLES = 1 << 18
# libsndfile reports this length for streams that do not state one.
_UNKNOWN_LENGTH = 1 << 62
# A header with 1 Hz would turn a kilobyte into hours of silence; nobody records sound events below 1 kHz.
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 768_000


class _ForwardOnly(soundfile.SoundFile):  # type: ignore[misc]
    """soundfile seeks after each block of a seekable file, which fails on FLAC that does not state its length."""

    def seekable(self) -> bool:
        return False


@dataclass(frozen=True)
class AudioInfo:
    """What a recording was before decoding: duration in seconds, its own sample rate, channels, container."""

    duration: float
    sample_rate: int
    channels: int
    format: str


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
    opened: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else _open(source)
    with opened as stream, _opened_recording(stream, name) as recording:
        mono = _decode_mono(recording, name, max_seconds)
        info = _info(recording, len(mono))
    if not np.isfinite(mono).all():
        raise AudioError(f"{name}: holds NaN or infinite samples; export it again as PCM")
    waveform = resample(mono, info.sample_rate, sample_rate)
    if len(waveform) == 0:
        raise AudioError(f"{name}: too short, {len(mono)} samples at {info.sample_rate} Hz")
    return waveform, info


def check_header(path: Path) -> AudioInfo:
    """What a recording says of itself, read without decoding it.

    AudioError when it is missing, empty, no audio, or (WAV, Ogg, AIFF ...) shorter than its header promises. It is
    quick enough for every file of a corpus before long work begins; damage inside a recording shows when it is decoded.
    """
    with _open(path) as stream, _opened_recording(stream, str(path)) as recording:
        if recording.frames == 0:
            raise AudioError(f"{path}: holds no samples")
        return _info(recording, recording.frames)


def resample(waveform: Waveform, from_rate: int, to_rate: int) -> Waveform:
    """(samples,) at `from_rate` -> (samples,) at `to_rate`, soxr HQ; unchanged when the rates are equal."""
    if from_rate == to_rate:
        return waveform
    return np.ascontiguousarray(soxr.resample(waveform, from_rate, to_rate, quality="HQ"), dtype=np.float32)


def resampled_length(num_samples: int, from_rate: int, to_rate: int) -> int:
    """How many samples `resample` makes of so many: soxr rounds, halves up."""
    return (2 * num_samples * to_rate + from_rate) // (2 * from_rate)


def write_waveform(path: Path, waveform: Waveform, sample_rate: int) -> None:
    """Write (samples,) as 16-bit PCM in the container the suffix names (.wav, .flac), whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    container = path.suffix.removeprefix(".").upper()
    soundfile.write(partial, np.clip(waveform, -1.0, 1.0), sample_rate, subtype="PCM_16", format=container)
    partial.replace(path)


def _open(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".raw":
        raise AudioError(f"{path}: raw samples do not say their rate; convert it to WAV")
    if path.exists() and not path.is_file():
        raise AudioError(f"{path}: a folder or a device; name an audio file")
    try:
        return open_recording(path)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such audio file") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from None


@contextmanager
def _opened_recording(stream: BinaryIO, name: str) -> Iterator[soundfile.SoundFile]:
    """libsndfile's view of a stream that is not empty, not truncated and of a rate that occurs."""
    if not stream.read(1):
        raise AudioError(f"{name}: the file is empty (0 bytes)")
    stream.seek(0)
    refuse_truncated(stream, name)
    try:
        with _ForwardOnly(stream) as recording:
            if recording.format not in ("WAV", "WAVEX", "OGG"):
                refuse_truncated_by_log(recording.extra_info, name)
            if not _LOWEST_RATE <= recording.samplerate <= _HIGHEST_RATE:
                raise AudioError(f"{name}: a sample rate of {recording.samplerate} Hz; record it at 8 kHz or more")
            yield recording
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: not decodable audio ({error.error_string.rstrip('.')})") from None


def _info(recording: soundfile.SoundFile, num_samples: int) -> AudioInfo:
    return AudioInfo(num_samples / recording.samplerate, recording.samplerate, recording.channels, recording.format)


def _decode_mono(recording: soundfile.SoundFile, name: str, max_seconds: float | None) -> Waveform:
    blocks: list[Waveform] = []
    num_samples = 0
    while True:
        block = recording.read(_BLOCK_SAMPLES // max(1, recording.channels), dtype="float32", always_2d=True)
        if not len(block):
            break
        num_samples += len(block)
        if max_seconds is not None and num_samples > max_seconds * recording.samplerate:
            raise AudioTooLongError(f"{name}: longer than the limit of {max_seconds:g} s")
        blocks.append(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32))
    if num_samples == 0:
        raise AudioError(f"{name}: holds no samples")
    if num_samples < recording.frames < _UNKNOWN_LENGTH:
        raise AudioError(
            f"{name}: truncated, {num_samples / recording.samplerate:.2f} s of "
            f"{recording.frames / recording.samplerate:.2f} s can be decoded; fetch it again"
        )
    return np.concatenate(blocks)
