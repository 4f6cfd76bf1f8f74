"""PSDS and counts of operating points equal those of psds_eval, when times are compared as floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from score_sets import ScoreSet, draw_set

from desed_task.events import Event, EventTable
from desed_task.metrics.event_f1 import intersection_f1
from desed_task.metrics.reference import by_psds_eval
from desed_task.metrics.rules import Rules
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2, IntersectionCriteria, PsdsScenario

pytestmark = pytest.mark.usefixtures("scorers")

FLOATS = Rules(time_decimals=None)
KINDS: dict[str, dict[str, Any]] = {
    "even": {},
    "windows": {"even_frames": False},
    "edges": {"events_on_edges": True, "events_beyond": True},
    "late detections": {"silent_seconds": 1.0},
}


def points_of(data: ScoreSet, seed: int) -> dict[float, EventTable]:
    """A few thresholds, each with detections of its own: they need not grow into one another."""
    rng = np.random.default_rng(seed)
    return {float(threshold): data.at(float(threshold)) for threshold in rng.uniform(0.05, 0.95, 4)}


@pytest.mark.parametrize("kind", KINDS)
def test_psds_of_random_operating_points(kind: str) -> None:
    rng = np.random.default_rng(len(kind))
    for seed in range(2):
        data = draw_set(seed, num_frames=(4, 40), **KINDS[kind])
        points = points_of(data, seed)
        drawn = IntersectionCriteria(*rng.choice([0.1, 0.3, 0.5, 0.7], 3).tolist())
        for scenario in (PSDS_SCENARIO_1, PSDS_SCENARIO_2, PsdsScenario(drawn, 1.0, 0.5, 500.0)):
            ours = data.point_psds(scenario, points, FLOATS)
            theirs = by_psds_eval.psds(points, data.ground_truth, data.durations, scenario)
            assert ours.value == pytest.approx(theirs.value, abs=1e-9)
            assert ours.per_class == pytest.approx(theirs.per_class, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_counts_of_the_intersection_f1(kind: str) -> None:
    for seed in range(6):
        data = draw_set(seed, num_frames=(4, 40), **KINDS[kind])
        detections = data.at(0.4)
        theirs = by_psds_eval.intersection_f1(detections, data.ground_truth, data.durations)
        ours = intersection_f1(detections, data.ground_truth, data.durations, rules=FLOATS)
        assert ours.per_class == theirs.per_class
        assert ours.macro == pytest.approx(theirs.macro)


def test_a_detection_after_the_end_of_its_clip_is_none_in_both() -> None:
    truth = EventTable({"a.wav": [Event(0, 4, "Dog"), Event(0, 4, "Cat")]})
    late = EventTable({"a.wav": [Event(0, 4, "Dog"), Event(9.0, 9.9, "Dog"), Event(0, 4, "Cat")]})
    theirs = by_psds_eval.intersection_f1(late, truth, {"a.wav": 9.0})
    assert (theirs.per_class["Dog"].num_detected, theirs.per_class["Dog"].fp) == (2, 0)
    assert intersection_f1(late, truth, {"a.wav": 9.0}).per_class == theirs.per_class


def test_the_points_of_a_system_underestimate_what_its_scores_reach() -> None:
    below = 0
    for seed in range(8):
        data = draw_set(seed, num_frames=(10, 40))
        sampled = data.point_psds(PSDS_SCENARIO_1, points_of(data, seed), Rules())
        exact = data.psds(PSDS_SCENARIO_1)
        for label, area in sampled.per_class.items():
            assert area <= exact.per_class[label] + 1e-12
            below += area < exact.per_class[label] - 1e-3
    assert below >= 4
