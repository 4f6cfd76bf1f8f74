"""Collars on timelines one can check with a pencil, then against counting by hand at every threshold, and sed_eval.

Scores are drawn as one figure per frame of 0.1 s, in tenths: `..99..` is 0.9 from 0.2 to 0.4 s. Collars are 0.2 s.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from score_sets import ScoreSet, draw_set, runs_at

from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.collar import Collar
from desed_task.metrics.deltas import Deltas, point_deltas, score_deltas
from desed_task.metrics.detections import gather_points
from desed_task.metrics.event_f1 import SED_EVAL_RULES, collar_f1
from desed_task.metrics.reference import collar_f1 as collar_f1_of_sed_eval
from desed_task.metrics.rules import DEFAULT_RULES, Rules
from desed_task.metrics.truth import build_truth
from desed_task.scores import ScoreTable

ALLOW = Rules(overlap="allow")


def dogs(*times: tuple[float, float]) -> EventTable:
    return EventTable({"a.wav": [Event(onset, offset, "Dog") for onset, offset in times]})


def drawn(curve: str, events: EventTable, frame_seconds: float = 0.1) -> ScoreSet:
    values = np.array([[0.0 if figure == "." else int(figure) / 10] for figure in curve], dtype=np.float32)
    edges = np.round(np.arange(len(values) + 1) * frame_seconds, 6)
    labels = LabelSet(["Dog"])
    return ScoreSet({"a": ScoreTable(edges, values, labels)}, events, {"a.wav": float(edges[-1])}, labels)


def deltas_of(data: ScoreSet, rules: Rules = ALLOW, collar: Collar | None = None) -> Deltas:
    (deltas,) = score_deltas(data.scores, data.truth(rules), [collar or Collar()])
    return deltas


def counts_at(deltas: Deltas, label: int = 0) -> dict[float, tuple[int, int]]:
    """Threshold -> true positives and false alarms, of one class."""
    own = slice(deltas.first_row[label], deltas.first_row[label + 1])
    rows = deltas.rows
    sums = np.cumsum(rows.true_positives[own]), np.cumsum(rows.false_positives[own])
    at = (round(value, 6) for value in rows.threshold[own].tolist())
    return dict(zip(at, zip(*(column.tolist() for column in sums), strict=True), strict=True))


# ---- one event -------------------------------------------------------------------------------------------------------


# seconds    0         1
# scores     ..99999999..        at .9 a detection 0.2-1.0
# event        |------|          Dog 0.2-1.0
def test_a_detection_within_the_collars_is_a_hit() -> None:
    assert counts_at(deltas_of(drawn("..99999999..", dogs((0.2, 1.0))))) == {0.9: (1, 0)}


# scores     ..55999999555555    .9: 0.4-1.0, hit;  .5: 0.2-1.6, hit no more (offset off by 0.6 s)
def test_a_hit_that_grows_beyond_the_collars_becomes_a_false_alarm() -> None:
    counts = counts_at(deltas_of(drawn("..55999999555555", dogs((0.4, 1.0)))))
    assert counts == {0.9: (1, 0), 0.5: (0, 1)}


# scores     ..999.888888        .9: 0.2-0.5, false alarm;  .8: one more, 0.6-1.2, hit;  0: 0-1.2, hit no more
def test_detections_come_together_and_are_one() -> None:
    counts = counts_at(deltas_of(drawn("..999.888888", dogs((0.6, 1.2)))))
    assert counts == {0.9: (0, 1), 0.8: (1, 1), 0.0: (0, 1)}


@pytest.mark.parametrize(("onset", "hit"), [(1.2, 1), (1.200001, 0)])
def test_the_edge_of_the_collar_is_within_it(onset: float, hit: int) -> None:
    (deltas,) = point_deltas({0.5: dogs((1.0, 3.0))}, drawn("9", dogs((onset, 3.0))).truth(), [Collar()])
    assert deltas.rows.true_positives.sum() == hit


# 1.4 - 1.2 is 0.19999999999999996 as a float, 1.6 - 1.4 is 0.20000000000000018
def test_floats_decide_the_edge_only_where_the_rules_say_so() -> None:
    for times, as_float in (((1.2, 3.0), 1), ((1.6, 3.0), 0)):
        for rules, hits in ((DEFAULT_RULES, 1), (SED_EVAL_RULES, as_float)):
            truth = drawn("9", dogs((1.4, 3.0))).truth(rules)
            (deltas,) = point_deltas({0.5: dogs(times)}, truth, [Collar()])
            assert deltas.rows.true_positives.sum() == hits


def test_a_frame_shorter_than_a_tick_is_no_detection() -> None:
    labels = LabelSet(["Dog"])
    table = ScoreTable(np.array([0.0, 0.5, 0.5000001, 1.0]), np.array([[0.1], [0.9], [0.2]]), labels)
    data = ScoreSet({"a": table}, dogs((0.5, 1.0)), {"a.wav": 1.0}, labels)
    assert counts_at(deltas_of(data)) == {0.2: (1, 0), 0.1: (0, 1)}


# ---- several ---------------------------------------------------------------------------------------------------------


# events     |--|               Dog 0.3-0.5 and 0.4-0.6; at .9 a detection 0.3-0.5 fits both
#              |--|
# scores     ...99.8...          .8: one more, 0.6-0.7, which fits the second only
def test_the_first_detection_gives_way_to_the_second() -> None:
    counts = counts_at(deltas_of(drawn("...99.8....", dogs((0.3, 0.5), (0.4, 0.6)))))
    assert counts[0.9] == (1, 0)
    assert counts[0.8] == (2, 0)


# scores     ..9.7...7.9..       .9: 0.2-0.3 and 1.0-1.1;   .7: 0.4-0.5 and 0.8-0.9
# events       0.2-0.4, 0.4-0.6, 0.6-0.8, 0.8-1.0: all four found at .7, each at the collar's reach of its neighbour
def test_a_chain_of_short_events_is_matched_best() -> None:
    events = dogs((0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0))
    counts = counts_at(deltas_of(drawn("..9.7...7.9..", events)))
    assert counts[0.7] == (4, 0)


def test_changes_at_one_threshold_are_one() -> None:
    # at .9 the two detections of .9 (before) are never apart: both appear at once
    counts = counts_at(deltas_of(drawn(".99..99.", dogs((0.1, 0.3), (0.5, 0.7)))))
    assert counts == {0.9: (2, 0), 0.0: (0, 1)}


# ---- against counting by hand ----------------------------------------------------------------------------------------


def matching_size(edges: list[list[int]]) -> int:
    """edges: per detection, the events it may pair with."""
    of_event: dict[int, int] = {}

    def pair(detection: int, seen: set[int]) -> bool:
        for event in edges[detection]:
            if event not in seen:
                seen.add(event)
                if event not in of_event or pair(of_event[event], seen):
                    of_event[event] = detection
                    return True
        return False

    return sum(pair(detection, set()) for detection in range(len(edges)))


def fits(found: Event, event: Event) -> bool:
    reach = max(200_000, round(0.2 * (us(event.offset) - us(event.onset))))
    return abs(us(found.onset) - us(event.onset)) <= 200_000 and abs(us(found.offset) - us(event.offset)) <= reach


def us(seconds: float) -> int:
    return round(seconds * 1e6)


def naive_counts(data: ScoreSet, label: str, threshold: float) -> tuple[int, int]:
    hits = detections = 0
    for name, table in data.scores.items():
        found = [event for event in runs_at(table, threshold) if event.event_label == label]
        events = [e for e in data.ground_truth.of(f"{name}.wav") if e.event_label == label]
        hits += matching_size([[k for k, event in enumerate(events) if fits(one, event)] for one in found])
        detections += len(found)
    return hits, detections - hits


def crowded(seed: int, num_clips: int = 3) -> ScoreSet:
    """Events of 0.05 to 0.4 s close to one another, and scores of few levels that swing as fast."""
    rng = np.random.default_rng(seed)
    labels = LabelSet(["Cat", "Dog"])
    scores, events, durations = {}, {}, {}
    for clip in range(num_clips):
        frames = int(rng.integers(1, 90))
        edges = np.round(np.arange(frames + 1) * 0.05, 6)
        times = np.unique(np.round(rng.uniform(0, edges[-1], 2 * int(rng.integers(0, 14))), int(rng.integers(1, 3))))
        of_clip = [Event(on, off, str(rng.choice(labels.names))) for on, off in pairwise(times.tolist())]
        values = rng.integers(0, 7, (frames, 2)) / 10
        scores[f"c{clip}"] = ScoreTable(edges, np.repeat(values, 2, axis=0)[:frames].astype(np.float32), labels)
        events[f"c{clip}.wav"], durations[f"c{clip}.wav"] = of_clip, float(edges[-1])
    return ScoreSet(scores, EventTable(events), durations, labels)


def assert_counted_as_by_hand(data: ScoreSet) -> None:
    deltas = deltas_of(data)
    for number, label in enumerate(data.labels):
        counts = counts_at(deltas, number)
        for threshold in {round(float(v), 6) for t in data.scores.values() for v in t.values[:, number]}:
            below = [value for value in counts if value >= threshold]
            ours = counts[min(below)] if below else (0, 0)
            assert ours == naive_counts(data, label, threshold - 1e-6), (label, threshold)


@pytest.mark.parametrize("seed", range(60))
def test_crowded_events_are_counted_as_by_hand(seed: int) -> None:
    assert_counted_as_by_hand(crowded(seed))


@pytest.mark.parametrize("overlaps", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_drawn_sets_are_counted_as_by_hand(seed: int, overlaps: bool) -> None:
    assert_counted_as_by_hand(draw_set(seed, frame_seconds=0.1, even_frames=seed % 2 == 0, overlaps=overlaps))


@pytest.mark.parametrize("rules", [ALLOW, SED_EVAL_RULES])
@pytest.mark.parametrize("seed", range(10))
def test_points_and_thresholds_agree(seed: int, rules: Rules) -> None:
    data = crowded(seed)
    levels = (0.6, 0.4, 0.3, 0.1)
    deltas = deltas_of(data, rules)
    (of_points,) = point_deltas({level: data.at(level - 1e-6) for level in levels}, data.truth(rules), [Collar()])
    for number in range(2):
        counts, at_points = counts_at(deltas, number), counts_at(of_points, number)
        for level in levels:
            below = [value for value in counts if value >= level]
            held = [value for value in at_points if value >= level]
            assert (counts[min(below)] if below else (0, 0)) == (at_points[min(held)] if held else (0, 0))


def test_ten_minutes_of_short_events_are_quick_and_matched_best() -> None:
    # 1500 events of 0.3 s, one every 0.4 s, so that each reaches its neighbours; scores are noise
    rng = np.random.default_rng(5)
    edges = np.round(np.arange(15_001) * 0.04, 6)
    events = dogs(*((round(0.4 * k, 6), round(0.4 * k + 0.3, 6)) for k in range(1500)))
    labels = LabelSet(["Dog"])
    data = ScoreSet({"a": ScoreTable(edges, rng.random((15_000, 1)), labels)}, events, {"a.wav": 600.0}, labels)
    counts = counts_at(deltas_of(data))
    for threshold in (0.8, 0.5):
        below = min(value for value in counts if value >= threshold)
        found = list(runs_at(data.scores["a"], threshold))
        near = [range(max(0, int(one.onset / 0.4) - 2), min(1500, int(one.onset / 0.4) + 3)) for one in found]
        listed = events.of("a.wav")
        edges_of = [[k for k in some if fits(one, listed[k])] for one, some in zip(found, near, strict=True)]
        hits = matching_size(edges_of)
        assert counts[below] == (hits, len(found) - hits)
        assert hits > 100


# ---- against sed_eval ------------------------------------------------------------------------------------------------


def random_table(rng: np.random.Generator, like: EventTable | None = None) -> EventTable:
    """Overlapping events of three clips and classes on a grid of 0.1 s; near those of `like`, where it is given."""
    clips: dict[str, list[Event]] = {}
    for clip in ("a.wav", "b.wav", "c.wav"):
        events = []
        for _ in range(int(rng.integers(0, 8))):
            onset = round(float(rng.uniform(0, 3)), 1)
            events.append(Event(onset, round(onset + float(rng.uniform(0.1, 2)), 1), str(rng.choice(["X", "Y", "Z"]))))
        for event in like.of(clip) if like else ():
            moved = np.round(np.array([event.onset, event.offset]) + rng.integers(-3, 4, 2) / 10, 1).tolist()
            if 0 <= moved[0] < moved[1]:
                events.append(Event(*moved, event.event_label))
        clips[clip] = events
    return EventTable(clips)


@pytest.mark.usefixtures("scorers")
@pytest.mark.parametrize("seed", range(40))
def test_lists_of_events_are_counted_as_by_sed_eval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_table(rng)
    detections = random_table(rng, truth)
    ours, theirs = collar_f1(detections, truth), collar_f1_of_sed_eval(detections, truth)
    assert ours.per_class == theirs.per_class
    assert (ours.macro, ours.micro) == (theirs.macro, theirs.micro)


# ---- substitutions ---------------------------------------------------------------------------------------------------


# events Dog 0-1, Cat 0-1;  detected Dog 0-1, Bird 0-1, Bird 3-4: Bird for Cat, and one that fits nothing
def test_a_detection_of_the_wrong_class_at_the_right_time_is_a_substitution() -> None:
    truth_table = EventTable({"a.wav": [Event(0, 1, "Dog"), Event(0, 1, "Cat")]})
    detected = EventTable({"a.wav": [Event(0, 1, "Dog"), Event(0, 1, "Bird"), Event(3, 4, "Bird")]})
    truth = build_truth(truth_table, {"a.wav": 5.0}, LabelSet(["Bird", "Cat", "Dog"]), ALLOW)
    assert Collar().count_substitutions(gather_points({0.5: detected}, truth), truth) == 1


def test_collars_must_be_numbers_from_zero_on() -> None:
    with pytest.raises(ValueError, match="onset_seconds must be a number from 0 on"):
        Collar(onset_seconds=-0.1)
