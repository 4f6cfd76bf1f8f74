"""Detections as the criteria take them: which clips, which overlaps, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.deltas import point_deltas, score_deltas
from desed_task.metrics.detections import gather_points
from desed_task.metrics.intersection import Intersection
from desed_task.metrics.psds import criterion_of, psds, psds_of_scores
from desed_task.metrics.rules import Rules
from desed_task.metrics.scenarios import PSDS_SCENARIO_1
from desed_task.metrics.truth import Truth, build_truth
from desed_task.scores import ScoreTable

DOG = LabelSet(["Dog"])
TABLE = ScoreTable(np.array([0.0, 1.0, 2.0]), np.array([[0.2], [0.8]], dtype=np.float32), DOG)


def truth_of(durations: dict[str, float], rules: Rules | None = None) -> Truth:
    return build_truth(EventTable({"a": [Event(1.0, 2.0, "Dog")]}), durations, DOG, rules or Rules())


@pytest.mark.parametrize("time_decimals", [None, 6, 9])
def test_detections_that_touch_do_not_overlap_in_any_of_many_clips(time_decimals: int | None) -> None:
    edges = np.round(np.cumsum(np.random.default_rng(0).uniform(0.1, 0.5, (500, 20)), axis=1), 3).tolist()
    events = [[Event(on, off, "Dog") for on, off in pairwise(row)] for row in edges]
    detections = EventTable({f"{clip}": of_clip for clip, of_clip in enumerate(events)})
    truth = build_truth(detections, dict.fromkeys(detections.filenames, 10.0), DOG, Rules(time_decimals=time_decimals))
    assert len(gather_points({0.5: detections, 0.4: detections}, truth).onset) == 2 * 500 * 19


# seconds    0    1    2    3    4    5
# detected   |-------------------|             Dog 0-4
#               |----|   |----|                Dog 0.6-1.6 and 2.4-3.4 lie within
#                                 |--|         Dog 4.1-4.6
@pytest.mark.parametrize("time_decimals", [None, 6])
def test_detections_within_others_are_joined_with_them(time_decimals: int | None) -> None:
    times = [(0.0, 4.0), (0.6, 1.6), (2.4, 3.4), (4.1, 4.6)]
    detections = EventTable({"a": [Event(on, off, "Dog") for on, off in times]})
    rules = Rules(overlap="merge", time_decimals=time_decimals)
    points = gather_points({0.5: detections}, truth_of({"a": 5.0}, rules))
    seconds = [(column / rules.ticks_per_second).tolist() for column in (points.onset, points.offset)]
    assert seconds == [[0.0, 4.1], [4.0, 4.6]]
    with pytest.raises(EventTableError, match=r"two Dog events of a overlap at 0\.600 s"):
        gather_points({0.5: detections}, truth_of({"a": 5.0}))


@pytest.mark.parametrize("other_name", ["a", "a.wav"])
def test_two_scores_of_a_clip_are_refused(other_name: str) -> None:
    pairs = [("a", TABLE), (other_name, TABLE)]
    with pytest.raises(DesedTaskError, match="two scores of a;"):
        psds_of_scores(iter(pairs), truth_of({"a": 2.0}), [PSDS_SCENARIO_1])


def test_without_any_clip_there_is_nothing_to_score_and_no_value_of_events() -> None:
    nothing = build_truth(EventTable({}), {}, DOG)
    with pytest.raises(DesedTaskError, match="no clip to evaluate"):
        score_deltas({}, nothing, [Intersection(0.5, 0.5)])
    (deltas,) = point_deltas({0.5: EventTable({})}, nothing, [criterion_of(PSDS_SCENARIO_1)])
    assert psds(deltas, PSDS_SCENARIO_1).value is None


def test_clips_of_no_duration_have_no_false_alarms_per_hour() -> None:
    with pytest.raises(DesedTaskError, match="last 0 s"):
        psds_of_scores({"a": TABLE}, truth_of({"a": 0.0}), [PSDS_SCENARIO_1])
