"""Mean and interval over seeds, by pencil."""

from __future__ import annotations

import math

import pytest

from desed_task.metrics.intervals import spread


def test_three_values() -> None:
    # mean 2, deviations -1 0 1: std = sqrt(2 / 2) = 1; t(2) = 4.303
    of = spread([1.0, 2.0, 3.0])
    assert (of.mean, of.std, of.count) == (2.0, 1.0, 3)
    assert of.half_width == pytest.approx(4.303 / math.sqrt(3))
    assert of.interval == pytest.approx((2 - 2.4843, 2 + 2.4843), abs=1e-4)
    assert str(of) == "2.000 +- 1.000"


def test_one_value_has_no_spread() -> None:
    of = spread([0.25])
    assert (of.mean, of.std, of.half_width, of.interval) == (0.25, None, None, None)


def test_no_values_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])


@pytest.mark.parametrize("count", [2, 3, 10, 31, 40])
def test_intervals_agree_with_scipy(count: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = [math.sin(number) for number in range(count)]
    low, high = stats.t.interval(0.95, count - 1, loc=sum(values) / count, scale=stats.sem(values))
    # Beyond 31 values the normal quantile stands in for t (2.023 at 39 degrees of freedom).
    assert spread(values).interval == pytest.approx((low, high), rel=0.04 if count > 31 else 1e-3)
