"""The ramp and the decay at the steps where they can be checked by hand."""

from __future__ import annotations

import math

import pytest

from desed_task.training.schedules import cosine_decay, exponential_ramp

PUBLISHED_RAMP = 50 * 118


def test_the_ramp_at_its_start_middle_and_end() -> None:
    assert exponential_ramp(0, PUBLISHED_RAMP) == pytest.approx(math.exp(-5))
    assert exponential_ramp(PUBLISHED_RAMP // 2, PUBLISHED_RAMP) == pytest.approx(math.exp(-1.25))
    assert exponential_ramp(PUBLISHED_RAMP, PUBLISHED_RAMP) == 1.0
    assert exponential_ramp(10 * PUBLISHED_RAMP, PUBLISHED_RAMP) == 1.0


def test_the_ramp_never_falls() -> None:
    values = [exponential_ramp(step, 40) for step in range(60)]
    assert values == sorted(values)


def test_no_ramp_is_one_throughout() -> None:
    assert [exponential_ramp(step, 0) for step in (0, 1, 100)] == [1.0, 1.0, 1.0]


def test_the_cosine_begins_at_its_first_step_and_ends_at_zero() -> None:
    assert cosine_decay(99, 100, 300) == 1.0
    assert cosine_decay(100, 100, 300) == 1.0
    assert cosine_decay(200, 100, 300) == pytest.approx(math.sqrt(0.5))
    assert cosine_decay(300, 100, 300) == pytest.approx(0.0, abs=1e-12)
    assert cosine_decay(400, 100, 300) == pytest.approx(0.0, abs=1e-12)


def test_no_decay_where_it_would_begin_at_the_end() -> None:
    assert cosine_decay(300, 300, 300) == 1.0
