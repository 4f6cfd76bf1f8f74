"""Thresholds: scores -> decisions.

A class is active where `score > threshold`, strictly, as in the published baselines. Scores are float32, so thresholds
are rounded to float32 before they are compared: the same threshold then gives the same decision wherever it is used, as
one number, as one of a grid, or read back from a bundle.

The grid of the published evaluation (DCASE Task 4, 2021-2024) is the middles of 50 equal steps: 0.01, 0.03, ..., 0.99.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NUM_OPERATING_POINTS = 50


def decide(frame_values: NDArray[np.float32], threshold: float | Sequence[float]) -> NDArray[np.bool_]:
    """(frames, classes) scores -> (frames, classes) decisions; `threshold`: for all classes or (classes,)."""
    decisions: NDArray[np.bool_] = frame_values > np.asarray(threshold, dtype=np.float32)
    return decisions


def thresholds_passed(frame_values: NDArray[np.float32], thresholds: Sequence[float]) -> NDArray[np.intp]:
    """(frames, classes) -> how many of the ascending `thresholds` each score passes: k means `thresholds[:k]`."""
    return np.searchsorted(np.asarray(thresholds, dtype=np.float32), frame_values, side="left")


def threshold_grid(num_thresholds: int = NUM_OPERATING_POINTS) -> tuple[float, ...]:
    """The middles of `num_thresholds` equal steps of [0, 1]."""
    return tuple(round((2 * step + 1) / (2 * num_thresholds), 12) for step in range(num_thresholds))
