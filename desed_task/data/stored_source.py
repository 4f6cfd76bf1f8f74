"""The clips of a set in its packed store: each heard once per epoch, longer ones by a random excerpt."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from desed_task.clips import ClipSet
from desed_task.data.known_labels import KnownLabels
from desed_task.data.mapped import Excerpts, MappedExcerpts, SampleStore
from desed_task.data.source import Draw, Moment
from desed_task.errors import CorpusError
from desed_task.labels import LabelSet
from desed_task.timeline import FrameGrid


def require_share(clip_set: ClipSet, batch_size: int) -> None:
    """CorpusError when a set has too few clips for its share of one batch."""
    if len(clip_set.clips) < batch_size:
        raise CorpusError(
            f"{clip_set.name}: {len(clip_set.clips)} clips are fewer than its share of {batch_size} per batch; "
            f"lower its batch_size"
        )


class StoredSource:
    """A clip set, its waveforms, and how many of its clips each batch holds."""

    def __init__(
        self,
        clip_set: ClipSet,
        store: SampleStore,
        batch_size: int,
        labels: LabelSet,
        grid: FrameGrid,
        num_samples: int,
        excerpts: Excerpts | None = None,
    ) -> None:
        """num_samples: of the excerpt that is heard of each clip. excerpts: of the same clips, by default those of
        the memory map. CorpusError for too few clips.
        """
        require_share(clip_set, batch_size)
        self.name = clip_set.name
        self.batch_size = batch_size
        self.store = store
        self._excerpts = excerpts or MappedExcerpts(store)
        self._supervision = clip_set.supervision
        self._known = KnownLabels(clip_set, labels)
        self._grid = grid
        self._num_samples = num_samples
        self._num_frames = grid.num_frames(num_samples)
        self._order: tuple[tuple[int, int, int], NDArray[np.int64]] | None = None

    @property
    def num_batches(self) -> int:
        """Whole batches that the clips make."""
        return len(self.store) // self.batch_size

    def draw(self, moment: Moment, crops: np.random.Generator, rows: range) -> Draw:
        """The next clips in the epoch's order, each with where its excerpt begins."""
        order = self._order_of(moment)
        whole = order[moment.step * self.batch_size : (moment.step + 1) * self.batch_size]
        first_samples = [self._first_sample(int(clip), crops) for clip in whole][rows.start : rows.stop]
        clips = [int(clip) for clip in whole[rows.start : rows.stop]]
        first_seconds = [first / self._grid.sample_rate for first in first_samples]
        return Draw(
            tuple(self.store.audio_ids[clip] for clip in clips),
            self._supervision,
            self._known.strong_rows(clips, first_seconds, self._grid, self._num_frames),
            self._known.weak_rows(clips),
            list(zip(clips, first_samples, strict=True)),
        )

    def fill(self, draw: Draw, waveforms: Tensor) -> None:
        """Copy the excerpts."""
        self._excerpts.fill(draw.clips, waveforms)

    def describe(self) -> Any:
        """Clips, labels, order and share."""
        lengths = self.store.lengths.tolist()
        return [self._supervision, self.batch_size, list(self.store.audio_ids), lengths, self._known.describe()]

    def _order_of(self, moment: Moment) -> NDArray[np.int64]:
        key = (moment.seed, moment.epoch, moment.source)
        if self._order is None or self._order[0] != key:
            self._order = key, np.random.default_rng(key).permutation(len(self.store))
        return self._order[1]

    def _first_sample(self, clip: int, crops: np.random.Generator) -> int:
        surplus = int(self.store.lengths[clip]) - self._num_samples
        return int(crops.integers(0, surplus + 1)) if surplus > 0 else 0
