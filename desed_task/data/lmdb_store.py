"""The clips of an LMDB as a store: each is decoded every time it is heard, and nothing is packed.

Samples are int16 at the asked rate and the very ones that the packed store would hold. Their numbers are known from the
FLAC headers, at another rate than the recording's from soxr's own rule. Recordings lie in the LMDB, whose pages all
processes share, or, `in_memory`, in a copy of their bytes in each process.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.audio.reading import read_waveform, resampled_length
from desed_task.audio.record_layout import FlacInfo, parse_flac
from desed_task.audio.records import open_lmdb, record_of
from desed_task.clips import ClipSet
from desed_task.data.lmdb_records import read_records
from desed_task.data.packing import to_int16
from desed_task.errors import CorpusError

_BITS = 16
# A header's promise that is believed without looking: an hour and a half at 22.05 kHz.
_MOST_AT_ONCE = 1 << 27


class LmdbStore:
    """The waveforms of a clip set whose recordings are the records of one LMDB."""

    decodes = True

    def __init__(self, clip_set: ClipSet, sample_rate: int, in_memory: bool = False) -> None:
        """CorpusError for an LMDB that is damaged, or no more what it was when the set was read."""
        self.sample_rate = sample_rate
        self.audio_ids = tuple(clip.audio_id for clip in clip_set.clips)
        self._path = clip_set.clips[0].path.parent
        self._keys = [clip.path.name.encode() for clip in clip_set.clips]
        known = {record.key: record for record in read_records(self._path)}
        lacking = next((key for key in self._keys if key not in known), None)
        if lacking is not None:
            raise CorpusError(f"{self._path / lacking.decode()}: is not there any more; start again")
        lengths = [resampled_length(known[key].num_samples, known[key].sample_rate, sample_rate) for key in self._keys]
        self.lengths: NDArray[np.int64] = np.array(lengths, dtype=np.int64)
        self._memory = _Memory(self._path, self._keys) if in_memory else None

    def __len__(self) -> int:
        return len(self.audio_ids)

    def samples(self, clip: int, first_sample: int, num_samples: int) -> NDArray[np.int16]:
        """As PackedStore.samples, decoded now. CorpusError or AudioError names a record that cannot be."""
        place = self._path / self._keys[clip].decode()
        with self._value(clip) as value:
            audio = bytes(record_of(value, place).audio)
        decoded = _decode(audio, self.sample_rate, place)
        if len(decoded) != self.lengths[clip]:
            raise CorpusError(
                f"{place}: {len(decoded)} samples can be decoded, where its header promises {self.lengths[clip]}; pack "
                f"the LMDB again"
            )
        return decoded[first_sample : first_sample + num_samples]

    @contextmanager
    def _value(self, clip: int) -> Iterator[memoryview]:
        """The record of a clip."""
        if self._memory is not None:
            yield self._memory.value(clip)
            return
        with open_lmdb(self._path).reading() as value_of:
            yield _require(value_of, self._keys[clip], self._path)


class _Memory:
    """The records of some keys, one after another in one block of memory."""

    def __init__(self, path: Path, keys: list[bytes]) -> None:
        with open_lmdb(path).reading() as value_of:
            sizes = [len(_require(value_of, key, path)) for key in keys]
            self._ends = np.cumsum(sizes).tolist()
            try:
                block: NDArray[np.uint8] = np.empty(sum(sizes), dtype=np.uint8)
            except MemoryError:
                raise CorpusError(
                    f"{path}: {sum(sizes) / 1e9:.1f} GB do not fit into memory; leave out `in_memory`"
                ) from None
            self._block = block.data
            progress = tqdm(keys, desc=f"{path.name} to memory", unit="clip", disable=None)
            for end, size, key in zip(self._ends, sizes, progress, strict=True):
                self._block[end - size : end] = _require(value_of, key, path)

    def value(self, clip: int) -> memoryview:
        """A record."""
        return self._block[self._ends[clip - 1] if clip else 0 : self._ends[clip]]


def _require(value_of: Callable[[bytes], memoryview | None], key: bytes, path: Path) -> memoryview:
    value = value_of(key)
    if value is None:
        raise CorpusError(f"{path / key.decode()}: is not there any more; start again")
    return value


def _is_plain(info: FlacInfo, sample_rate: int) -> bool:
    """Whether FLAC holds the samples of the packed store as they are, and says how many, which is no nonsense."""
    as_stored = (info.sample_rate, info.channels, info.bits) == (sample_rate, 1, _BITS)
    return as_stored and 0 < info.num_samples <= _MOST_AT_ONCE


def _decode(audio: bytes, sample_rate: int, place: Path) -> NDArray[np.int16]:
    """The samples that the packed store would hold."""
    info = parse_flac(audio)
    if info is None or not _is_plain(info, sample_rate):
        return to_int16(read_waveform(audio, sample_rate, name=str(place)))
    # The same numbers by a shorter way, in half the time.
    try:
        with soundfile.SoundFile(io.BytesIO(audio)) as recording:
            samples: NDArray[np.int16] = recording.read(dtype="int16")
            return samples
    except soundfile.LibsndfileError as error:
        raise CorpusError(f"{place}: not decodable audio ({error.error_string.rstrip('.')})") from None
