"""Exact figures over all thresholds equal those of sed_scores_eval, on seeded sets full of edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from score_sets import ScoreSet, draw_set

from desed_task.errors import DesedTaskError
from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.auroc import segment_auroc
from desed_task.metrics.collar import Collar
from desed_task.metrics.deltas import score_deltas
from desed_task.metrics.f1 import best_f1
from desed_task.metrics.intersection import Intersection
from desed_task.metrics.psds import criterion_of, independent_psds
from desed_task.metrics.reference import by_sed_scores_eval as sed_scores_eval
from desed_task.metrics.rules import Rules
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2, IntersectionCriteria, PsdsScenario
from desed_task.metrics.segment import Segments
from desed_task.scores import ScoreTable

pytestmark = pytest.mark.usefixtures("exact_scorer")

SEEDS = range(8)
SCENARIOS = {"scenario 1": PSDS_SCENARIO_1, "scenario 2": PSDS_SCENARIO_2}


def five_levels(values: Any) -> Any:
    return (np.round(values * 5) / 5).astype(values.dtype)


def zero_below_half(values: Any) -> Any:
    return np.where(values < 0.5, 0, values)


def ones_and_zeros(values: Any) -> Any:
    return np.round(values)


KINDS: dict[str, tuple[dict[str, Any], Callable[[Any], Any] | None]] = {
    "plain": ({}, None),
    "float64": ({"dtype": np.float64}, None),
    "one frame": ({"num_frames": (1, 1)}, None),
    "few frames": ({"num_frames": (1, 4)}, None),
    "ties": ({}, five_levels),
    "exact zeros": ({}, zero_below_half),
    "decisions, not scores": ({"dtype": np.float64}, ones_and_zeros),
    "events on the edges of frames": ({"events_on_edges": True}, None),
    "events beyond the last frame": ({"events_beyond": True}, None),
    "windows of any length": ({"even_frames": False}, None),
    "windows of any length, events on edges, ties": ({"even_frames": False, "events_on_edges": True}, five_levels),
    "frames of 64 ms": ({"frame_seconds": 0.064, "num_frames": (60, 160), "num_clips": 3}, None),
    "one class": ({"num_classes": 1}, None),
    "many classes": ({"num_classes": 9, "num_clips": 8}, None),
}


def drawn(kind: str, seed: int) -> ScoreSet:
    settings, change = KINDS[kind]
    data = draw_set(seed, **settings)
    return data if change is None else data.map_values(change)


def assert_equal_psds(data: ScoreSet, scenario: PsdsScenario) -> bool:
    """Whether sed_scores_eval gave a value at all, to which ours is equal."""
    try:
        theirs = sed_scores_eval.exact_psds(data.scores, data.ground_truth, data.durations, scenario)
    except IndexError:  # it cannot do with a class whose counts never change
        return False
    ours = data.psds(scenario)
    assert ours.value == pytest.approx(theirs.value, abs=1e-9)
    assert ours.per_class == pytest.approx(theirs.per_class, abs=1e-9)
    return True


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
@pytest.mark.parametrize("kind", KINDS)
def test_psds_of_both_scenarios(kind: str, scenario: PsdsScenario) -> None:
    compared = [assert_equal_psds(drawn(kind, seed), scenario) for seed in SEEDS]
    assert sum(compared) >= len(SEEDS) // 2


def test_any_criteria_weights_and_largest_rate() -> None:
    rng, compared = np.random.default_rng(0), 0
    for seed in range(40):
        fractions = rng.choice([0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0], 3).tolist()
        alphas = float(rng.choice([0.0, 0.3, 1.0])), float(rng.choice([0.0, 0.5, 1.0]))
        scenario = PsdsScenario(IntersectionCriteria(*fractions), *alphas, float(rng.choice([20.0, 100.0, 2000.0])))
        compared += assert_equal_psds(drawn(str(rng.choice(list(KINDS))), 100 + seed), scenario)
    assert compared >= 30


def test_constant_scores_beside_others() -> None:
    for seed in SEEDS:
        data = draw_set(seed)
        flat = {name: table for number, (name, table) in enumerate(data.scores.items()) if number % 2}
        for table in flat.values():
            table.values[:] = 0.25
        assert assert_equal_psds(data, PSDS_SCENARIO_2)


def test_a_clip_of_an_hour() -> None:
    data = draw_set(3, num_clips=2, num_frames=(600, 600), frame_seconds=6.0)
    assert assert_equal_psds(data, PSDS_SCENARIO_1)
    assert assert_equal_psds(data, PSDS_SCENARIO_2)


@pytest.mark.parametrize("decimals", [3, 6])
def test_times_on_an_edge_of_a_criterion(decimals: int) -> None:
    """70 % of 0.64 s is 0.448 s, which floats miss by 1e-16."""
    labels = LabelSet(["Cat"])
    table = ScoreTable(np.array([0.0, 8.64, 9.088, 10.0]), np.array([[0.1], [0.9], [0.2]]), labels)
    silent = ScoreTable(np.array([0.0, 10.0]), np.array([[0.0]]), labels)
    truth = EventTable({"a.wav": [Event(8.5, 9.14, "Cat")], "b.wav": []})
    on_edge = ScoreSet({"a": table, "b": silent}, truth, {"a.wav": 10.0, "b.wav": 10.0}, labels)
    assert on_edge.psds(PSDS_SCENARIO_1, Rules(time_decimals=decimals)).value == 1.0
    assert assert_equal_psds(on_edge, PSDS_SCENARIO_1)
    assert on_edge.psds(PSDS_SCENARIO_1, Rules(time_decimals=None)).value == 0.0


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_the_best_of_several_post_processings(scenario: PsdsScenario) -> None:
    for seed in SEEDS:
        data = draw_set(seed, num_clips=8)
        versions = [data, data.map_values(five_levels), data.map_values(smoothed), data.map_values(zero_below_half)]
        criteria = [criterion_of(scenario)]
        deltas = [score_deltas(version.scores, data.truth(), criteria)[0] for version in versions]
        ours = independent_psds(deltas, scenario)
        theirs = sed_scores_eval.independent_psds(
            [version.scores for version in versions], data.ground_truth, data.durations, scenario
        )
        assert ours.value == pytest.approx(theirs.value, abs=1e-9)
        assert ours.per_class == pytest.approx(theirs.per_class, abs=1e-9)
        for label, area in ours.per_class.items():
            assert area >= max(version.psds(scenario).per_class[label] for version in versions) - 1e-12


def smoothed(values: Any) -> Any:
    padded = np.concatenate([values[:1], values, values[-1:]])
    return np.median([padded[:-2], padded[1:-1], padded[2:]], axis=0).astype(values.dtype)


def test_best_f1_of_every_criterion() -> None:
    figures = {
        Collar(): sed_scores_eval.best_collar_f1,
        Segments(): sed_scores_eval.best_segment_f1,
        Intersection(0.5, 0.5): sed_scores_eval.best_intersection_f1,
    }
    for seed in SEEDS:
        data = draw_set(seed, num_frames=(20, 40), silent_seconds=30.0)
        for deltas, of_theirs in zip(
            score_deltas(data.scores, data.truth(), list(figures)), figures.values(), strict=True
        ):
            ours, theirs = best_f1(deltas), of_theirs(data.scores, data.ground_truth, data.durations)
            assert ours.macro == pytest.approx(theirs.macro, abs=1e-9)
            for label, value in theirs.per_class.items():
                assert ours.per_class[label].f1 == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("max_rate", [None, 0.1])
def test_segment_auroc_of_distinct_scores(max_rate: float | None) -> None:
    for seed in SEEDS:
        data = draw_set(seed, num_clips=8, num_frames=(20, 40), silent_seconds=10.0, dtype=np.float64)
        (deltas,) = score_deltas(data.scores, data.truth(), [Segments()])
        mean, per_class = sed_scores_eval.segment_auroc(data.scores, data.ground_truth, data.durations, max_rate)
        ours = segment_auroc(deltas, max_rate or 1.0)
        assert ours.mean == pytest.approx(mean, abs=1e-9)
        assert ours.per_class == pytest.approx(per_class, abs=1e-9)


def test_what_it_cannot_score_is_one_sentence() -> None:
    data = draw_set(1)
    touching = EventTable({"clip_1.wav": [Event(0.0, 0.1, "class_0"), Event(0.1, 0.2, "class_0")]})
    with pytest.raises(DesedTaskError, match=r"two class_0 events of clip_1 touch or overlap at 0\.100 s"):
        sed_scores_eval.exact_psds(data.scores, touching, data.durations, PSDS_SCENARIO_1)
    with pytest.raises(DesedTaskError, match="1 clips of the table of durations have no scores, the first other"):
        sed_scores_eval.exact_psds(
            data.scores, data.ground_truth, {**data.durations, "other.wav": 1.0}, PSDS_SCENARIO_1
        )
    with pytest.raises(DesedTaskError, match="does not know noPSDS"):
        sed_scores_eval.exact_psds(data.scores, data.ground_truth, data.durations, PSDS_SCENARIO_1, oracle=False)
    nothing = EventTable(dict.fromkeys(data.durations, ()))
    assert sed_scores_eval.exact_psds(data.scores, nothing, data.durations, PSDS_SCENARIO_1).value is None
