"""Several stores read as one: the clips of a source that joins corpora (synthetic and real strong recordings).

Each corpus keeps the store that it has alone, so joining packs nothing twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from desed_task.clips import ClipSet
from desed_task.data.lmdb_store import LmdbStore
from desed_task.data.mapped import ClipStore
from desed_task.data.store import open_store


class JoinedStore:
    """The clips of `stores`, one store after another; reads as a PackedStore."""

    def __init__(self, stores: Sequence[ClipStore]) -> None:
        self.stores = tuple(stores)
        self.decodes = any(getattr(store, "decodes", False) for store in self.stores)
        self.sample_rate = self.stores[0].sample_rate
        self.audio_ids = tuple(audio_id for store in self.stores for audio_id in store.audio_ids)
        self.lengths = np.concatenate([store.lengths for store in self.stores])
        self._first_clips = list(accumulate(map(len, self.stores), initial=0))[:-1]

    def __len__(self) -> int:
        return len(self.audio_ids)

    def samples(self, clip: int, first_sample: int, num_samples: int) -> NDArray[np.int16]:
        """As PackedStore.samples."""
        store, own_clip = self._locate(clip)
        return store.samples(own_clip, first_sample, num_samples)

    def _locate(self, clip: int) -> tuple[ClipStore, int]:
        number = bisect_right(self._first_clips, clip) - 1
        return self.stores[number], clip - self._first_clips[number]


def open_stores(clip_set: ClipSet, folder: Path, sample_rate: int) -> ClipStore:
    """The store of `clip_set`, or those of its parts as one; packed now where none fits and one is asked for."""
    stores = [_open_part(part, folder, sample_rate) for part in clip_set.parts or (clip_set,)]
    return stores[0] if len(stores) == 1 else JoinedStore(stores)


def _open_part(part: ClipSet, folder: Path, sample_rate: int) -> ClipStore:
    if part.heard_from == "store":
        return open_store(part, folder, sample_rate)
    return LmdbStore(part, sample_rate, in_memory=part.heard_from == "memory")
