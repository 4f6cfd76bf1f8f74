"""The threshold of each class that make micro F1 as high as it can be.

Micro F1 over all classes is 2 tp / (detected + present), a ratio of sums over the classes. The published utility
(AudioTagging Done Right) climbs it one class at a time, in random order, until none gains. Here it is climbed as a
ratio (W. Dinkelbach, "On nonlinear fractional programming", 1967): at a value v already reached, each class takes the
threshold with most 2 tp - v detected, independently of the others, which gives a higher value, until it stays. That
ends at the highest value there is, in a few rounds, and is the same every time; climbing by class cannot get above it.

A decision is score > threshold. A threshold lies midway between the lowest score that is detected and the next lower
one; it is infinite where nothing, or everything, is best detected. Chosen on the clips it is told of: a figure of other
clips only is a result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.tag_ranking import TagRanking


@dataclass(frozen=True, eq=False)
class MicroF1Thresholds:
    """thresholds (classes,) float64, and the micro F1 that they give; None where no clip holds any class."""

    thresholds: NDArray[np.float64]
    micro_f1: float | None


def best_micro_f1(ranking: TagRanking) -> MicroF1Thresholds:
    """The best thresholds of all classes together, the highest where several are equally good."""
    num_classes, num_present = len(ranking.num_positive), int(ranking.num_positive.sum())
    chosen = np.full(num_classes, -1)
    if not num_present:
        return MicroF1Thresholds(np.full(num_classes, np.inf), None)
    value = 0.0
    while True:
        chosen = _best_steps(ranking, value)
        steps = chosen[chosen >= 0]
        found, detected = int(ranking.found[steps].sum()), int(ranking.listed[steps].sum())
        reached = 2 * found / (detected + num_present)
        if reached <= value:
            return MicroF1Thresholds(_thresholds(ranking, chosen), value)
        value = reached


def _best_steps(ranking: TagRanking, value: float) -> NDArray[np.int64]:
    """(classes,) the step down to which each class detects, -1 for nothing: the largest 2 found - value listed."""
    gain = 2 * ranking.found - value * ranking.listed
    chosen = np.full(len(ranking.num_positive), -1)
    for label, (first, last) in enumerate(zip(ranking.first_step[:-1], ranking.first_step[1:], strict=True)):
        if last > first:
            best = int(first + gain[first:last].argmax())
            chosen[label] = best if gain[best] > 0 else -1
    return chosen


def _thresholds(ranking: TagRanking, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Midway, in the scores' own precision; the lower score itself where nothing lies between."""
    thresholds = np.full(len(chosen), np.inf)
    for label in np.flatnonzero(chosen >= 0).tolist():
        score, below = ranking.score[chosen[label]], ranking.below[chosen[label]]
        middle = type(score)((float(score) + float(below)) / 2)
        thresholds[label] = middle if middle < score else below
    return thresholds
