"""Search: the median filter length and the threshold of each class that an objective likes best.

Long events want long filters, short events short ones, and each class has a threshold of its own. What is good is the
caller's to say: a `Measured` answers for one set of clips, so the same search serves PSDS and every F1.

    1. each class takes the length with its highest figure
    2. where classes are judged together (PSDS subtracts their standard deviation), one class at a time tries every
       length again on the joint figure, until none gains; the same from the default, and the better of both is taken
    3. each class takes the threshold of its best operating point at that length

Nothing changes without a reason: of equally good lengths the nearest to the default is taken, and of those the shorter;
a class about which the clips say nothing keeps its default.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# Figures nearer than this are equal: sums of a few thousand rates in another order.
_EQUAL = 1e-9
# Rounds over all classes; each gains, and two or three are usual.
_MAX_ROUNDS = 10

Lengths = NDArray[np.intp]
Weights = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Settings:
    """lengths: (classes,) positions in the candidate lengths; thresholds: (classes,), a class is active above."""

    lengths: Lengths
    thresholds: NDArray[np.float64]


class Measured(Protocol):
    """What some clips say about the candidate lengths."""

    @property
    def class_figures(self) -> NDArray[np.float64]:
        """(lengths, classes), higher is better; NaN where a class has nothing to be judged by."""

    def joint_figure(self, lengths: Lengths) -> float:
        """The figure of all classes together, each at its length: (classes,) positions."""

    def best_thresholds(self, lengths: Lengths) -> NDArray[np.float64]:
        """(classes,) thresholds at these lengths; the default where a class has nothing to be judged by."""


# weights (clips,), how often each clip counts -> what those clips say
Measure = Callable[[Weights], Measured]


def search_settings(measured: Measured, default: Lengths, lengths_seconds: NDArray[np.float64]) -> Settings:
    """The best settings by `measured`. default: (classes,) positions in lengths_seconds (lengths,)."""
    own = best_lengths(measured.class_figures, default, lengths_seconds)
    improved = [_improve(measured, start) for start in (own, default)]
    lengths = improved[1] if _joint(measured, improved[1]) > _joint(measured, improved[0]) + _EQUAL else improved[0]
    return Settings(lengths, measured.best_thresholds(lengths))


def search_folds(
    measure: Measure, default: Lengths, lengths_seconds: NDArray[np.float64], fold_of_clip: NDArray[np.intp]
) -> list[Settings]:
    """The settings for each fold, chosen on the clips of all others. fold_of_clip: (clips,)."""
    folds = range(int(fold_of_clip.max()) + 1)
    others = [np.asarray(fold_of_clip != fold, dtype=np.int64) for fold in folds]
    return [search_settings(measure(weights), default, lengths_seconds) for weights in others]


def best_lengths(class_figures: NDArray[np.float64], default: Lengths, lengths_seconds: NDArray[np.float64]) -> Lengths:
    """(classes,) the length with the highest figure (lengths, classes) of each class; see the top for ties."""
    chosen = default.copy()
    for label, figures in enumerate(class_figures.T):
        if np.isnan(figures).all():
            continue
        equal = np.flatnonzero(figures >= np.nanmax(figures) - _EQUAL)
        away = np.abs(lengths_seconds[equal] - lengths_seconds[default[label]])
        chosen[label] = equal[np.lexsort((lengths_seconds[equal], np.round(away, 9)))[0]]
    return chosen


def _improve(measured: Measured, start: Lengths) -> Lengths:
    """Coordinate ascent on the joint figure; a class that cannot be judged stays."""
    lengths, best = start.copy(), _joint(measured, start)
    movable = np.flatnonzero(~np.isnan(measured.class_figures).all(axis=0))
    for _ in range(_MAX_ROUNDS):
        before = best
        for label in movable:
            for candidate in range(len(measured.class_figures)):
                tried = lengths.copy()
                tried[label] = candidate
                figure = _joint(measured, tried)
                if figure > best + _EQUAL:
                    lengths, best = tried, figure
        if best == before:
            break
    return lengths


def _joint(measured: Measured, lengths: Lengths) -> float:
    figure = measured.joint_figure(lengths)
    return -np.inf if np.isnan(figure) else figure
