"""Learning rates against torch's schedulers, and at the steps where they can be checked by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.optim.lr_scheduler import MultiStepLR, ReduceLROnPlateau

from desed_task.training.tagging_schedules import (
    ConstantOptions,
    ExponentialWarmupOptions,
    LinearOptions,
    MultistepOptions,
    PeriodicOptions,
    PlateauOptions,
    Schedule,
    ScheduleOptions,
    StepWarmupOptions,
    build_schedule,
)

PER_EPOCH = 7


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)


def by_epoch(schedule: Schedule, epochs: int) -> list[float]:
    """The rate of each epoch, which must be the same in all its steps."""
    rates = [
        [schedule.rate(step + PER_EPOCH * epoch, PER_EPOCH) for step in range(PER_EPOCH)] for epoch in range(epochs)
    ]
    assert all(len(set(of_epoch)) == 1 for of_epoch in rates)
    return [of_epoch[0] for of_epoch in rates]


@pytest.mark.parametrize(("patience", "factor"), [(5, 0.1), (0, 0.5), (2, 0.3)])
def test_plateau_is_that_of_torch(patience: int, factor: float) -> None:
    theirs_of = optimizer()
    theirs = ReduceLROnPlateau(theirs_of, mode="max", factor=factor, patience=patience, eps=0.0)
    mine = build_schedule(PlateauOptions(patience=patience, factor=factor))
    rng = np.random.default_rng(0)
    # Rising, then wavering, with steps that are smaller than what counts as better, and one that is no number
    objectives = [*np.linspace(0.1, 0.3, 6), *(0.3 + rng.normal(0, 1e-4, 40)), float("nan"), 0.4, *([0.4] * 12)]
    for objective in objectives:
        theirs.step(float(objective))
        mine.after_validation(float(objective))
        assert mine.rate(3, PER_EPOCH) == pytest.approx(theirs_of.param_groups[0]["lr"])
    assert mine.rate(3, PER_EPOCH) < 0.5


def test_plateau_by_hand() -> None:
    schedule = build_schedule(PlateauOptions(patience=1, factor=0.5))
    rates = []
    for objective in (0.2, 0.3, 0.3, 0.1, 0.1, 0.1, 0.4):
        schedule.after_validation(objective)
        rates.append(schedule.rate(0, PER_EPOCH))
    assert rates == [1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_a_resumed_plateau_goes_on_as_it_would_have() -> None:
    def course() -> Schedule:
        return build_schedule(PlateauOptions(patience=2), StepWarmupOptions())

    whole, first = course(), course()
    objectives = [0.1, 0.3, 0.2, 0.2, 0.25, 0.1, 0.31, 0.1, 0.1, 0.1]
    for position, objective in enumerate(objectives):
        resumed = course()
        resumed.restore(json.loads(json.dumps(first.state())))
        for schedule in (whole, resumed):
            schedule.after_validation(objective)
        assert resumed.rate(500 + position, PER_EPOCH) == whole.rate(500 + position, PER_EPOCH)
        assert resumed.state() == whole.state()
        first = resumed
    assert whole.rate(2000, PER_EPOCH) == pytest.approx(0.01)


@pytest.mark.parametrize("milestones", [(2, 3, 4, 5), (10, 15, 20)])
def test_multistep_is_that_of_torch(milestones: tuple[int, ...]) -> None:
    theirs_of = optimizer()
    theirs = MultiStepLR(theirs_of, milestones, gamma=0.5)
    mine = by_epoch(build_schedule(MultistepOptions(after_epochs=milestones, factor=0.5)), 25)
    for epoch in range(25):
        assert mine[epoch] == pytest.approx(theirs_of.param_groups[0]["lr"])
        theirs_of.step()
        theirs.step()


def test_psla_halves_every_five_epochs_from_the_eleventh_on() -> None:
    rates = by_epoch(build_schedule(PeriodicOptions(after_epochs=10, every_epochs=5, factor=0.5)), 26)
    assert rates == [1.0] * 10 + [0.5] * 5 + [0.25] * 5 + [0.125] * 5 + [0.0625]
    theirs_of = optimizer()
    theirs = MultiStepLR(theirs_of, list(range(10, 1000, 5)), gamma=0.5)
    for rate in rates:
        assert rate == pytest.approx(theirs_of.param_groups[0]["lr"])
        theirs_of.step()
        theirs.step()


def test_the_published_warm_up_begins_with_nothing_and_rises_every_fifty_steps() -> None:
    schedule = build_schedule(ConstantOptions(), StepWarmupOptions())
    at = {0: 0.0, 49: 0.0, 50: 0.05, 99: 0.05, 100: 0.1, 999: 0.95, 1000: 1.0, 1001: 1.0, 50_000: 1.0}
    assert {step: schedule.rate(step, 200) for step in at} == pytest.approx(at)
    # As published: set at every fiftieth step up to the thousandth, kept between
    published = 1.0
    for step in range(1200):
        published = step / 1000 if step <= 1000 and step % 50 == 0 else published
        assert schedule.rate(step, 200) == pytest.approx(published)


def test_the_smooth_warm_up_rises_with_every_step() -> None:
    schedule = build_schedule(ConstantOptions(), StepWarmupOptions(num_steps=4, hold_steps=0))
    assert [schedule.rate(step, 200) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_a_warm_up_is_multiplied_by_what_comes_after() -> None:
    schedule = build_schedule(PeriodicOptions(after_epochs=1, every_epochs=1), StepWarmupOptions())
    assert schedule.rate(500, 400) == pytest.approx(0.5 * 0.5)
    assert schedule.rate(1000, 400) == pytest.approx(0.25)


def test_efficientat_rises_for_8_epochs_and_falls_from_80_to_175() -> None:
    rates = by_epoch(build_schedule(LinearOptions(), ExponentialWarmupOptions()), 200)
    # exp(-5 (1 - e / 8)^2); the first epoch counts as half a one
    assert rates[0] == pytest.approx(math.exp(-5 * (7.5 / 8) ** 2))
    assert rates[4] == pytest.approx(math.exp(-1.25))
    assert rates[8:81] == [1.0] * 73
    # .01 + .99 (95 - (e - 80)) / 95
    assert rates[81] == pytest.approx(0.01 + 0.99 * 94 / 95)
    assert rates[174] == pytest.approx(0.01 + 0.99 / 95)
    assert rates[175:] == pytest.approx([0.01] * 25)


def test_by_step_the_same_course_is_smooth() -> None:
    smooth = build_schedule(
        LinearOptions(after_epochs=4, over_epochs=4, last=0.0, by="step"),
        ExponentialWarmupOptions(num_epochs=2, by="step"),
    )
    assert smooth.rate(0, 10) == pytest.approx(math.exp(-5))
    assert smooth.rate(10, 10) == pytest.approx(math.exp(-1.25))
    assert [smooth.rate(step, 10) for step in (40, 50, 60, 80, 90)] == pytest.approx([1.0, 0.75, 0.5, 0.0, 0.0])


def test_a_planned_course_remembers_nothing() -> None:
    schedule = build_schedule(MultistepOptions(after_epochs=(2,)))
    schedule.after_validation(0.5)
    assert schedule.state() == {}
    schedule.restore({})
    assert schedule.rate(0, PER_EPOCH) == 1.0


def test_a_conf_chooses_by_name() -> None:
    union: TypeAdapter[Any] = TypeAdapter(ScheduleOptions)
    assert union.validate_python({"name": "plateau", "patience": 3}) == PlateauOptions(patience=3)
    with pytest.raises(ValidationError, match="cosine"):
        union.validate_python({"name": "cosine"})


@pytest.mark.parametrize("after_epochs", [(0, 1), (3, 2), (2, 2)])
def test_milestones_that_do_not_rise_are_refused(after_epochs: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="must be 1 or more and rise"):
        MultistepOptions(after_epochs=after_epochs)
