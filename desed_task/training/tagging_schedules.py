"""Learning rates of the published taggers: what each optimiser step's rate is, relative to the highest.

A warm-up times one of the courses after it:

    warm-up      steps         0, 50, 100 ... of 1000 steps: step / 1000, held for 50 steps each (PSLA, AST), or smooth
                 exponential   exp(-5 (1 - e / E)^2) over E epochs (EfficientAT: 8)
    course       constant
                 plateau       times `factor` whenever `patience` validations were no better (torch's ReduceLROnPlateau)
                 multistep     times `factor` after each of some numbers of epochs (torch's MultiStepLR)
                 periodic      times `factor` after `after_epochs`, and again every `every_epochs` (PSLA: .5, 10, 5)
                 linear        1 until `after_epochs`, then down to `last` in `over_epochs` (EfficientAT: 80, 95, .01)

Epochs count what has been done: `after_epochs: 10` first acts in the 11th epoch, as torch's milestone 10 does. A rate
is asked right before each step, `step` being the optimiser steps made so far, so that a validation acts on the next
one. Only a plateau has a memory, which checkpoints hold. PSLA's warm-up sets the rate whatever the course says, which
differs from the product only where a decay begins within the first 1000 steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, field_validator

from desed_task.options import Options

# torch's: as much better than the best, relatively, counts as better.
PLATEAU_THRESHOLD = 1e-4


class Schedule(Protocol):
    """The learning rate over a training; `state` is plain values for a checkpoint."""

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The rate of the step after `step` others, relative to the highest."""
        ...

    def after_validation(self, objective: float) -> None:
        """Once after each validation; the higher the better."""
        ...

    def state(self) -> dict[str, Any]:
        """What it remembers."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        ...


class StepWarmupOptions(Options):
    """A rise over the first steps."""

    name: Literal["steps"] = "steps"
    num_steps: int = Field(1000, ge=1, description="Steps until the highest rate.")
    hold_steps: int = Field(
        50,
        ge=0,
        description="Steps that a rate is held, at first 0, as published; 0 rises with every step.",
    )


class ExponentialWarmupOptions(Options):
    """A rise over the first epochs that begins gently."""

    name: Literal["exponential"] = "exponential"
    num_epochs: int = Field(8, ge=1, description="Epochs until the highest rate.")
    by: Literal["epoch", "step"] = Field("epoch", description="Whether the rate changes with each epoch or each step.")


class ConstantOptions(Options):
    """Always the highest rate."""

    name: Literal["constant"] = "constant"


class PlateauOptions(Options):
    """Less when validations get no better."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(0.1, gt=0, lt=1, description="What the rate is multiplied by.")
    patience: int = Field(5, ge=0, description="Validations that may be no better.")


class MultistepOptions(Options):
    """Less after each of some numbers of epochs."""

    name: Literal["multistep"] = "multistep"
    after_epochs: tuple[int, ...] = Field(min_length=1, description="Numbers of epochs, rising.")
    factor: float = Field(0.5, gt=0, lt=1, description="What the rate is multiplied by.")

    @field_validator("after_epochs")
    @classmethod
    def _rising(cls, after_epochs: tuple[int, ...]) -> tuple[int, ...]:
        if after_epochs[0] < 1 or list(after_epochs) != sorted(set(after_epochs)):
            raise ValueError(f"after_epochs {list(after_epochs)} must be 1 or more and rise; a training has no epoch 0")
        return after_epochs


class PeriodicOptions(Options):
    """Less after some epochs, and again at regular intervals."""

    name: Literal["periodic"] = "periodic"
    after_epochs: int = Field(10, ge=1, description="Epochs before the first decay.")
    every_epochs: int = Field(5, ge=1, description="Epochs from one decay to the next.")
    factor: float = Field(0.5, gt=0, lt=1, description="What the rate is multiplied by.")


class LinearOptions(Options):
    """The highest rate, then a straight line down to a low one, then that."""

    name: Literal["linear"] = "linear"
    after_epochs: int = Field(80, ge=0, description="Epochs at the highest rate.")
    over_epochs: int = Field(95, ge=1, description="Epochs of the way down.")
    last: float = Field(0.01, ge=0, le=1, description="The rate at the end, relative to the highest.")
    by: Literal["epoch", "step"] = Field("epoch", description="Whether the rate changes with each epoch or each step.")


WarmupOptions = Annotated[StepWarmupOptions | ExponentialWarmupOptions, Field(discriminator="name")]
ScheduleOptions = Annotated[
    ConstantOptions | PlateauOptions | MultistepOptions | PeriodicOptions | LinearOptions, Field(discriminator="name")
]


class Planned:
    """A rate that is known beforehand."""

    def __init__(self, rate: Callable[[int, int], float]) -> None:
        self._rate = rate

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """As planned."""
        return self._rate(step, steps_per_epoch)

    def after_validation(self, objective: float) -> None:
        """Changes nothing."""

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing to go on from."""


class Plateau:
    """Counts validations that are no better than the best, as ReduceLROnPlateau(mode="max") does."""

    def __init__(self, options: PlateauOptions) -> None:
        self.options = options
        self._relative = 1.0
        self._best = -math.inf
        self._no_better = 0

    def rate(self, step: int, steps_per_epoch: int) -> float:  # noqa: ARG002
        """What the validations so far have left of it."""
        return self._relative

    def after_validation(self, objective: float) -> None:
        """Less, when the patience is at an end; an objective that is no number is no better."""
        # For objectives below 0 "better" would be a little worse; torch's formula is the same.
        is_better = objective > self._best * (1.0 + PLATEAU_THRESHOLD)
        self._best = objective if is_better else self._best
        self._no_better = 0 if is_better else self._no_better + 1
        if self._no_better > self.options.patience:
            self._relative *= self.options.factor
            self._no_better = 0

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {"relative": self._relative, "best": self._best, "no_better": self._no_better}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._relative, self._best, self._no_better = (state[key] for key in ("relative", "best", "no_better"))


class Product:
    """A warm-up times what comes after it."""

    def __init__(self, warmup: Schedule, course: Schedule) -> None:
        self._warmup, self._course = warmup, course

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The product of both."""
        return self._warmup.rate(step, steps_per_epoch) * self._course.rate(step, steps_per_epoch)

    def after_validation(self, objective: float) -> None:
        """Told to both."""
        self._warmup.after_validation(objective)
        self._course.after_validation(objective)

    def state(self) -> dict[str, Any]:
        """Of both."""
        return {"warmup": self._warmup.state(), "course": self._course.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Of both."""
        self._warmup.restore(state["warmup"])
        self._course.restore(state["course"])


def build_schedule(options: ScheduleOptions, warmup: WarmupOptions | None = None) -> Schedule:
    """The schedule of the options, after a warm-up if there is one."""
    course: Schedule = Plateau(options) if isinstance(options, PlateauOptions) else Planned(_course(options))
    return course if warmup is None else Product(Planned(_warmup(warmup)), course)


def _warmup(options: StepWarmupOptions | ExponentialWarmupOptions) -> Callable[[int, int], float]:
    if isinstance(options, StepWarmupOptions):
        total, hold = options.num_steps, options.hold_steps
        return lambda step, _: min(1.0, (step // hold * hold if hold else step + 1) / total)
    # The published ramp takes its first epoch as half an epoch done.
    least = 0.5 if options.by == "epoch" else 0.0
    return lambda step, per: _gentle_rise(max(least, _epochs(step, per, options.by)) / options.num_epochs)


def _course(
    options: ConstantOptions | MultistepOptions | PeriodicOptions | LinearOptions,
) -> Callable[[int, int], float]:
    if isinstance(options, MultistepOptions):
        return lambda step, per: options.factor ** sum(step // per >= epoch for epoch in options.after_epochs)
    if isinstance(options, PeriodicOptions):
        return lambda step, per: (
            options.factor ** max(0, (step // per - options.after_epochs) // options.every_epochs + 1)
        )
    if isinstance(options, LinearOptions):
        return lambda step, per: _line(_epochs(step, per, options.by), options)
    return lambda *_: 1.0


def _epochs(step: int, steps_per_epoch: int, by: Literal["epoch", "step"]) -> float:
    return step // steps_per_epoch if by == "epoch" else step / steps_per_epoch


def _gentle_rise(done: float) -> float:
    return math.exp(-5.0 * max(0.0, 1.0 - done) ** 2)


def _line(epochs: float, options: LinearOptions) -> float:
    done = min(1.0, max(0.0, (epochs - options.after_epochs) / options.over_epochs))
    return 1.0 + done * (options.last - 1.0)
