"""The median filter against scipy's and against a pencil."""

from __future__ import annotations

import numpy as np
import pytest

from desed_task.errors import DesedTaskError
from desed_task.labels import LabelSet
from desed_task.postprocessing.median import equal_frame_seconds, median_filter
from desed_task.postprocessing.thresholds import decide
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid

scipy_median_filter = pytest.importorskip("scipy.ndimage").median_filter

GRID = FrameGrid(16_000, 256, 4)  # 64 ms


def scores_of(values: np.ndarray) -> Scores:
    frame_values = values.astype(np.float32)
    labels = LabelSet([f"class {position}" for position in range(values.shape[1])])
    return Scores(frame_values, np.zeros(len(labels), np.float32), GRID, labels, len(values) * GRID.frame_seconds)


def random_scores(num_frames: int, num_classes: int = 3, seed: int = 0) -> Scores:
    return scores_of(np.random.default_rng(seed).random((num_frames, num_classes)))


# scipy itself leaves its own "reflect" where the window is more than eight times the clip (2 frames under 17).
@pytest.mark.parametrize(
    ("num_frames", "window"), [(f, w) for f in (1, 2, 3, 5, 7, 8, 156) for w in (1, 3, 7, 9, 31) if w <= 8 * f]
)
def test_equals_scipy_also_for_clips_shorter_than_the_window(num_frames: int, window: int) -> None:
    scores = random_scores(num_frames)
    expected = scipy_median_filter(scores.frame_values, size=(window, 1), mode="reflect")
    np.testing.assert_array_equal(median_filter(scores, window * GRID.frame_seconds).frame_values, expected)


def test_each_class_has_its_own_window() -> None:
    scores = random_scores(50)
    filtered = median_filter(scores, (0.064, 0.192, 0.448)).frame_values
    assert filtered is not None and scores.frame_values is not None
    for position, window in enumerate((1, 3, 7)):
        expected = scipy_median_filter(scores.frame_values[:, position], size=window, mode="reflect")
        np.testing.assert_array_equal(filtered[:, position], expected)


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.448, 7), (0.0, 1), (0.064, 1), (0.1, 1), (0.13, 3), (0.4, 7), (0.5, 7), (0.576, 9)]
)
def test_the_window_is_the_nearest_odd_number_of_frames(seconds: float, frames: int) -> None:
    assert GRID.odd_frames_in(seconds) == frames


def test_a_blip_shorter_than_half_the_window_vanishes_and_a_gap_closes() -> None:
    # frames        0  1  2  3  4  5  6  7  8  9
    # score             #           #  #     #  #      window 3: the blip at 2 goes, the gap at 7 closes
    column = np.array([0, 0, 1, 0, 0, 1, 1, 0, 1, 1])
    filtered = median_filter(scores_of(column[:, np.newaxis]), 0.192).frame_values
    assert filtered is not None
    np.testing.assert_array_equal(filtered[:, 0], [0, 0, 0, 0, 0, 1, 1, 1, 1, 1])


@pytest.mark.parametrize("threshold", [0.01, 0.37, 0.5, 0.99])
def test_filter_then_threshold_equals_threshold_then_filter(threshold: float) -> None:
    scores = random_scores(156, num_classes=10, seed=1)
    filtered = median_filter(scores, 0.448).frame_values
    assert filtered is not None and scores.frame_values is not None
    published = scipy_median_filter(decide(scores.frame_values, threshold).astype(np.uint8), size=(7, 1)) > 0
    np.testing.assert_array_equal(decide(filtered, threshold), published)


def test_scores_without_frames_and_clips_without_frames_pass_through() -> None:
    tagger = Scores(None, np.zeros(1, np.float32), GRID, LabelSet(["Dog"]), 10.0)
    assert median_filter(tagger, 0.448) is tagger
    assert median_filter(scores_of(np.zeros((0, 2))), 0.448).frame_values.shape == (0, 2)  # type: ignore[union-attr]


def test_the_scores_that_came_in_are_not_changed() -> None:
    scores = random_scores(20)
    before = scores.frame_values.copy()  # type: ignore[union-attr]
    median_filter(scores, 0.448)
    np.testing.assert_array_equal(scores.frame_values, before)


def test_tables_are_on_equal_frames_but_for_what_the_clip_cuts() -> None:
    assert equal_frame_seconds(GRID.timestamps(156)) == pytest.approx(0.064)
    assert equal_frame_seconds(np.minimum(GRID.timestamps(157), 10.0)) == pytest.approx(0.064)
    assert equal_frame_seconds(np.round(np.arange(100) / 15.6, 3)) == pytest.approx(1 / 15.6, rel=1e-3)
    assert equal_frame_seconds(np.array([0.0, 0.5])) == 0.5
    with pytest.raises(DesedTaskError, match=r"the window from 0.2 s lasts 0.3 s, others 0.1 s; a median filter needs"):
        equal_frame_seconds(np.array([0.0, 0.1, 0.2, 0.5, 0.6, 0.7]))
