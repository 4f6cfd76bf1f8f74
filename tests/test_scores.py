"""Scores: one value in [0, 1] per frame and class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from desed_task.labels import LabelSet
from desed_task.scores import Scores, ScoreTable
from desed_task.timeline import FrameGrid

GRID = FrameGrid(16_000, 256, 4)
LABELS = LabelSet(["Cat", "Dog"])
CLIP = np.array([0.0, 1.0], dtype=np.float32)


def test_scores_of_a_tagger_have_no_frames() -> None:
    assert Scores(None, CLIP, GRID, LABELS, 10.0).frame_values is None


def test_other_frames_leave_the_rest_of_the_clip_as_it_is() -> None:
    scores = Scores(np.zeros((3, 2), np.float32), CLIP, GRID, LABELS, 10.0)
    other = scores.with_frames(np.ones((3, 2), np.float32))
    assert other.frame_values is not None
    assert other.frame_values.min() == 1.0
    assert (other.clip_values is scores.clip_values, other.duration) == (True, 10.0)


@pytest.mark.parametrize("shape", [(2,), (3, 3), (3, 2, 1)])
def test_frames_that_do_not_fit_the_classes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="frame_values"):
        Scores(np.zeros(shape, np.float32), CLIP, GRID, LABELS, 10.0)


def test_clip_values_that_do_not_fit_the_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="clip_values"):
        Scores(None, np.zeros(3, np.float32), GRID, LABELS, 10.0)


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan, np.inf])
def test_values_outside_0_to_1_are_refused(value: float) -> None:
    frames = np.zeros((3, 2), np.float32)
    frames[1, 1] = value
    with pytest.raises(ValueError, match="must lie in"):
        Scores(frames, CLIP, GRID, LABELS, 10.0)


@pytest.mark.parametrize(
    ("edges", "values", "message"),
    [
        ([0.0, 1.0], np.array([[0.1, np.nan]]), "finite"),
        ([0.0, 1.0], np.array([[0.1, -np.inf]]), "finite"),
        ([0.0, 1.0], np.array([[0, 1]]), "float32 or float64"),
        ([1.0, 0.0], np.array([[0.1, 0.2]]), "ascend"),
        ([0.0, np.nan], np.array([[0.1, 0.2]]), "ascend"),
    ],
)
def test_a_table_holds_finite_numbers_on_ascending_windows(
    edges: list[float], values: NDArray[Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ScoreTable(np.array(edges), values, LABELS)
    ScoreTable(np.array([0.0, 0.0]), np.array([[-2.0, 30.0]]), LABELS)  # any number, and windows of no length
