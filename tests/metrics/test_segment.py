"""Segments on timelines one can check with a pencil, then against the definition, and sed_eval.

Scores are drawn as one figure per frame of 0.5 s, in tenths; segments are seconds.
"""

from __future__ import annotations

import numpy as np
import pytest
from score_sets import ScoreSet, draw_set

from desed_task.events import Event, EventTable, audio_id_of
from desed_task.labels import LabelSet
from desed_task.metrics.deltas import Deltas, point_deltas, score_deltas
from desed_task.metrics.detections import gather_points
from desed_task.metrics.event_f1 import segment_f1
from desed_task.metrics.reference import segment_f1 as segment_f1_of_sed_eval
from desed_task.metrics.rules import Rules
from desed_task.metrics.segment import Segments
from desed_task.metrics.truth import build_truth
from desed_task.scores import ScoreTable

ALLOW = Rules(overlap="allow")
DOG = LabelSet(["Dog"])


def dogs(*times: tuple[float, float]) -> EventTable:
    return EventTable({"a.wav": [Event(onset, offset, "Dog") for onset, offset in times]})


def drawn(curve: str, events: EventTable, duration: float | None = None) -> ScoreSet:
    values = np.array([[0.0 if figure == "." else int(figure) / 10] for figure in curve], dtype=np.float32)
    edges = np.arange(len(values) + 1) * 0.5
    return ScoreSet({"a": ScoreTable(edges, values, DOG)}, events, {"a.wav": duration or float(edges[-1])}, DOG)


def deltas_of(data: ScoreSet, segments: Segments | None = None, rules: Rules = ALLOW) -> Deltas:
    (deltas,) = score_deltas(data.scores, data.truth(rules), [segments or Segments()])
    return deltas


def rows_of(deltas: Deltas, label: int = 0) -> list[tuple[float, int, int]]:
    """Score, active and inactive segments, of one class, from the highest down; one entry per score."""
    rows, entries = deltas.rows, {}
    for row in range(deltas.first_row[label], deltas.first_row[label + 1]):
        score = round(float(rows.threshold[row]), 6)
        found, failed = entries.get(score, (0, 0))
        entries[score] = found + int(rows.true_positives[row]), failed + int(rows.false_positives[row])
    return [(score, *counts) for score, counts in entries.items()]


# seconds    0 1 2 3 4
# scores     9 9|8 2|1 1|3 .        .9 .8 .1 .3
# event      |---|                  Dog 0-1.2: active in seconds 0 and 1
def test_each_segment_enters_at_its_largest_score() -> None:
    deltas = deltas_of(drawn("9982113.", dogs((0, 1.2))))
    assert rows_of(deltas) == [(0.9, 1, 0), (0.8, 1, 0), (0.3, 0, 1), (0.1, 0, 1)]
    assert deltas.num_reference.tolist() == [[2]]


def test_an_event_that_ends_on_a_border_does_not_touch_the_next_segment() -> None:
    data = drawn("99999999", dogs((1.0, 3.0)))
    assert rows_of(deltas_of(data)) == [(0.9, 2, 2)]


def test_two_events_in_one_segment_are_one() -> None:
    assert deltas_of(drawn("9999", dogs((0.0, 0.2), (0.5, 0.9)))).num_reference.tolist() == [[1]]


# frames of 0.8 s: the second, 0.8-1.6, touches seconds 0 and 1
def test_a_frame_across_a_border_counts_for_both_segments() -> None:
    table = ScoreTable(np.array([0.0, 0.8, 1.6, 2.0]), np.array([[0.1], [0.9], [0.2]]), DOG)
    data = ScoreSet({"a": table}, dogs((0, 1)), {"a.wav": 2.0}, DOG)
    assert rows_of(deltas_of(data)) == [(0.9, 1, 1)]


# 2.2 s are three segments; frames beyond, here from 3.0 s on, are not looked at
def test_a_clip_has_the_segments_that_its_duration_takes() -> None:
    data = drawn("1122339988", dogs((0, 1)), duration=2.2)
    assert rows_of(deltas_of(data)) == [(0.3, 0, 1), (0.2, 0, 1), (0.1, 1, 0)]
    assert Segments().count_negatives(data.truth()).tolist() == [[2]]


def test_events_beyond_the_duration_are_counted() -> None:
    data = drawn("1122", dogs((0, 1), (3.5, 4.0)), duration=2.0)
    truth = data.truth()
    assert Segments().count_segments(truth).tolist() == [4]
    assert Segments().count_reference(truth).tolist() == [[2]]
    (points,) = point_deltas({0.5: dogs((3.2, 6.5))}, truth, [Segments()])
    assert (points.rows.true_positives.tolist(), points.rows.false_positives.tolist()) == ([1], [3])


@pytest.mark.parametrize(("value", "last"), [("5", 0.0), ("-", -3.0)])
def test_a_segment_without_frames_comes_last(value: str, last: float) -> None:
    values = np.full((4, 1), 0.5 if value == "5" else -3.0)
    table = ScoreTable(np.arange(5) * 0.5, values, DOG)
    deltas = deltas_of(ScoreSet({"a": table}, dogs((0, 1)), {"a.wav": 3.0}, DOG))
    assert rows_of(deltas)[-1][0] == last
    assert deltas.rows.false_positives.sum() == 2


def test_segments_of_other_lengths() -> None:
    data = drawn("9911", dogs((0.0, 0.3)))
    assert rows_of(deltas_of(data, Segments(0.1))) == [(0.9, 3, 7), (0.1, 0, 10)]
    with pytest.raises(ValueError, match="segment_seconds must be above 0"):
        Segments(0.0)


# seconds    0    1    2    3    4
# reference  |Dog-|Dog-|              second 0: Dog for Dog and Cat more: insertion
# detected   |Dog-|Cat-|Cat-|         second 1: Cat for Dog: substitution;  second 2: insertion
#            |Cat-|
def test_errors_of_all_classes_together() -> None:
    said = EventTable({"a.wav": [Event(0, 1, "Dog"), Event(0, 1, "Cat"), Event(1, 2, "Cat"), Event(2, 3, "Cat")]})
    truth = build_truth(dogs((0, 2)), {"a.wav": 9.0}, LabelSet(["Cat", "Dog"]), ALLOW)
    totals = Segments().count_totals(gather_points({0.5: said}, truth), truth)
    assert (totals.num_segments, totals.substitutions, totals.deletions, totals.insertions) == (3, 1, 0, 2)


# ---- against the definition ------------------------------------------------------------------------------------------


def naive_rows(data: ScoreSet, label: str, seconds: float) -> list[tuple[float, int, int]]:
    entries: dict[float, tuple[int, int]] = {}
    events = {audio_id_of(name): of_clip for name, of_clip in data.ground_truth.items()}
    for name, duration in data.durations.items():
        table = data.scores[audio_id_of(name)]
        of_clip = events.get(audio_id_of(name), ())
        end = max([duration, *(e.offset for e in of_clip)])
        for k in range(int(np.ceil(round(end / seconds, 6)))):
            begin, stop = round(k * seconds, 6), round((k + 1) * seconds, 6)
            touching = (table.edges[:-1] < stop) & (table.edges[1:] > begin) & (table.edges[1:] > table.edges[:-1])
            score = round(float(max(table.values[touching, table.labels.index(label)], default=0.0)), 6)
            active = any(e.onset < stop and e.offset > begin for e in of_clip if e.event_label == label)
            found, failed = entries.get(score, (0, 0))
            entries[score] = (found + active, failed + (not active))
    return [(score, *entries[score]) for score in sorted(entries, reverse=True)]


@pytest.mark.parametrize("seed", range(20))
def test_drawn_sets_are_counted_as_defined(seed: int) -> None:
    data = draw_set(
        seed, even_frames=seed % 2 == 0, events_beyond=seed % 3 == 0, overlaps=seed % 5 == 0, silent_seconds=9.5
    )
    for seconds in (1.0, 0.3):
        deltas = deltas_of(data, Segments(seconds))
        for number, label in enumerate(data.labels):
            assert rows_of(deltas, number) == naive_rows(data, label, seconds)


@pytest.mark.parametrize("seed", range(10))
def test_points_and_thresholds_agree(seed: int) -> None:
    data = draw_set(seed, silent_seconds=9.5)
    levels = (0.8, 0.5, 0.2)
    curves, truth = deltas_of(data), data.truth(ALLOW)
    (points,) = point_deltas({level: data.at(level - 1e-6) for level in levels}, truth, [Segments()])
    for number in range(3):
        for level in levels:
            sums = []
            for deltas in (curves, points):
                own = slice(deltas.first_row[number], deltas.first_row[number + 1])
                taken = deltas.rows.threshold[own] >= level - 1e-6
                columns = deltas.rows.true_positives[own], deltas.rows.false_positives[own]
                sums.append([int(column[taken].sum()) for column in columns])
            assert sums[0] == sums[1]


# ---- against sed_eval ------------------------------------------------------------------------------------------------


def random_table(rng: np.random.Generator) -> EventTable:
    clips: dict[str, list[Event]] = {}
    for clip in ("a.wav", "b.wav", "c.wav"):
        onsets = np.round(rng.uniform(0, 6, int(rng.integers(0, 7))), int(rng.integers(0, 4))).tolist()
        clips[clip] = [
            Event(on, on + round(float(rng.uniform(0.01, 3)), 2), str(rng.choice(["X", "Y", "Z"]))) for on in onsets
        ]
    return EventTable(clips)


@pytest.mark.usefixtures("scorers")
@pytest.mark.parametrize("seed", range(40))
def test_lists_of_events_are_counted_as_by_sed_eval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, detections = random_table(rng), random_table(rng)
    ours, theirs = segment_f1(detections, truth), segment_f1_of_sed_eval(detections, truth)
    assert ours.per_class == theirs.per_class
    assert (ours.macro, ours.micro) == (theirs.macro, theirs.micro)
