"""The packed store: every waveform of a clip set decoded, resampled and averaged once, then read by index.

A store is `<name>-<fingerprint>.int16` (all samples one after another, little-endian) and the index beside it
(store_index.py). It is memory-mapped, so a batch is a copy of a few pages, whatever the size of the set. The
fingerprint is of the sources, so those that have changed are packed anew; old stores stay until somebody cleans up.
A set also finds its clips in the larger store of the set it is a part of: `esc10_folds_1_2` in that of `esc10`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.clips import ClipSet
from desed_task.data.packing import is_complete, lock_path, pack, partial_paths
from desed_task.data.store_index import (
    Source,
    StoreIndex,
    index_path_of,
    name_of,
    read_index,
    samples_path,
    sources_of,
)
from desed_task.errors import CorpusError

LOG = logging.getLogger(__name__)


class PackedStore:
    """Waveforms of one clip set, memory-mapped."""

    def __init__(self, index_path: Path) -> None:
        """CorpusError for a store that is damaged or none of ours."""
        self.index_path = index_path
        index = read_index(index_path)
        self.sample_rate: int = index.sample_rate
        self.audio_ids: tuple[str, ...] = index.audio_ids
        self.offsets = np.array(index.offsets, dtype=np.int64)
        self.lengths = np.array(index.lengths, dtype=np.int64)
        self._sha256 = index.sha256
        # As a plain array: slices of a memmap are slow to make.
        self._samples: NDArray[np.int16] = np.asarray(np.memmap(samples_path(index_path), dtype="<i2", mode="r"))

    def __len__(self) -> int:
        return len(self.audio_ids)

    def samples(self, clip: int, first_sample: int, num_samples: int) -> NDArray[np.int16]:
        """At most `num_samples` of a clip from `first_sample` on, fewer where it ends before: a view of the map."""
        start, length = int(self.offsets[clip]), int(self.lengths[clip])
        return self._samples[start + min(first_sample, length) : start + min(first_sample + num_samples, length)]

    def keep(self, positions: Sequence[int]) -> PackedStore:
        """This store, narrowed in place to the clips at `positions`, in that order."""
        self.audio_ids = tuple(self.audio_ids[position] for position in positions)
        self._sha256 = tuple(self._sha256[position] for position in positions)
        self.offsets, self.lengths = self.offsets[list(positions)], self.lengths[list(positions)]
        return self

    def verify(self) -> None:
        """Read every sample; CorpusError names the first clip that is not as it was packed."""
        progress = tqdm(range(len(self)), desc=f"verifying {self.index_path.stem}", unit="clip", disable=None)
        for clip in progress:
            start = int(self.offsets[clip])
            samples = self._samples[start : start + int(self.lengths[clip])]
            if hashlib.sha256(samples.tobytes()).hexdigest() != self._sha256[clip]:
                raise CorpusError(
                    f"{samples_path(self.index_path)}: {self.audio_ids[clip]} (clip {clip + 1} of {len(self)}) is not "
                    f"as it was packed; pack it anew with `recipes/prepare_data.py --verify --clean`"
                )


def is_packed(clip_set: ClipSet, folder: Path, sample_rate: int) -> bool:
    """Whether a store of `clip_set` as it now is on disk is there."""
    return _locate(clip_set, sources_of(clip_set), folder, sample_rate) is not None


def open_store(clip_set: ClipSet, folder: Path, sample_rate: int, num_threads: int | None = None) -> PackedStore:
    """The store of `clip_set` at `sample_rate`, packed now where none fits. AudioError names a bad file."""
    sources = sources_of(clip_set)
    located = _locate(clip_set, sources, folder, sample_rate)
    if located is None:
        change = changes_since_packed(clip_set, folder, sample_rate)
        if change is not None:
            LOG.info("%s; packing it anew", change)
        index_path = index_path_of(clip_set.name, sources, folder, sample_rate)
        pack(clip_set, sources, index_path, sample_rate, num_threads)
        return PackedStore(index_path)
    index_path, positions = located
    store = PackedStore(index_path)
    return store if positions is None else store.keep(positions)


def changes_since_packed(clip_set: ClipSet, folder: Path, sample_rate: int) -> str | None:
    """What became of the sources of an older store of the set, in words; None where there is none."""
    sources = sources_of(clip_set)
    older = [index for _, index in _stores_of(clip_set, sources, folder, sample_rate)]
    if not older:
        return None
    index = max(older, key=lambda index: len(set(index.sources) & set(sources)))
    before, now = ({source.path: source for source in of} for of in (index.sources, sources))
    changed = [path for path, source in now.items() if path in before and before[path] != source]
    new, gone = len(now.keys() - before.keys()), len(before.keys() - now.keys())
    words = [f"{len(changed)} of {len(now)} recordings changed (first {Path(changed[0]).name})"] if changed else []
    words += [f"{new} of {len(now)} recordings are new"] if new else []
    words += [f"{gone} of {len(before)} recordings are gone"] if gone else []
    return f"{clip_set.name}: {', '.join(words) or 'its recordings are in another order'} since it was packed"


def remove_old_stores(clip_set: ClipSet, folder: Path, sample_rate: int, damaged_too: bool = True) -> list[Path]:
    """Remove the stores of `clip_set` at this rate whose sources are no more as they were, and abandoned packings.

    With `damaged_too` also its present store where it cannot be opened. Returns what was removed.
    """
    sources = sources_of(clip_set)
    present = index_path_of(clip_set.name, sources, folder, sample_rate)
    old = {path for path, _ in _stores_of(clip_set, sources, folder, sample_rate)} - {present}
    if damaged_too and is_complete(present) and _read_or_none(present) is None:
        old.add(present)
    abandoned = {folder / f"{path.name.removesuffix('.int16.partial')}.json" for path in folder.glob("*.int16.partial")}
    old |= {path for path in abandoned if name_of(path) == clip_set.name and path != present}
    return [file for path in sorted(old) for file in remove_store(path)]


def remove_store(index_path: Path) -> list[Path]:
    """Remove a store and what is left of its packing, unless somebody packs it right now."""
    lock = FileLock(lock_path(index_path))
    try:
        with lock.acquire(timeout=0):
            # The index first: without it there is no store.
            files = [index_path, samples_path(index_path), *partial_paths(index_path)]
            removed = [path for path in files if path.exists()]
            for path in (*removed, lock_path(index_path)):
                path.unlink(missing_ok=True)
            return removed
    except Timeout:
        return []


def _locate(
    clip_set: ClipSet, sources: Sequence[Source], folder: Path, sample_rate: int
) -> tuple[Path, list[int] | None] | None:
    """The index that holds these sources, and where in it they are (None: it is theirs alone)."""
    own = index_path_of(clip_set.name, sources, folder, sample_rate)
    if is_complete(own):
        return own, None
    for path in sorted(folder.glob("*.json")):
        name = name_of(path)
        if name is None or not f"{clip_set.name}_".startswith(f"{name}_") or not is_complete(path):
            continue
        index = _read_or_none(path)
        if index is None or index.sample_rate != sample_rate:
            continue
        position = {source: number for number, source in enumerate(index.sources)}
        if all(source in position for source in sources):
            return path, [position[source] for source in sources]
    return None


def _stores_of(
    clip_set: ClipSet, sources: Sequence[Source], folder: Path, sample_rate: int
) -> Iterator[tuple[Path, StoreIndex]]:
    """The stores of this name and rate that hold any of these recordings, as they are or as they were."""
    paths = {source.path for source in sources}
    for path in sorted(folder.glob(f"{clip_set.name}-*.json")):
        index = _read_or_none(path) if name_of(path) == clip_set.name else None
        if index is not None and index.sample_rate == sample_rate and paths & {source.path for source in index.sources}:
            yield path, index


def _read_or_none(path: Path) -> StoreIndex | None:
    """The index of a store, None where it is damaged or of another format."""
    try:
        return read_index(path)
    except CorpusError:
        return None
