"""The search: ties, classes that say nothing, classes that are judged together, and which clips may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from desed_task.postprocessing.search import Lengths, Weights, best_lengths, search_folds, search_settings

SECONDS = np.array([0.0, 0.2, 0.4, 0.6])


@dataclass
class Told:
    """A `Measured` that was told what to say. joint: chosen lengths -> figure, by default the mean of the classes."""

    class_figures: NDArray[np.float64]
    joint: Mapping[tuple[int, ...], float] = field(default_factory=dict)

    def joint_figure(self, lengths: Lengths) -> float:
        own = float(np.nanmean(self.class_figures[lengths, np.arange(len(lengths))]))
        return self.joint.get(tuple(lengths.tolist()), own)

    def best_thresholds(self, lengths: Lengths) -> NDArray[np.float64]:
        return np.asarray(0.1 + 0.1 * lengths, dtype=np.float64)


def figures(*classes: list[float]) -> NDArray[np.float64]:
    return np.array(classes).T


def chosen(classes: NDArray[np.float64], default: list[int]) -> list[int]:
    return [int(position) for position in best_lengths(classes, np.array(default), SECONDS)]


def test_each_class_takes_its_own_best_length() -> None:
    assert chosen(figures([0.1, 0.2, 0.9, 0.3], [0.8, 0.2, 0.1, 0.1]), default=[1, 1]) == [2, 0]


def test_nothing_changes_without_a_reason() -> None:
    assert chosen(figures([0.5, 0.5, 0.5, 0.5]), default=[2]) == [2]
    # the default is no longer best: of the equally good lengths the nearest to it, and of those the shorter
    assert chosen(figures([0.9, 0.1, 0.1, 0.9]), default=[1]) == [0]
    assert chosen(figures([0.1, 0.9, 0.1, 0.9]), default=[2]) == [1]


def test_a_class_of_which_nothing_is_known_keeps_its_default() -> None:
    nothing = [np.nan] * 4
    assert chosen(figures(nothing, [0.1, 0.2, 0.3, 0.9]), default=[2, 2]) == [2, 3]
    settings = search_settings(Told(figures(nothing, [0.1, 0.2, 0.3, 0.9])), np.array([2, 2]), SECONDS)
    assert settings.lengths.tolist() == [2, 3]


def test_thresholds_are_those_of_the_chosen_lengths() -> None:
    settings = search_settings(Told(figures([0.1, 0.2, 0.9, 0.3], [0.8, 0.2, 0.1, 0.1])), np.array([1, 1]), SECONDS)
    np.testing.assert_allclose(settings.thresholds, [0.3, 0.1])


def test_classes_that_are_judged_together_are_improved_together() -> None:
    # alone each class wants length 3; together the first one pays for it
    told = Told(figures([0.1, 0.1, 0.8, 0.9], [0.1, 0.1, 0.1, 0.9]), joint={(3, 3): 0.5, (2, 3): 0.7})
    assert search_settings(told, np.array([1, 1]), SECONDS).lengths.tolist() == [2, 3]


def test_the_way_from_the_default_counts_where_it_leads_higher() -> None:
    # from (3, 3) every single step is a loss, from the default (0, 0) the first step is the summit
    told = Told(figures([0.1, 0.1, 0.1, 0.9], [0.1, 0.1, 0.1, 0.9]), joint={(3, 3): 0.95, (1, 0): 0.99})
    assert search_settings(told, np.array([0, 0]), SECONDS).lengths.tolist() == [1, 0]


def test_a_fold_is_never_among_the_clips_that_choose_for_it() -> None:
    asked: list[list[int]] = []

    def measure(weights: Weights) -> Told:
        asked.append(weights.tolist())
        return Told(figures([0.1, 0.2, 0.3, 0.4]) if weights[0] else figures([0.4, 0.3, 0.2, 0.1]))

    settings = search_folds(measure, np.array([1]), SECONDS, np.array([0, 1, 1, 2]))
    assert asked == [[0, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 0]]
    assert [of_fold.lengths.tolist() for of_fold in settings] == [[0], [3], [3]]
