"""The operating point of one class with the highest F1, as a threshold that can be used.

A class is active where score > threshold, so any number from the next lower score up to the score itself gives the same
decisions. Neighbouring points of equal F1 are one range. Of the ranges with the highest F1 the nearest to the default
is taken; the default itself where it lies within, else the middle of the range, which leaves unseen clips some room on
both sides, with as few digits as that needs. (`f1.best_f1` takes the highest of equally good thresholds, and may say
infinity; the F1 is the same.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# F1s nearer than this are equal.
_EQUAL = 1e-12


def best_point(
    thresholds: NDArray[Any],
    true_positives: NDArray[np.int64],
    false_positives: NDArray[np.int64],
    num_reference: int,
    default: float,
) -> tuple[float, float]:
    """(highest F1, threshold) from the deltas of one class, rows in any order.

    A class without events has F1 NaN; it, and a class that is never found, keep the default.
    """
    if not num_reference:
        return float("nan"), default
    order = np.argsort(-thresholds, kind="stable")
    at = thresholds[order]
    found, false = np.cumsum(true_positives[order]), np.cumsum(false_positives[order])
    last = np.flatnonzero(np.append(at[1:] != at[:-1], True)) if len(at) else np.empty(0, np.intp)
    last = last[at[last] > 0]  # a score of 0 is above no threshold
    f1 = 2 * found[last] / (found[last] + false[last] + num_reference)
    if not len(f1) or f1.max() <= _EQUAL:
        return 0.0, default
    upper = at[last].astype(np.float32)
    lower = np.append(upper[1:], np.float32(0.0))
    best = f1 >= f1.max() - _EQUAL
    begins = np.flatnonzero(best & ~np.append(False, best[:-1]))
    ends = np.flatnonzero(best & ~np.append(best[1:], False))
    ranges = zip(lower[ends].tolist(), upper[begins].tolist(), strict=True)
    low, high = min(ranges, key=lambda pair: max(pair[0] - default, default - pair[1], 0.0))
    return float(f1.max()), _within(low, high, default)


def _within(low: float, high: float, default: float) -> float:
    """A threshold in [low, high), in float32, and in (0, 1)."""
    if low <= float(np.float32(default)) < high:
        return default
    middle = (low + high) / 2
    for digits in range(2, 10):
        rounded = round(middle, digits)
        if low <= float(np.float32(rounded)) < high and 0 < rounded < 1:
            return rounded
    return low or middle  # neighbouring float32 numbers
