"""Leaving out what lies beyond the false alarms that a score looks at changes the work, not the score."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.deltas import score_deltas
from desed_task.metrics.limits import Limits
from desed_task.metrics.psds import criterion_of, psds, psds_of_scores
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2
from desed_task.metrics.truth import build_truth
from desed_task.scores import ScoreTable

LABELS = LabelSet(["Cat", "Dog"])
EDGES = np.arange(4) * 1.0


def table(*dog: float) -> ScoreTable:
    return ScoreTable(EDGES, np.array([[0.0, value] for value in dog], dtype=np.float32), LABELS)


# Dog is in a alone. Elsewhere its highest scores are .9, .6, .4: three false alarms at least from .4 down.
SCORES = {"a": table(0.1, 0.8, 0.1), "b": table(0.9, 0.1, 0.9), "c": table(0.2, 0.6, 0.1), "d": table(0.4, 0.1, 0.3)}
TRUTH = build_truth(
    EventTable({"a": [Event(1.0, 2.0, "Dog"), Event(0.0, 1.0, "Cat")]}), dict.fromkeys(SCORES, 3.0), LABELS
)


@pytest.mark.parametrize(("most", "limit"), [(0, 0.9), (1, 0.6), (2, 0.4), (3, -np.inf)])
def test_the_limit_is_the_score_from_which_on_there_are_too_many_false_alarms(most: int, limit: float) -> None:
    limits = Limits(TRUTH, most)
    limits.watch(SCORES)
    assert limits.values[LABELS.index("Dog")] == np.float32(limit)


def test_the_limit_rises_while_clips_pass() -> None:
    limits = Limits(TRUTH, 1)
    seen = [float(limits.values[1]) for _ in limits.watch(iter(SCORES.items()))]
    assert seen == [-np.inf, -np.inf, np.float32(0.6), np.float32(0.6)]


def test_rows_beyond_the_limit_are_left_out_and_the_rest_are_as_they_were() -> None:
    criterion = criterion_of(PSDS_SCENARIO_1)
    (every,), (few,) = (score_deltas(SCORES, TRUTH, [criterion], max_false_alarms=most) for most in (None, 1))
    kept = every.rows.threshold > np.where(every.rows.label == 1, np.float32(0.6), np.float32(0.0))
    assert 0 < kept.sum() < len(kept)
    columns = ("label", "threshold", "clip", "true_positives", "false_positives")
    kept_rows = sorted(zip(*(getattr(every.rows, name)[kept].tolist() for name in columns), strict=True))
    assert kept_rows == sorted(zip(*(getattr(few.rows, name).tolist() for name in columns), strict=True))


def test_what_has_been_left_out_cannot_be_asked_for() -> None:
    (few,) = score_deltas(SCORES, TRUTH, [criterion_of(PSDS_SCENARIO_1)], max_false_alarms=1)
    with pytest.raises(ValueError, match="left out"):
        psds(few, PSDS_SCENARIO_1, weights=np.ones(4, dtype=np.int64))


# .6 in 32 bits lies above .6 in 64 bits. Dog is in a, of 32 bits; elsewhere its highest score is .6, mostly in 64 bits.
def test_a_limit_between_numbers_of_lower_precision_is_not_rounded_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("desed_task.metrics.detections.BATCH_VALUES", 1)
    values = {"a": np.float32([0.7, 0.1, 0.1]), "b": np.float32([0.1, 0.1, 0.5])}
    values |= {name: np.array([0.1, 0.6, 0.1]) for name in "cdef"}
    scores = {name: ScoreTable(EDGES, np.stack([own, own], axis=1), LABELS) for name, own in values.items()}
    events = EventTable({"a": [Event(0.0, 1.0, "Dog")], "b": [Event(2.0, 3.0, "Dog")]})
    truth = build_truth(events, dict.fromkeys(scores, 3.0), LABELS)
    criterion = criterion_of(PSDS_SCENARIO_1)
    (every,), (few,) = (score_deltas(scores, truth, [criterion], max_false_alarms=most) for most in (None, 2))
    limit = np.float64(0.6)
    dog = LABELS.index("Dog")
    above = (every.rows.threshold > limit) & (every.rows.label == dog)
    of_few = few.rows.label == dog
    assert few.rows.clip[of_few].tolist() == every.rows.clip[above].tolist() == [0]


def test_windows_shorter_than_a_tick_are_no_false_alarms_to_count() -> None:
    edges = np.array([0.0, 1.0, 1.0 + 1e-8, 3.0])
    scores = {name: ScoreTable(edges, SCORES[name].values, LABELS) for name in SCORES}
    limits = Limits(TRUTH, 0)
    limits.watch(scores)
    assert limits.values[LABELS.index("Dog")] == -np.inf


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("passing", [False, True])
def test_the_score_is_that_of_all_thresholds(seed: int, passing: bool) -> None:
    random = np.random.default_rng(seed)
    labels = LabelSet(["Cat", "Dog", "Speech"])
    scores, events = {}, {}
    for clip in range(120):
        values = np.round(random.random((20, 3)) ** 6, 2).astype(np.float32)
        onset = round(10 * random.random(), 3)
        events[f"{clip}"] = [Event(onset, onset + 2.0, labels[int(random.integers(3))])] if clip % 2 else []
        for event in events[f"{clip}"]:
            own = slice(round(event.onset / 0.6), round(event.offset / 0.6))
            values[own, labels.index(event.event_label)] = 0.4 + 0.6 * random.random()
        scores[f"{clip}"] = ScoreTable(np.arange(21) * 0.6, np.minimum(values, 1.0), labels)
    truth = build_truth(EventTable(events), dict.fromkeys(scores, 12.0), labels)
    scenarios = [replace(scenario, max_efpr=60.0) for scenario in (PSDS_SCENARIO_1, PSDS_SCENARIO_2)]
    deltas = score_deltas(scores, truth, [criterion_of(scenario) for scenario in scenarios])
    expected = [psds(of_one, scenario) for of_one, scenario in zip(deltas, scenarios, strict=True)]
    found = psds_of_scores(iter(scores.items()) if passing else scores, truth, scenarios)
    for ours, whole in zip(found, expected, strict=True):
        assert max(whole.per_class.values()) > 0.0
        assert ours.value == pytest.approx(whole.value, abs=1e-12)
        assert ours.per_class == pytest.approx(dict(whole.per_class), abs=1e-12)
