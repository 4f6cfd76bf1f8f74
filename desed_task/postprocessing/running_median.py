"""The running median of frames: exact, over odd windows, in as few passes as the window allows.

Short windows go through a comparator network: Batcher's odd-even merge sort (1968), without the comparators and the
halves of comparators that the middle value does not depend on. Each is a minimum or a maximum of whole arrays, so a
window of 7 costs 22 of them however many classes there are. Longer windows are partitioned one by one.

`MedianStream` filters a clip that comes in pieces; what it gives, joined, is the filtered clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

# Beyond this, partitioning each window is quicker than a network.
_LONGEST_NETWORK = 21

Frames = NDArray[np.float32]


class _Comparator(NamedTuple):
    """Positions low < high become (minimum, maximum); a half that nothing depends on is left out."""

    low: int
    high: int
    keeps_minimum: bool
    keeps_maximum: bool


class _Columns(NamedTuple):
    """The classes that share a window: None stands for all of them."""

    window: int
    columns: NDArray[np.intp] | None


class MedianWindows(NamedTuple):
    """The windows of all classes, sorted by length. half: frames on each side of the longest window's middle."""

    groups: tuple[_Columns, ...]
    half: int


class MedianStream:
    """A clip in pieces -> the running medians of its classes.

    The clip is continued by its mirror image at both ends, as in `median`. What is given out lags half the longest
    window behind, and no more than the longest window is kept.
    """

    def __init__(self, windows: MedianWindows) -> None:
        self._windows = windows
        self._held: Frames | None = None
        self._mirrored = False

    def feed(self, frames: Frames) -> Frames:
        """(frames, classes), the next ones -> those medians that no later frame can change."""
        half = self._windows.half
        if half == 0:
            return frames
        held = frames if self._held is None else np.concatenate((self._held, frames))
        if not self._mirrored:
            if len(held) <= half:
                self._held = held.copy()
                return held[:0]
            held = np.concatenate((held[:half][::-1], held))
            self._mirrored = True
        filtered = _filter_continued(held, self._windows)
        # A copy, since a view would keep alive what it was cut from.
        self._held = held[len(filtered) :].copy()
        return filtered

    def end(self, frames: Frames) -> Frames:
        """The last frames (frames, classes), if any -> the medians that are left."""
        held = frames if self._held is None else np.concatenate((self._held, frames))
        if not self._mirrored:
            return filter_grouped(held, self._windows)
        # More than half a window was there before, so one mirror image is enough.
        half = self._windows.half
        return _filter_continued(np.concatenate((held, held[len(held) - half :][::-1])), self._windows)


def grouped(windows: Sequence[int]) -> MedianWindows:
    """(classes,) odd windows in frames -> the classes of each different window."""
    sizes = sorted(set(windows))
    if len(sizes) == 1:
        groups = [_Columns(sizes[0], None)]
    else:
        groups = [_Columns(size, np.flatnonzero(np.asarray(windows) == size)) for size in sizes]
    return MedianWindows(tuple(groups), sizes[-1] // 2)


def filter_grouped(values: Frames, windows: MedianWindows) -> Frames:
    """(frames, classes) of a whole clip -> each class's running median."""
    if windows.half == 0 or len(values) == 0:
        return values
    return _filter_continued(_mirrored(values, windows.half), windows)


def _mirrored(values: Frames, half: int) -> Frames:
    """(frames, classes) -> (half + frames + half, classes), continued by its mirror image."""
    num_frames = len(values)
    if half <= num_frames:
        return np.concatenate((values[:half][::-1], values, values[num_frames - half :][::-1]))
    # The image repeats every 2 * num_frames.
    position = np.arange(-half, num_frames + half) % (2 * num_frames)
    return np.asarray(values[np.minimum(position, 2 * num_frames - 1 - position)])


def _filter_continued(continued: Frames, windows: MedianWindows) -> Frames:
    """(half + frames + half, classes) -> (frames, classes) medians, each class's over its own window."""
    groups, half = windows
    num_frames = len(continued) - 2 * half
    if groups[0].columns is None:
        return _medians(continued, groups[0].window)
    filtered = np.empty((num_frames, continued.shape[1]), dtype=continued.dtype)
    for window, columns in groups:
        margin = half - window // 2
        filtered[:, columns] = _medians(continued[margin : len(continued) - margin][:, columns], window)
    return filtered


def _medians(values: Frames, window: int) -> Frames:
    """(frames + window - 1, columns) -> (frames, columns): the median of each `window` neighbours."""
    num_frames = len(values) - window + 1
    if window == 1 or num_frames == 0:
        return values[:num_frames]
    if window > _LONGEST_NETWORK:
        # The copy lets the partition work in place on neighbours in memory.
        neighbours = sliding_window_view(values, window, axis=0).copy()
        neighbours.partition(window // 2, axis=-1)
        return np.ascontiguousarray(neighbours[..., window // 2])
    shifted = [values[first : first + num_frames] for first in range(window)]
    for low, high, keeps_minimum, keeps_maximum in _network(window):
        one, other = shifted[low], shifted[high]
        if keeps_minimum:
            shifted[low] = np.minimum(one, other)
        if keeps_maximum:
            shifted[high] = np.maximum(one, other)
    return shifted[window // 2]


@cache
def _network(window: int) -> tuple[_Comparator, ...]:
    """The comparators after which the middle of `window` values stands in the middle."""
    needed = {window // 2}
    kept: list[_Comparator] = []
    for low, high in reversed(list(_merge_sort(window))):
        if low in needed or high in needed:
            kept.append(_Comparator(low, high, low in needed, high in needed))
            needed |= {low, high}
    return tuple(reversed(kept))


def _merge_sort(size: int) -> Iterator[tuple[int, int]]:
    """Batcher's odd-even merge sort: pairs (low, high) of positions, in the order in which they are compared."""
    run = 1
    while run < size:
        distance = run
        while distance >= 1:
            for first in range(distance % run, size - distance, 2 * distance):
                for low in range(first, min(first + distance, size - distance)):
                    if low // (2 * run) == (low + distance) // (2 * run):
                        yield low, low + distance
            distance //= 2
        run *= 2
