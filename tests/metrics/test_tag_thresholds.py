"""The thresholds with the highest micro F1: by pencil, against all there are, and against climbing class by class."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from desed_task.metrics.tag_ranking import rank_tags
from desed_task.metrics.tag_thresholds import best_micro_f1


def micro_f1(scores: NDArray[np.float64], present: NDArray[np.bool_], thresholds: NDArray[np.float64]) -> float:
    detected = scores > thresholds
    return float(2 * (detected & present).sum() / (detected.sum() + present.sum()))


def draw(num_clips: int, num_classes: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    present = rng.random((num_clips, num_classes)) < rng.uniform(0.05, 0.6, num_classes)
    return np.round(rng.random(present.shape) + 0.4 * present * rng.random(present.shape), 1), present


def test_a_hopeless_class_is_not_detected_for_the_sake_of_the_sum() -> None:
    # class      good     hopeless
    # score .9   x        -
    #       .8   x        -
    #       .3   -        x        alone, hopeless is best detected everywhere (F1 .5); together that costs
    #       .1   -        -
    scores = np.array([0.9, 0.8, 0.3, 0.1])[:, None].repeat(2, axis=1)
    present = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=bool)
    best = best_micro_f1(rank_tags(scores, present))
    np.testing.assert_allclose(best.thresholds, [0.55, np.inf])  # midway between .8 and .3
    assert best.micro_f1 == pytest.approx(2 * 2 / (2 + 3))


@pytest.mark.parametrize("seed", range(8))
def test_no_thresholds_are_better(seed: int) -> None:
    scores, present = draw(9, 3, seed)
    best = best_micro_f1(rank_tags(scores, present))
    candidates = [-np.inf, *np.unique(scores), np.inf]
    reachable = max(micro_f1(scores, present, np.array(some)) for some in product(candidates, repeat=3))
    assert best.micro_f1 == pytest.approx(reachable)
    assert micro_f1(scores, present, best.thresholds) == pytest.approx(best.micro_f1)


def test_climbing_class_by_class_gets_no_higher() -> None:
    scores, present = draw(60, 12, 100)
    best = best_micro_f1(rank_tags(scores, present))
    thresholds = np.full(12, 0.5)
    value, gained = 0.0, True
    while gained:
        gained = False
        for label in range(12):
            for candidate in (-np.inf, *np.unique(scores)):
                tried = thresholds.copy()
                tried[label] = candidate
                if micro_f1(scores, present, tried) > value + 1e-12:
                    value, thresholds, gained = micro_f1(scores, present, tried), tried, True
    assert best.micro_f1 is not None
    assert best.micro_f1 >= value - 1e-12
    assert best.micro_f1 == pytest.approx(value, abs=0.01)


def test_without_a_class_in_any_clip_nothing_is_detected() -> None:
    best = best_micro_f1(rank_tags(np.array([[0.3], [0.6]]), np.zeros((2, 1), dtype=np.bool_)))
    assert best.micro_f1 is None
    assert best.thresholds.tolist() == [np.inf]


def test_neighbouring_scores_have_a_threshold_between_them() -> None:
    above = np.nextafter(np.float32(0.5), np.float32(1))
    scores, present = np.array([[above], [0.5]], dtype=np.float32), np.array([[True], [False]])
    best = best_micro_f1(rank_tags(scores, present))
    assert (scores[:, 0] > np.float32(best.thresholds[0])).tolist() == [True, False]
    assert best.micro_f1 == 1.0
