"""The packed store: every waveform of a clip set decoded, resampled and averaged once, then read by index.

A store is `<name>.int16` (all samples one after another) and `<name>.json` (audio_ids, offsets, lengths, sample rate and a
fingerprint of the sources: names, sizes, modification times). It is memory-mapped, so a batch is a copy of a few pages,
whatever the size of the set. The index is written last and atomically: without it there is no store. A store whose
fingerprint differs from the sources is packed anew.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.audio.reading import Waveform, read_waveform
from desed_task.clips import ClipSet

_FORMAT = 1
_FULL_SCALE = 32768.0
_DECODE_THREADS = 4


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
        """Samples [first_sample, first_sample + num_samples) of a clip, zeros beyond its end: (num_samples,) float32."""
        waveform = np.zeros(num_samples, dtype=np.float32)
        available = max(0, min(num_samples, int(self.lengths[clip]) - first_sample))
        start = int(self.offsets[clip]) + first_sample
        np.multiply(
            self._samples[start : start + available], np.float32(1.0 / _FULL_SCALE), out=waveform[:available]
        )
        return waveform


def open_store(clip_set: ClipSet, folder: Path, sample_rate: int) -> PackedStore:
    """The store of `clip_set` at `sample_rate`, packed now when it is not there or no longer fits. AudioError names a bad file."""
    fingerprint = _fingerprint(clip_set, sample_rate)
    index_path = folder / f"{clip_set.name}-{fingerprint[:12]}.json"
    if not index_path.is_file():
        _pack(clip_set, index_path, sample_rate, fingerprint)
    return PackedStore(index_path)


def _pack(clip_set: ClipSet, index_path: Path, sample_rate: int, fingerprint: str) -> None:
    index_path.parent.mkdir(parents=True, exist_ok=True)
    partial = index_path.with_suffix(".int16.partial")
    lengths: list[int] = []
    paths = [clip.path for clip in clip_set.clips]
    with partial.open("wb") as stream, ThreadPoolExecutor(_DECODE_THREADS) as pool:
        decoded = pool.map(lambda path: _to_int16(read_waveform(path, sample_rate)), paths)
        try:
            for samples in tqdm(decoded, total=len(paths), desc=f"packing {clip_set.name}", unit="clip"):
                stream.write(samples.tobytes())
                lengths.append(len(samples))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            partial.unlink()
            raise
    partial.replace(index_path.with_suffix(".int16"))
    index: dict[str, Any] = {
        "format": _FORMAT,
        "fingerprint": fingerprint,
        "sample_rate": sample_rate,
        "audio_ids": [clip.audio_id for clip in clip_set.clips],
        "offsets": [0, *np.cumsum(lengths).tolist()][:-1],
        "lengths": lengths,
    }
    partial_index = index_path.with_suffix(".json.partial")
    partial_index.write_text(json.dumps(index), encoding="utf-8")
    partial_index.replace(index_path)


def _to_int16(waveform: Waveform) -> NDArray[np.int16]:
    """Round to 16 bits. Exact for 16-bit sources; resampling may overshoot full scale, which is clipped."""
    return np.clip(np.rint(waveform * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)


def _fingerprint(clip_set: ClipSet, sample_rate: int) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {sample_rate}".encode())
    for clip in clip_set.clips:
        status = clip.path.stat()
        digest.update(f"{clip.path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
