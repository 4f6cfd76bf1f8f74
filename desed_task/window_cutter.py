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
        self._num_windows = 0
        self.num_samples = 0

    def feed(self, block: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """(samples,) of any length -> the windows that it makes full."""
        self._blocks.append(block)
        self.num_samples += len(block)
        hop, window = self._hop, self._window
        first = self._num_windows * hop
        if first + window > self.num_samples:
            return []
        count = 1 + (self.num_samples - window - first) // hop
        held, start = self._held(), self._blocks_start
        firsts = range(first - start, first - start + count * hop, hop)
        self._num_windows += count
        # The window that is shifted to the end starts after the last full one.
        self._forget(held, (self._num_windows - 1) * hop - start)
        return [held[at : at + window] for at in firsts]

    def end(self) -> list[NDArray[np.float32]]:
        """The windows that are left when the recording has ended; at least one window in all."""
        starts = self._view.starts(self.num_samples)[self._num_windows :].tolist()
        if not starts:
            return []
        held, first, window = self._held(), self._blocks_start, self._window
        tiled = (self._view.short if self.num_samples < window else self._view.tail) == "tile"
        self._num_windows += len(starts)
        return [_filled(held[at - first : at - first + window], window, tiled) for at in starts]

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
