"""What is known about the clips of a set, as arrays: the events and tags that its supervision lets a batch know."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from desed_task.clips import ClipSet
from desed_task.labels import LabelSet
from desed_task.timeline import FrameGrid


class KnownLabels:
    """The labels of every clip of a set, in the order of its clips."""

    def __init__(self, clip_set: ClipSet, labels: LabelSet) -> None:
        names = [clip.audio_id for clip in clip_set.clips]
        events = [clip_set.events.get(name, ()) if clip_set.supervision == "strong" else () for name in names]
        tags = [clip_set.tags.get(name, ()) if clip_set.supervision == "weak" else () for name in names]
        self._first_event = np.cumsum([0, *map(len, events)])
        self._first_tag = np.cumsum([0, *map(len, tags)])
        every = [event for of_clip in events for event in of_clip]
        self._onset = np.array([event.onset for event in every], dtype=np.float64)
        self._offset = np.array([event.offset for event in every], dtype=np.float64)
        self._event_class = np.array([labels.index(event.event_label) for event in every], dtype=np.int64)
        self._tag_class = np.array([labels.index(tag) for of_clip in tags for tag in of_clip], dtype=np.int64)

    def strong_rows(
        self, clips: Sequence[int], first_seconds: Sequence[float], grid: FrameGrid, num_frames: int
    ) -> NDArray[np.int64]:
        """The events of excerpts that begin at `first_seconds` of `clips`, as `Draw.strong`."""
        rows, places = _places(self._first_event, clips)
        begin = np.asarray(first_seconds, dtype=np.float64)[rows]
        offset = self._offset[places] - begin
        heard = offset > 0
        rows, places = rows[heard], places[heard]
        first = grid.frames_at(np.maximum(0.0, self._onset[places] - begin[heard]))
        last = np.minimum(grid.frames_after(offset[heard]), num_frames)
        inside = first < last
        return np.stack([rows, first, last, self._event_class[places]], axis=1)[inside]

    def weak_rows(self, clips: Sequence[int]) -> NDArray[np.int64]:
        """The tags of `clips`, as `Draw.weak`."""
        rows, places = _places(self._first_tag, clips)
        return np.stack([rows, self._tag_class[places]], axis=1)

    def describe(self) -> list[object]:
        """All of it as JSON, whatever the order of a clip's events and tags."""
        events = zip(self._onset.tolist(), self._offset.tolist(), self._event_class.tolist(), strict=True)
        tags = self._tag_class.tolist()
        return [_sorted_parts(list(events), self._first_event), _sorted_parts(tags, self._first_tag)]


def _places(first: NDArray[np.int64], clips: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows (positions in `clips`) and places in the columns of all that belongs to `clips`."""
    chosen = np.asarray(clips, dtype=np.int64)
    counts = first[chosen + 1] - first[chosen]
    rows = np.repeat(np.arange(len(chosen)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, first[chosen][rows] + within


def _sorted_parts(column: list[object], first: NDArray[np.int64]) -> list[list[object]]:
    return [sorted(column[start:stop]) for start, stop in pairwise(first)]  # type: ignore[type-var]
