"""Curves as SVG paths: the same picture with fewer points."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from desed_task.metrics.psds import RocCurve
from desed_task.submission.page_plots import (
    LARGE,
    SMALL,
    Frame,
    operating_plot,
    staircase_path,
    thin_staircase,
    threshold_path,
)
from desed_task.submission.page_views import OperatingCurve, OperatingPoint

# A plot area of 100 x 100 at the corner: pixels are percent, y downward.
SQUARE = Frame(100, 100, 0, 0, 0, 0)


def curve(rates: list[float], ratios: list[float]) -> RocCurve:
    return RocCurve(np.array(rates, dtype=np.float64), np.array(ratios, dtype=np.float64))


def corners(path: str) -> NDArray[np.float64]:
    """(corners, 2) absolute x, y of a path of M, H and V."""
    found, x, y = [], 0.0, 0.0
    for command, numbers in re.findall(r"([MHV])([-\d. ]+)", path):
        values = [float(number) for number in numbers.split()]
        x = values[0] if command in "MH" else x
        y = values[-1] if command in "MV" else y
        found.append((x, y))
    return np.array(found)


def area_below(path: str, frame: Frame) -> float:
    """The fraction of the plot area below a staircase."""
    points = corners(path)
    height = frame.y(0.0) - points[:, 1]
    return float(np.sum(height[:-1] * np.diff(points[:, 0]))) / (frame.inner[0] * frame.inner[1])


def staircase_area(rates: NDArray[np.float64], ratios: NDArray[np.float64]) -> float:
    return float(np.sum(ratios * np.diff(rates, append=1.0)))


def random_staircase(rising: bool, num_points: int = 40_000) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(3)
    rates = np.sort(rng.random(num_points) ** 2)
    ratios = np.cumsum(rng.random(num_points) ** 4) if rising else 0.5 + np.cumsum(rng.normal(0, 0.001, num_points))
    return rates, np.clip(ratios / (ratios.max() if rising else 1.0), 0.0, 1.0)


def test_a_staircase_starts_at_zero_and_ends_at_the_highest_rate() -> None:
    # ratio  1 |        ____
    #        0 |___..__|        rates 0, 20, 50, 100
    assert staircase_path(curve([20, 50], [0.4, 1.0]), 100.0, SQUARE) == "M0 100H20V60H50V0H100"


def test_a_staircase_that_finds_events_without_false_alarms_starts_there() -> None:
    assert staircase_path(curve([0, 50], [0.4, 1.0]), 100.0, SQUARE) == "M0 60H50V0H100"


def test_points_beyond_the_highest_rate_are_not_drawn() -> None:
    assert staircase_path(curve([10, 200], [0.5, 1.0]), 100.0, SQUARE) == "M0 100H10V50H100"


def test_no_points_are_a_line_at_zero() -> None:
    assert staircase_path(curve([], []), 100.0, SQUARE) == "M0 100H100"


def test_few_points_are_all_kept() -> None:
    x, y = np.linspace(0, 1, 50), np.linspace(0, 1, 50) ** 2
    assert [kept.tolist() for kept in thin_staircase(x, y, 50)] == [x.tolist(), y.tolist()]


@pytest.mark.parametrize("rising", [True, False])
def test_thinning_keeps_the_area(rising: bool) -> None:
    rates, ratios = random_staircase(rising)
    thin = thin_staircase(rates, ratios, 430)
    assert len(thin[0]) <= 4 * 430
    assert staircase_area(*thin) == pytest.approx(staircase_area(rates, ratios), abs=2e-3)


@pytest.mark.parametrize("frame", [LARGE, SMALL])
def test_a_drawn_curve_has_the_area_that_is_the_score(frame: Frame) -> None:
    rates, ratios = random_staircase(rising=True)
    path = staircase_path(RocCurve(100 * rates, ratios), 100.0, frame)
    assert len(path) < 20_000
    assert area_below(path, frame) == pytest.approx(staircase_area(rates, ratios), abs=5e-3)


def test_thinning_keeps_every_peak() -> None:
    x, y = np.linspace(0, 1, 10_000), np.zeros(10_000)
    y[[777, 5000, 9999]] = 0.25, 1.0, 0.5
    kept = thin_staircase(x, y, 100)[1]
    assert {0.25, 0.5, 1.0} <= set(kept.tolist())


def test_a_value_holds_down_to_the_threshold_before() -> None:
    # thresholds .5 and 1: precision .2 up to .5, then 1
    assert threshold_path(np.array([0.5, 1.0]), np.array([0.2, 1.0]), SQUARE) == "M0 80H50V0H100"


def test_undefined_values_leave_a_gap() -> None:
    values = np.array([0.2, np.nan, 1.0])
    assert threshold_path(np.array([0.25, 0.5, 1.0]), values, SQUARE) == "M0 80H25M50 0H100"


def marked(best: float, given: float | None) -> str:
    empty = np.zeros(0)
    point = None if given is None else OperatingPoint(given, 0.5, 0.25, 1 / 3)
    points = OperatingPoint(best, 0.6, 0.4, 0.48), point
    return operating_plot(OperatingCurve("collar", empty, empty, empty, empty, *points), "s0", "x")


def test_the_best_and_the_given_point_are_marked() -> None:
    picture = marked(0.4237, 0.5)
    assert "best 0.424: F1 0.480" in picture
    assert "given 0.500: F1 0.333" in picture
    assert "precision 0.600, recall 0.400" in picture


@pytest.mark.parametrize(
    ("best", "given"), [(0.1, 0.9), (0.49, 0.5), (0.5, 0.49), (0.01, 0.02), (0.97, 0.98), (0.5, 0.5)]
)
def test_labels_of_the_points_stay_inside_and_apart(best: float, given: float) -> None:
    text = r'<text x="([\d.]+)" y="([\d.]+)" class="label" text-anchor="(\w+)">(best|given)'
    labels = re.findall(text, marked(best, given))
    assert {y for _, y, *_ in labels} == {"14", "31"}
    for x, _, anchor, _ in labels:
        left = float(x) - (170 if anchor == "end" else 0)
        assert -1 <= left <= LARGE.width - 170 + 1


def test_a_point_outside_of_the_plot_is_not_marked() -> None:
    assert "mark" not in marked(float("inf"), None)
