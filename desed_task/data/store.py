"""The packed store: every waveform of a clip set decoded, resampled and averaged once, then read by index.

A store is `<name>.int16` (all samples one after another) and `<name>.json` (audio_ids, offsets, lengths, sample rate).
It is memory-mapped, so a batch is a copy of a few pages, whatever the size of the set. The index is written last and
atomically: without it there is no store. The name ends in a fingerprint of the sources (paths, sizes, modification
times), so those that have changed are packed anew; old stores stay until somebody deletes them.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.audio.reading import Waveform
from desed_task.clips import ClipSet
from desed_task.data.decoding import decode_recordings
from desed_task.errors import CorpusError

_FORMAT = 1
_FULL_SCALE = 32768.0


class PackedStore:
    """Waveforms of one clip set, memory-mapped."""

    def __init__(self, index_path: Path) -> None:
        index = json.loads(index_path.read_text(encoding="utf-8"))
        self.sample_rate: int = index["sample_rate"]
        self.audio_ids: tuple[str, ...] = tuple(index["audio_ids"])
        self.offsets = np.array(index["offsets"], dtype=np.int64)
        self.lengths = np.array(index["lengths"], dtype=np.int64)
        self._samples = np.memmap(index_path.with_suffix(".int16"), dtype=np.int16, mode="r")

    def __len__(self) -> int:
        return len(self.audio_ids)

    def read(self, clip: int, first_sample: int, num_samples: int) -> Waveform:
        """`num_samples` of a clip from `first_sample` on, zeros beyond its end: (num_samples,) float32."""
        waveform = np.zeros(num_samples, dtype=np.float32)
        available = max(0, min(num_samples, int(self.lengths[clip]) - first_sample))
        start = int(self.offsets[clip]) + first_sample
        np.multiply(self._samples[start : start + available], np.float32(1.0 / _FULL_SCALE), out=waveform[:available])
        return waveform


def is_packed(clip_set: ClipSet, folder: Path, sample_rate: int) -> bool:
    """Whether the store of `clip_set` as it now is on disk is there."""
    return _is_complete(_index_path(clip_set, folder, sample_rate))


def open_store(clip_set: ClipSet, folder: Path, sample_rate: int) -> PackedStore:
    """The store of `clip_set` at `sample_rate`, packed now where none fits. AudioError names a bad file."""
    index_path = _index_path(clip_set, folder, sample_rate)
    if not _is_complete(index_path):
        _pack(clip_set, index_path, sample_rate)
    return PackedStore(index_path)


def _index_path(clip_set: ClipSet, folder: Path, sample_rate: int) -> Path:
    return folder / f"{clip_set.name}-{_fingerprint(clip_set, sample_rate)[:12]}.json"


def _is_complete(index_path: Path) -> bool:
    return index_path.is_file() and index_path.with_suffix(".int16").is_file()


def _pack(clip_set: ClipSet, index_path: Path, sample_rate: int) -> None:
    # Two trainings may pack the same set at once: each writes its own file, and the later one replaces its equal.
    partial = index_path.with_suffix(f".{os.getpid()}.partial")
    try:
        index_path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lengths = _write_samples(clip_set, partial, sample_rate)
            partial.replace(index_path.with_suffix(".int16"))
            partial.write_text(json.dumps(_index(clip_set, sample_rate, lengths)), encoding="utf-8")
            partial.replace(index_path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise CorpusError(f"{index_path.parent}: the store cannot be written ({error.strerror})") from None


def _write_samples(clip_set: ClipSet, path: Path, sample_rate: int) -> list[int]:
    """All samples, one clip after another; samples of each."""
    lengths = []
    decoded = decode_recordings([clip.path for clip in clip_set.clips], sample_rate)
    with path.open("wb") as stream:
        # No bar where nobody watches (disable=None), so that a refusal stays one line in a log.
        for waveform in tqdm(
            decoded, total=len(clip_set.clips), desc=f"packing {clip_set.name}", unit="clip", disable=None
        ):
            stream.write(_to_int16(waveform).tobytes())
            lengths.append(len(waveform))
    return lengths


def _index(clip_set: ClipSet, sample_rate: int, lengths: list[int]) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "sample_rate": sample_rate,
        "audio_ids": [clip.audio_id for clip in clip_set.clips],
        "offsets": [0, *np.cumsum(lengths).tolist()][:-1],
        "lengths": lengths,
    }


def _to_int16(waveform: Waveform) -> NDArray[np.int16]:
    """Round to 16 bits. Exact for 16-bit sources; resampling may overshoot full scale, which is clipped."""
    rounded: NDArray[np.int16] = np.rint(waveform * _FULL_SCALE).clip(-_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    return rounded


def _fingerprint(clip_set: ClipSet, sample_rate: int) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {sample_rate}".encode())
    for clip in clip_set.clips:
        status = clip.path.stat()
        digest.update(f"{clip.path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
