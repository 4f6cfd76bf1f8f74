"""Ranges: two numbers between which something is drawn evenly, the smaller first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"the range {list(bounds)} runs backwards; write the smaller number first")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]


def within(low: float, high: float, what: str) -> Callable[[tuple[float, float]], tuple[float, float]]:
    """A validator that keeps a range between two limits; `what` is the plural its sentence begins with."""

    def check(bounds: tuple[float, float]) -> tuple[float, float]:
        if not low <= bounds[0] <= bounds[1] <= high:
            raise ValueError(f"{what} must lie between {low:g} and {high:g}, got {list(bounds)}")
        return bounds

    return check
