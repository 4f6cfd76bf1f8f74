"""PSDS on curves one can check with a pencil, and against the naive computation in `naive_psds`.

Clips last an hour, so that one false alarm is one per hour; frames are six minutes long, events in hours.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from naive_psds import naive_psds
from score_sets import ScoreSet, draw_set

from desed_task.errors import EventTableError
from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.deltas import point_deltas, score_deltas
from desed_task.metrics.intersection import Intersection
from desed_task.metrics.psds import Psds, criterion_of, independent_psds, psds
from desed_task.metrics.rules import Rules
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2, IntersectionCriteria, PsdsScenario
from desed_task.metrics.truth import build_truth
from desed_task.scores import ScoreTable

HOUR = 3600.0
# One false alarm per hour is half of all that counts.
TWO_PER_HOUR = PsdsScenario(IntersectionCriteria(0.7, 0.7, 0.3), alpha_ct=0.0, alpha_st=0.0, max_efpr=2.0)


def event(onset: float, offset: float, label: str = "Dog") -> Event:
    return Event(onset * HOUR, offset * HOUR, label)


def hour(*events: Event, **curves: str) -> ScoreSet:
    """One clip of an hour; curves: class -> ten frames as figures, scores in tenths."""
    values = np.array([[int(figure) / 10 for figure in curve] for curve in curves.values()]).T
    labels = LabelSet(curves)
    table = ScoreTable(np.linspace(0, HOUR, len(values) + 1), values, labels)
    return ScoreSet({"a": table}, EventTable({"a.wav": events}), {"a.wav": HOUR}, labels)


# frames     0  1  2  3  4  5  6  7  8  9
# reference  |--------|           |-----|            Dog 0-0.3, Dog 0.6-0.8
# scores     9  9  9  .  5  .  7  7  .  .            .9 finds one, .7 both, .5 adds a false alarm
def test_every_threshold_is_a_point_of_the_curve() -> None:
    score = hour(event(0, 0.3), event(0.6, 0.8), Dog="9990507700").psds(TWO_PER_HOUR)
    assert score.value == 1.0
    assert score.class_curves is not None
    assert score.class_curves["Dog"].rates.tolist() == [0.0]
    assert score.class_curves["Dog"].ratios.tolist() == [1.0]


# reference  |--------|           |-----|
# scores     9  9  9  .  8  .  7  7  .  .            the false alarm comes before the second event
def test_the_area_is_that_of_a_staircase() -> None:
    data = hour(event(0, 0.3), event(0.6, 0.8), Dog="9990807700")
    score = data.psds(TWO_PER_HOUR)
    # ratio 1/2 from 0 to 1 per hour, 1 from 1 to 2
    assert score.value == pytest.approx((0.5 + 1.0) / 2)
    assert score.class_curves is not None
    assert score.class_curves["Dog"].thresholds is not None
    assert score.class_curves["Dog"].thresholds.tolist() == [0.9, 0.7]


# reference  |-----------------------------|         Dog 0-0.5, frames of three minutes
# scores     9  9  9  9  9  9  9  .  .  .            7 of its 10 frames lie under the detection
def test_a_share_that_is_just_enough_is_enough() -> None:
    assert hour(event(0, 0.5), Dog="99999990000000000000").psds(TWO_PER_HOUR).value == 1.0
    assert hour(event(0, 0.5), Dog="99999900000000000000").psds(TWO_PER_HOUR).value == 0.0


# reference  |-----|     |-----|                     Dog 0-0.2, 0.4-0.6
# scores     9  9  5  5  9  9  .  .  .  .            below .5 one detection over both: 4 of 6 frames lie in events < .7
def test_runs_that_join_lose_what_they_had_found() -> None:
    data = hour(event(0, 0.2), event(0.4, 0.6), Dog="9955990000")
    assert data.psds(TWO_PER_HOUR).value == 1.0
    # with thresholds that nobody told one to avoid, the joined run is where the curve goes on: 1, then 0 events found
    assert data.psds(TWO_PER_HOUR, oracle=False).value == pytest.approx(0.5)


def test_at_one_rate_the_most_events_count_even_without_an_oracle() -> None:
    # no false alarm at .9, which finds nothing, and at .7, which finds the event; at 0 the whole hour is one
    data = hour(event(0, 0.4), Dog="9777000000")
    assert data.psds(TWO_PER_HOUR, oracle=False).value == 0.5
    assert data.psds(TWO_PER_HOUR).value == 1.0


# reference  Dog 0-0.5, Cat 0-0.5                    scores: Dog right, Cat never
def test_classes_that_differ_cost_their_deviation() -> None:
    data = hour(event(0, 0.5), event(0, 0.5, "Cat"), Dog="9999900000", Cat="0000099999")
    without, with_deviation = (
        PsdsScenario(TWO_PER_HOUR.criteria, 0.0, alpha_st, TWO_PER_HOUR.max_efpr) for alpha_st in (0.0, 1.0)
    )
    # Cat: one false alarm of half an hour at .9, then the run of all frames finds the event and is half right
    assert data.psds(without).value == pytest.approx(0.5)
    assert data.psds(with_deviation).value == 0.0  # mean 1/2 less deviation 1/2
    assert data.psds(with_deviation).per_class == {"Dog": 1.0, "Cat": 0.0}


# reference  Dog 0-0.5, Cat 0.5-1, Cow 0-0.1         Dog is said all over Cat: a cross-trigger
def test_a_cross_trigger_counts_by_the_hours_of_the_other_class() -> None:
    events = event(0, 0.5), event(0.5, 1, "Cat"), event(0, 0.1, "Cow")
    data = hour(*events, Dog="9999900888", Cat="0000099999", Cow="9000000000")
    scenario = PsdsScenario(IntersectionCriteria(0.7, 0.7, 0.3), alpha_ct=1.0, alpha_st=0.0, max_efpr=10.0)
    curve = data.map_values(lambda values: values).psds(scenario).class_curves
    assert curve is not None
    assert curve["Dog"].rates.tolist() == [0.0]  # the oracle leaves it out: nothing is found by it
    counts = data.psds(scenario, oracle=False).class_curves
    assert counts is not None
    # at .8: 1 false alarm per hour + 1 cross-trigger in the half hour of Cat, averaged over the two other classes
    assert counts["Dog"].rates[1] == pytest.approx(1 + (1 / 0.5) / 2)
    legacy = data.psds(scenario, Rules(ct_mean="n"), oracle=False).class_curves
    assert legacy is not None
    assert legacy["Dog"].rates[1] == pytest.approx(1 + (1 / 0.5) / 3)


# reference  Dog 0-0.2, Dog 0.2-0.5                  events that touch, which sed_scores_eval refuses
def test_touching_events_of_one_class_are_two_events() -> None:
    data = hour(event(0, 0.2), event(0.2, 0.5), Dog="9977700000")
    assert data.psds(TWO_PER_HOUR).value == 1.0
    (deltas,) = score_deltas(data.scores, data.truth(), [Intersection(0.7, 0.7)])
    assert deltas.num_reference.tolist() == [[2]]


def test_classes_without_events_are_left_out() -> None:
    data = hour(event(0, 0.5), Dog="9999900000", Cat="9999999999")
    assert data.psds(PSDS_SCENARIO_2).value == 1.0
    assert data.psds(PSDS_SCENARIO_2).per_class == {"Dog": 1.0}
    nothing = ScoreSet(data.scores, EventTable({"a.wav": ()}), data.durations, data.labels)
    assert nothing.psds(PSDS_SCENARIO_1).value is None


def test_a_detection_after_the_end_of_its_clip_is_none() -> None:
    labels = LabelSet(["Dog"])
    truth = build_truth(EventTable({"a.wav": [event(0, 0.5)]}), {"a.wav": HOUR}, labels)
    criterion = criterion_of(TWO_PER_HOUR)
    values = [
        psds(point_deltas({0.5: EventTable({"a.wav": [event(0, 0.5), late]})}, truth, [criterion])[0], TWO_PER_HOUR)
        for late in (event(1, 1.1), event(0.99, 1.1))
    ]
    assert [value.value for value in values] == [1.0, 0.5]  # one that begins before counts


def test_a_detection_that_shares_nothing_never_passes() -> None:
    # in ticks of a second, 10 % of a detection of 4 s rounds to none
    scenario = PsdsScenario(IntersectionCriteria(0.1, 0.1, 0.1), 0.0, 0.0, 2.0)
    table = ScoreTable(np.array([0.0, 4.0, 3600.0]), np.array([[0.9], [0.1]]), LabelSet(["Dog"]))
    data = ScoreSet({"a": table}, EventTable({"a.wav": [Event(100, 3600, "Dog")]}), {"a.wav": HOUR}, table.labels)
    # a false alarm at .9, while at .1 all is one run, which is right
    assert data.psds(scenario, Rules(time_decimals=0), oracle=False).value == 0.5


def test_weights_are_clips_drawn_so_often() -> None:
    data = draw_set(5, num_clips=4)
    (deltas,) = score_deltas(data.scores, data.truth(), [criterion_of(PSDS_SCENARIO_2)])
    weights = np.array([1, 2, 0, 3])
    scores, events, durations = {}, {}, {}
    for position, (name, table) in enumerate(data.scores.items()):
        for copy in range(int(weights[position])):
            scores[f"{name}_{copy}"] = table
            events[f"{name}_{copy}"] = data.ground_truth.of(f"{name}.wav")
            durations[f"{name}_{copy}"] = data.durations[f"{name}.wav"]
    drawn = ScoreSet(scores, EventTable(events), durations, data.labels)
    for oracle in (True, False):
        expected = drawn.psds(PSDS_SCENARIO_2, oracle=oracle)
        assert psds(deltas, PSDS_SCENARIO_2, weights=weights, oracle=oracle).value == pytest.approx(expected.value)


# ---- against the naive computation --------------------------------------------------------------------------------


KINDS: dict[str, dict[str, Any]] = {
    "even": {},
    "edges": {"events_on_edges": True, "events_beyond": True},
    "windows": {"even_frames": False},
    "float64 windows on edges": {"even_frames": False, "events_on_edges": True, "dtype": np.float64},
}
RULES = [
    Rules(ct_mean=ct_mean, empty_clips=empty, time_decimals=decimals)
    for ct_mean, empty, decimals in product(("n-1", "n"), ("count", "leave_out"), (6, 2, None))
]


@pytest.mark.parametrize("kind", KINDS)
def test_all_thresholds_with_and_without_an_oracle(kind: str) -> None:
    rng = np.random.default_rng(len(kind))
    for seed in range(12):
        data = draw_set(seed, num_frames=(1, 25), **KINDS[kind])
        scenario = PsdsScenario(
            IntersectionCriteria(*rng.choice([0.1, 0.3, 0.5, 0.7, 1.0], 3).tolist()),
            float(rng.choice([0.0, 0.5, 1.0])),
            float(rng.choice([0.0, 1.0])),
            float(rng.choice([50.0, 1000.0])),
        )
        for oracle in (True, False):
            expected = naive_psds(data, scenario, oracle=oracle)
            assert data.psds(scenario, oracle=oracle).value == pytest.approx(expected, abs=1e-9), (seed, oracle)


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_every_rule(rules: Rules) -> None:
    for seed in range(4):
        data = draw_set(seed, num_frames=(1, 25), even_frames=False)
        assert data.psds(PSDS_SCENARIO_2, rules).value == pytest.approx(
            naive_psds(data, PSDS_SCENARIO_2, rules), abs=1e-9
        )


@pytest.mark.parametrize("overlap", ["merge", "allow"])
def test_overlapping_events(overlap: Any) -> None:
    differ = 0
    for seed in range(12):
        data = draw_set(seed, num_frames=(1, 25), overlaps=True)
        values = []
        for scenario in (PSDS_SCENARIO_1, PSDS_SCENARIO_2):
            rules = Rules(overlap=overlap)
            values.append(data.psds(scenario, rules).value)
            assert values[-1] == pytest.approx(naive_psds(data, scenario, rules), abs=1e-9)
        differ += not data.truth(Rules(overlap="allow")).disjoint
    assert differ >= 6


@pytest.mark.parametrize("overlap", ["merge", "allow"])
def test_overlapping_detections_of_an_operating_point(overlap: Any) -> None:
    rules = Rules(overlap=overlap)
    for seed in range(12):
        data, other = draw_set(seed, overlaps=True), draw_set(seed + 1, overlaps=True)
        points = {0.9: data.at(0.9), 0.5: other.ground_truth, 0.2: data.at(0.2)}
        value = data.point_psds(PSDS_SCENARIO_2, points, rules).value
        assert value == pytest.approx(naive_psds(data, PSDS_SCENARIO_2, rules, points=points), abs=1e-9)


def test_overlapping_detections_are_refused_by_default() -> None:
    data = hour(event(0, 0.5), Dog="9999900000")
    twice = EventTable({"a.wav": [event(0, 0.5), event(0.4, 0.6)]})
    with pytest.raises(EventTableError, match=r"operating point 0\.5: two Dog events of a overlap at 1440\.000 s"):
        data.point_psds(PSDS_SCENARIO_1, {0.5: twice}, Rules())


def test_points_at_every_score_give_the_exact_score() -> None:
    for seed in range(6):
        data = draw_set(seed, num_frames=(1, 20)).map_values(lambda values: np.round(values * 7) / 7)
        scores = {float(x) for table in data.scores.values() for x in table.values.ravel()}
        points = {score: data.at(score) for score in scores}
        for scenario in (PSDS_SCENARIO_1, PSDS_SCENARIO_2):
            assert data.point_psds(scenario, points, Rules()).value == pytest.approx(data.psds(scenario).value)


def test_a_best_of_one_is_that_one_and_a_best_of_two_is_their_upper_edge() -> None:
    data = hour(event(0, 0.3), event(0.6, 0.8), Dog="9990807700")
    other = hour(event(0, 0.3), event(0.6, 0.8), Dog="9990806600")
    better = hour(event(0, 0.3), event(0.6, 0.8), Dog="5550007700")

    def best(*sets: ScoreSet) -> Psds:
        deltas = [score_deltas(one.scores, data.truth(), [criterion_of(TWO_PER_HOUR)])[0] for one in sets]
        return independent_psds(deltas, TWO_PER_HOUR)

    assert best(data).value == data.psds(TWO_PER_HOUR).value == 0.75
    assert best(data, other).value == 0.75
    assert best(data, better).value == 1.0
