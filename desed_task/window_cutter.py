"""WindowCutter: a recording that arrives in blocks, cut into the windows that a view cuts of the whole.

A window is given out as soon as it is full; those that the end decides about (the last one padded, repeated or shifted)
when the recording has ended. Only the samples that later windows may need are kept: less than a block and two windows.
Both `windowing` and `chunking` cut the whole recording with the same starts and the same filling.
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

# What a window that is not full holds besides its samples: these again and again, or zeros. `shift` and `drop` leave
# no such window.
Rest = Literal["tile", "zeros", "shift", "drop"]


class CutView(Protocol):
    """What a view says about its windows: full ones start `hop_samples` apart, whatever becomes of the end."""

    @property
    def window_samples(self) -> int:
        """Samples per window."""

    @property
    def hop_samples(self) -> int:
        """Samples from one full window's start to the next's."""

    @property
    def short(self) -> Rest:
        """How a recording shorter than a window fills it."""

    @property
    def tail(self) -> Rest:
        """How the end of a longer recording fills the last windows."""

    def starts(self, num_samples: int) -> NDArray[np.int64]:
        """The sample at which each window of a recording of `num_samples` starts: (windows,), ascending."""


def cut_whole(view: CutView, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """(samples,) -> (windows, window_samples) float32, at least one window."""
    cutter = WindowCutter(view)
    return np.stack([*cutter.feed(waveform), *cutter.end()], dtype=np.float32)


class WindowCutter:
    """Blocks of one recording -> its windows, in order. Given out windows may share memory with the blocks."""

    def __init__(self, view: CutView) -> None:
        self._view = view
        self._window, self._hop = view.window_samples, view.hop_samples
        self._blocks: list[NDArray[np.float32]] = []
        self._blocks_start = 0
        self._last_starts: list[int] = []
        self._num_full = 0
        self.num_samples = 0

    def feed(self, block: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """(samples,) of any length -> the windows that it makes full."""
        self._blocks.append(block)
        self.num_samples += len(block)
        hop, window = self._hop, self._window
        first = self._num_full * hop
        if first + window > self.num_samples:
            return []
        count = 1 + (self.num_samples - window - first) // hop
        self._num_full += count
        held, start = self._held(), self._blocks_start
        # The window that is shifted to the end starts after the last full one.
        self._forget(held, (self._num_full - 1) * hop - start)
        return [held[at : at + window] for at in range(first - start, first - start + count * hop, hop)]

    def end(self) -> list[NDArray[np.float32]]:
        """The windows that are left when the recording has ended; at least one window in all."""
        self._last_starts = self._view.starts(self.num_samples)[self._num_full :].tolist()
        if not self._last_starts:
            return []
        held, first, window = self._held(), self._blocks_start, self._window
        tiled = (self._view.short if self.num_samples < window else self._view.tail) == "tile"
        pieces = [held[at - first : at - first + window] for at in self._last_starts]
        return [_filled(piece, window, tiled) for piece in pieces]

    @property
    def num_windows(self) -> int:
        """Windows that were given out."""
        return self._num_full + len(self._last_starts)

    def starts(self, first: int, last: int) -> list[int]:
        """The samples at which windows [first, last) start, which were given out."""
        full = range(first * self._hop, min(last, self._num_full) * self._hop, self._hop)
        return [*full, *self._last_starts[max(0, first - self._num_full) : max(0, last - self._num_full)]]

    def _held(self) -> NDArray[np.float32]:
        """All samples that are kept, as one array."""
        if len(self._blocks) == 1:
            return self._blocks[0]
        return np.concatenate(self._blocks) if self._blocks else np.zeros(0, dtype=np.float32)

    def _forget(self, held: NDArray[np.float32], num_samples: int) -> None:
        """Keep what follows the first `num_samples` of `held`."""
        kept = held[num_samples:]
        # A view would keep the whole block alive.
        self._blocks = [kept.copy() if len(kept) < len(held) // 2 else kept]
        self._blocks_start += num_samples


def _filled(piece: NDArray[np.float32], window_samples: int, tiled: bool) -> NDArray[np.float32]:
    """(samples,) of at most a window -> (window_samples,), repeated or padded with zeros."""
    if len(piece) == window_samples:
        return piece
    if tiled and len(piece):
        return np.resize(piece, window_samples)
    window = np.zeros(window_samples, dtype=np.float32)
    window[: len(piece)] = piece
    return window
