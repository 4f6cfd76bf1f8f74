"""WindowCutter: windows come when they are full, and no more is kept than later ones need."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desed_task.chunking import Chunking
from desed_task.timeline import FrameGrid
from desed_task.window_cutter import WindowCutter
from desed_task.windowing import Windowing

# 10 samples a second, 2 per frame: windows of 10 samples
GRID = FrameGrid(sample_rate=10, hop_length=2, time_pooling=1)


def ramp(first: int, last: int) -> np.ndarray:
    return np.arange(first, last, dtype=np.float32)


# samples   0    4    8   12   16   20      windows of 10, 4 apart
# blocks    |------|--------|-------|
# window 0  |---------|
# window 1      |---------|
# window 2           |---------|
def test_a_window_is_given_out_with_the_block_that_fills_it() -> None:
    cutter = WindowCutter(Chunking(GRID, 1.0, 0.4))
    assert cutter.feed(ramp(0, 6)) == []
    assert [window.tolist() for window in cutter.feed(ramp(6, 14))] == [list(range(10)), list(range(4, 14))]
    assert [window.tolist() for window in cutter.feed(ramp(14, 20))] == [list(range(8, 18))]
    assert [window[0] for window in cutter.end()] == [12.0, 16.0]
    assert (cutter.num_windows, cutter.starts(0, 5), cutter.starts(2, 4)) == (5, [0, 4, 8, 12, 16], [8, 12])


def test_a_shifted_tail_reaches_back_before_the_window_that_would_be_next() -> None:
    cutter = WindowCutter(Chunking(GRID, 1.0, 1.0, tail="shift"))
    assert len(cutter.feed(ramp(0, 25))) == 2
    assert [window.tolist() for window in cutter.end()] == [list(range(15, 25))]
    assert cutter.starts(0, 3) == [0, 10, 15]


def test_no_block_is_a_window_all_the_same() -> None:
    cutter = WindowCutter(Windowing(GRID, 1.0, 1))
    assert [window.tolist() for window in cutter.end()] == [[0.0] * 10]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 10), st.lists(st.integers(0, 60), max_size=12))
def test_less_than_a_block_and_two_windows_are_kept(hop: int, blocks: list[int]) -> None:
    cutter = WindowCutter(Chunking(GRID, 1.0, hop / 10))
    for size in blocks:
        cutter.feed(np.zeros(size, np.float32))
        assert len(cutter._held()) < 20


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_large_block_is_not_kept_alive_for_its_end(size: int) -> None:
    cutter = WindowCutter(Windowing(GRID, 1.0, 1))
    cutter.feed(np.zeros(size, np.float32))
    held = cutter._held()
    assert (held if held.base is None else held.base).nbytes <= 4 * min(size, 40)
