"""Running medians: scipy's, whatever the window, and the same of a clip in pieces."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desed_task.postprocessing.running_median import MedianStream, filter_grouped, grouped


def clip(num_frames: int, num_classes: int) -> np.ndarray:
    """Scores with many equal values."""
    return np.random.default_rng(num_frames).integers(0, 30, (num_frames, num_classes)).astype(np.float32) / 30


@pytest.mark.parametrize("window", [*range(1, 32, 2), 63])
@pytest.mark.parametrize("num_frames", [1, 5, 40])
def test_any_window_gives_scipys_numbers(window: int, num_frames: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    values = clip(num_frames, 3)
    expected = ndimage.median_filter(values, size=(window, 1), mode="reflect")
    assert np.array_equal(filter_grouped(values, grouped([window] * 3)), expected)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 80),
    st.lists(st.integers(0, 15), max_size=12),
    st.lists(st.sampled_from([1, 3, 7, 9, 25]), min_size=3, max_size=3),
)
def test_a_clip_in_pieces_is_filtered_as_at_once(num_frames: int, sizes: list[int], windows: list[int]) -> None:
    values, stream = clip(num_frames, 3), MedianStream(grouped(windows))
    edges = np.minimum(np.cumsum([0, *sizes]), num_frames)
    pieces = [stream.feed(values[first:last]) for first, last in itertools.pairwise(edges)]
    pieces.append(stream.end(values[edges[-1] :]))
    assert np.array_equal(np.concatenate(pieces), filter_grouped(values, grouped(windows)))


def test_what_is_given_out_lags_half_the_longest_window() -> None:
    stream = MedianStream(grouped([3, 9]))
    assert [len(stream.feed(clip(size, 2))) for size in (4, 1, 5, 1)] == [0, 1, 5, 1]
    assert len(stream.end(clip(0, 2).reshape(0, 2))) == 4


def test_classes_keep_their_own_windows() -> None:
    values = np.array([[0, 0], [1, 1], [0, 0], [0, 0]], dtype=np.float32)
    assert filter_grouped(values, grouped([3, 1])).tolist() == [[0, 0], [0, 1], [0, 0], [0, 0]]
