"""Each switch does what its name says, on cases where the two answers differ and can be worked out."""

from __future__ import annotations

import numpy as np
import pytest

from desed_task.errors import EventTableError
from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.deltas import point_deltas
from desed_task.metrics.psds import Psds, criterion_of, psds
from desed_task.metrics.rules import DEFAULT_RULES, LEGACY_RULES, Rules
from desed_task.metrics.scenarios import IntersectionCriteria, PsdsScenario
from desed_task.metrics.truth import build_truth

HOUR = 3600.0
LABELS = LabelSet(["Cat", "Cow", "Dog"])
SCENARIO = PsdsScenario(IntersectionCriteria(0.7, 0.7, 0.3), alpha_ct=0.0, alpha_st=0.0, max_efpr=2.0)
CROSSED = PsdsScenario(IntersectionCriteria(0.7, 0.7, 0.3), alpha_ct=1.0, alpha_st=0.0, max_efpr=10.0)


def hours(*events: tuple[str, float, float], clip: str = "a") -> EventTable:
    return EventTable({clip: [Event(onset * HOUR, offset * HOUR, label) for label, onset, offset in events]})


def score(truth: EventTable, detections: EventTable, rules: Rules, scenario: PsdsScenario, silent: float = 0.0) -> Psds:
    durations = {"a": HOUR} | ({"silent": silent * HOUR} if silent else {})
    built = build_truth(truth, durations, LABELS, rules)
    (deltas,) = point_deltas({0.5: detections}, built, [criterion_of(scenario)])
    return psds(deltas, scenario)


def test_the_defaults_are_those_of_the_paper() -> None:
    assert Rules() == DEFAULT_RULES
    assert (DEFAULT_RULES.ct_mean, DEFAULT_RULES.overlap, DEFAULT_RULES.empty_clips) == ("n-1", "error", "count")
    assert (LEGACY_RULES.ct_mean, LEGACY_RULES.overlap, LEGACY_RULES.time_decimals) == ("n", "allow", None)
    assert (DEFAULT_RULES.ticks_per_second, LEGACY_RULES.ticks_per_second) == (1_000_000, 1)


@pytest.mark.parametrize("decimals", [-1, 10])
def test_decimals_that_ticks_cannot_have(decimals: int) -> None:
    with pytest.raises(ValueError, match=f"time_decimals must be between 0 and 9, got {decimals}"):
        Rules(time_decimals=decimals)


# Dog 0-0.5 is found, and said in the half hour of Cat, too: one false alarm, one cross-trigger in half an hour.
@pytest.mark.parametrize(("ct_mean", "averaged"), [("n-1", 2), ("n", 3)])
def test_ct_mean(ct_mean: str, averaged: int) -> None:
    truth = hours(("Dog", 0, 0.5), ("Cat", 0.5, 1), ("Cow", 0, 1))
    detected = hours(("Dog", 0, 0.5), ("Dog", 0.6, 0.9), ("Cat", 0.5, 1), ("Cow", 0, 1))
    # Cow is everywhere, so the false alarm crosses it, as well: 2 per hour of Cat, 1 per hour of Cow
    found = score(truth, detected, Rules(ct_mean=ct_mean), CROSSED)  # type: ignore[arg-type]
    rate = 1 + (2 + 1) / averaged
    assert found.per_class["Dog"] == pytest.approx((10 - rate) / 10)


# In one hour with a silent one, a false alarm in the silence is 1/2 per hour; without it, it is none.
@pytest.mark.parametrize(("empty_clips", "area"), [("count", 1 - 0.5 / 2), ("leave_out", 1.0)])
def test_empty_clips(empty_clips: str, area: float) -> None:
    truth = hours(("Dog", 0, 0.5))
    found = EventTable({"a": [Event(0, HOUR / 2, "Dog")], "silent": [Event(0, 60, "Dog")]})
    rules = Rules(empty_clips=empty_clips)  # type: ignore[arg-type]
    assert score(truth, found, rules, SCENARIO, silent=1.0).value == pytest.approx(area)


def test_clips_that_are_left_out_take_their_hours_with_them() -> None:
    truth, found = hours(("Dog", 0, 0.5)), hours(("Dog", 0, 0.5), ("Dog", 0.6, 0.7))
    areas = [
        score(truth, found, Rules(empty_clips=rule), SCENARIO, silent=1.0).value  # type: ignore[arg-type]
        for rule in ("count", "leave_out")
    ]
    assert areas == [pytest.approx(1 - 0.5 / 2), pytest.approx(1 - 1 / 2)]


# reference  |--------------|        Dog 0-0.4
#                |--------------|    Dog 0.1-0.5
# detected   |------------------|    Dog 0-0.5
def test_overlap() -> None:
    truth, found = hours(("Dog", 0, 0.4), ("Dog", 0.1, 0.5)), hours(("Dog", 0, 0.5))
    with pytest.raises(EventTableError, match="two Dog events of a overlap"):
        score(truth, found, Rules(), SCENARIO)
    assert score(truth, found, Rules(overlap="allow"), SCENARIO).value == 1.0
    assert score(truth, found, Rules(overlap="merge"), SCENARIO).value == 1.0


# reference  |----|                  Dog 0-0.2
#            |----|                  Dog 0-0.2
# detected   |----------|            Dog 0-0.4: half of it lies in events, or all of it when an instant counts twice
def test_under_two_events_an_instant_counts_twice_where_overlaps_are_allowed() -> None:
    truth, found = hours(("Dog", 0, 0.2), ("Dog", 0, 0.2)), hours(("Dog", 0, 0.4))
    assert score(truth, found, Rules(overlap="allow"), SCENARIO).value == 1.0
    assert score(truth, found, Rules(overlap="merge"), SCENARIO).value == 0.0


# 70 % of 0.64 s is 0.448 s; as floats, (9.088 - 8.64) / (9.14 - 8.5) is 1e-16 less than 0.7
def test_time_decimals() -> None:
    truth, found = EventTable({"a": [Event(8.5, 9.14, "Cat")]}), EventTable({"a": [Event(8.64, 9.088, "Cat")]})
    assert (9.088 - 8.64) / (9.14 - 8.5) < 0.7
    assert score(truth, found, Rules(), SCENARIO).value == 1.0
    assert score(truth, found, Rules(time_decimals=None), SCENARIO).value == 0.0


def test_floats_are_compared_without_the_errors_of_running_sums() -> None:
    """A detection that lies wholly in an event has all of itself in it, whatever came before."""
    rng = np.random.default_rng(0)
    everything = PsdsScenario(IntersectionCriteria(1.0, 0.1, 0.1), 0.0, 0.0, 2.0)
    edges = np.sort(rng.uniform(0, HOUR, 40)).reshape(-1, 2).tolist()
    truth = EventTable({"a": [Event(onset, offset, "Dog") for onset, offset in edges]})
    inner = [Event(on + 0.1 * (off - on), off - 0.3 * (off - on), "Dog") for on, off in edges]
    assert score(truth, EventTable({"a": inner}), Rules(time_decimals=None), everything).value == 1.0
