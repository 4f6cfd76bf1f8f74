"""Each criterion on timelines one can check with a pencil. Clips are 10 s; `#` marks half a second."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from desed_task.errors import EventTableError
from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.deltas import point_deltas
from desed_task.metrics.event_f1 import collar_f1, intersection_f1, segment_f1
from desed_task.metrics.psds import Psds, criterion_of
from desed_task.metrics.psds import psds as psds_of_deltas
from desed_task.metrics.rules import Rules
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2, PsdsScenario
from desed_task.metrics.truth import build_truth

DURATIONS = {"a.wav": 10.0, "b.wav": 10.0}


def dog(onset: float, offset: float) -> Event:
    return Event(onset, offset, "Dog")


def speech(onset: float, offset: float) -> Event:
    return Event(onset, offset, "Speech")


def table(*events: Event, clip: str = "a.wav") -> EventTable:
    return EventTable({clip: events})


def psds(
    points: Mapping[float, EventTable], ground_truth: EventTable, durations: Mapping[str, float], scenario: PsdsScenario
) -> Psds:
    """Of operating points, threshold -> detections."""
    truth = build_truth(ground_truth, durations, LabelSet(["Dog", "Speech"]))
    (deltas,) = point_deltas(points, truth, [criterion_of(scenario)])
    return psds_of_deltas(deltas, scenario)


# ---- collar: onset within 0.2 s, offset within max(0.2 s, 20 % of the reference) -------------------------------------


# seconds    0    1    2    3    4    5
# reference  |---------|         |----|        Dog 0-2, Dog 4-5
# detected      |------|         |----|        Dog 0.6-2: onset off by 0.6 s; Dog 4.1-5.1: both off by 0.1 s
def test_late_onset_outside_the_collar_is_a_miss_and_a_false_alarm() -> None:
    f1 = collar_f1(table(dog(0.6, 2), dog(4.1, 5.1)), table(dog(0, 2), dog(4, 5)))
    counts = f1.per_class["Dog"]
    assert (counts.num_reference, counts.num_detected, counts.tp, counts.fp, counts.fn) == (2, 2, 1, 1, 1)
    assert f1.macro == f1.micro == pytest.approx(0.5)


# seconds    0    1    2    3    4    5    6    7    8    9   10
# reference  |-------------------------------------------------|     Dog 0-10: the offset may be off by 2 s
# detected   |----------------------------------------|              Dog 0-8.1: hit
def test_the_offset_of_a_long_event_may_be_off_by_a_fifth_of_it() -> None:
    assert collar_f1(table(dog(0, 8.1)), table(dog(0, 10))).macro == 1.0
    assert collar_f1(table(dog(0, 7.9)), table(dog(0, 10))).macro == 0.0


# reference  |----|                 Dog 1-2
# detected   |----|  and |----|     Dog 1-2 and 1.1-2.1: one event is found once
def test_one_event_is_found_once() -> None:
    counts = collar_f1(table(dog(1, 2), dog(1.1, 2.1)), table(dog(1, 2))).per_class["Dog"]
    assert (counts.tp, counts.fp, counts.fn) == (1, 1, 0)


# reference  Dog 1-2, Speech 3-4        detected  Speech 1-2, Speech 3-4
def test_the_right_time_under_the_wrong_class_is_wrong() -> None:
    f1 = collar_f1(table(speech(1, 2), speech(3, 4)), table(dog(1, 2), speech(3, 4)))
    assert f1.per_class["Dog"].f1 == 0.0
    assert f1.per_class["Speech"].f1 == pytest.approx(2 / 3)
    assert f1.macro == pytest.approx(1 / 3)
    assert f1.micro == pytest.approx(0.5)


# reference  Dog 1-2                    detected  Dog 1-2, Speech 3-4
def test_a_class_that_the_reference_lacks_counts_in_micro_only() -> None:
    f1 = collar_f1(table(dog(1, 2), speech(3, 4)), table(dog(1, 2)))
    assert f1.per_class["Speech"].f1 is None
    assert f1.macro == 1.0
    assert f1.micro == pytest.approx(2 / 3)


@pytest.mark.parametrize("criterion", [collar_f1, segment_f1])
def test_no_detection_scores_zero_and_no_reference_is_undefined(criterion: object) -> None:
    nothing = EventTable({"a.wav": ()})
    missed = criterion(nothing, table(dog(1, 2)))  # type: ignore[operator]
    assert (missed.macro, missed.micro) == (0.0, 0.0)
    undefined = criterion(nothing, nothing)  # type: ignore[operator]
    assert (undefined.macro, undefined.micro) == (None, None)


def test_a_clip_is_the_same_with_and_without_extension() -> None:
    detected, truth = table(dog(1, 2), clip="Yx_30.000_40.000"), table(dog(1, 2), clip="Yx_30.000_40.000.wav")
    for criterion in (collar_f1, segment_f1):
        assert criterion(detected, truth).macro == 1.0
    assert intersection_f1(detected, truth, {"audio/Yx_30.000_40.000.flac": 10.0}).macro == 1.0


def test_detections_in_clips_that_the_reference_does_not_list_are_not_looked_at() -> None:
    detected = EventTable({"a.wav": (dog(1, 2),), "b.wav": (dog(1, 2),)})
    assert collar_f1(detected, table(dog(1, 2))).micro == 1.0


# reference     |---|    |---|      Dog 1-1.3, 1.4-1.7
# detected        |---|             Dog 1.2-1.5 fits both; 1.4-1.7 the second only: 1.2-1.5 gives way, both are hits
def test_matching_is_the_best_there_is_whatever_the_order() -> None:
    detected, truth = (dog(1.2, 1.5), dog(1.4, 1.7)), table(dog(1, 1.3), dog(1.4, 1.7))
    for order in (detected, detected[::-1]):
        assert collar_f1(table(*order), truth).per_class["Dog"].tp == 2


# reference  |---------|                Dog 0-2 and, overlapping, Dog 1-3: two events for collars and segments
# reference       |---------|
def test_overlapping_events_count_each_for_themselves_unless_they_are_merged() -> None:
    truth = table(dog(0, 2), dog(1, 3))
    assert collar_f1(truth, truth).per_class["Dog"].tp == 2
    merged = collar_f1(truth, truth, Rules(overlap="merge"))
    assert (merged.per_class["Dog"].num_reference, merged.macro) == (1, 1.0)
    assert segment_f1(truth, truth).per_class["Dog"].num_reference == 3


# 1.6 - 1.4 is 0.2, but 0.20000000000000018 as floats, which sed_eval compares
def test_the_edge_of_the_collar_in_floats_and_in_microseconds() -> None:
    detected, truth = table(dog(1.6, 3)), table(dog(1.4, 3))
    assert collar_f1(detected, truth).macro == 0.0
    assert collar_f1(detected, truth, Rules()).macro == 1.0


# ---- segments of one second ------------------------------------------------------------------------------------------


# seconds    0    1    2    3    4    5
# reference  |---------|         |--|          Dog 0-2, 4-4.5:  active in seconds 0, 1, 4
# detected        |---------|                  Dog 1-3:         active in seconds 1, 2
def test_segments_are_compared_second_by_second() -> None:
    f1 = segment_f1(table(dog(1, 3)), table(dog(0, 2), dog(4, 4.5)))
    counts = f1.per_class["Dog"]
    assert (counts.num_reference, counts.num_detected, counts.tp, counts.fp, counts.fn) == (3, 2, 1, 1, 2)
    assert f1.macro == pytest.approx(2 / 5)


# detected until 3.5 s in a clip whose last event ends at 1 s: seconds 1, 2 and 3 are false alarms all the same
def test_detections_beyond_the_last_event_count() -> None:
    counts = segment_f1(table(dog(0, 3.5)), table(dog(0, 1))).per_class["Dog"]
    assert (counts.tp, counts.fp, counts.fn) == (1, 3, 0)


# reference  Dog 0-2, Speech 0-2        detected  Dog 0-2       Speech is never detected: 0, not left out
def test_a_class_never_detected_pulls_the_macro_segment_f1_down() -> None:
    assert segment_f1(table(dog(0, 2)), table(dog(0, 2), speech(0, 2))).macro == pytest.approx(0.5)


# ---- intersection: half of the detection in the event, half of the event under detections ----------------------------


# seconds    0    1    2    3    4    5    6
# reference  |-------------------|              Dog 0-4
# detected   |------|    |------------|         Dog 0-1.4 (all inside), 2.2-5 (1.8 of 2.8 s inside): 3.2 of 4 s covered
def test_fragments_together_cover_an_event() -> None:
    counts = intersection_f1(table(dog(0, 1.4), dog(2.2, 5)), table(dog(0, 4)), DURATIONS).per_class["Dog"]
    assert (counts.tp, counts.fp, counts.fn) == (1, 0, 0)


# seconds    0    1    2    3    4    5    6    7
# reference  |----|                   |---------|     Dog 0-1, 5-7
# detected   |---------------|        |--|            Dog 0-3: a third inside, false alarm; 5-5.8: covers 40 %, no hit
def test_a_long_detection_is_a_false_alarm_and_a_short_one_is_neither() -> None:
    f1 = intersection_f1(table(dog(0, 3), dog(5, 5.8)), table(dog(0, 1), dog(5, 7)), DURATIONS)
    counts = f1.per_class["Dog"]
    assert (counts.num_detected, counts.tp, counts.fp, counts.fn) == (2, 0, 1, 2)
    assert f1.macro == 0.0
    assert f1.micro is None


def test_intersection_without_detections_or_without_reference() -> None:
    nothing = EventTable({"a.wav": ()})
    assert intersection_f1(nothing, table(dog(1, 2)), DURATIONS).macro == 0.0
    assert intersection_f1(table(dog(1, 2)), nothing, DURATIONS).macro is None


def test_a_detection_in_a_clip_without_events_is_a_false_alarm_by_intersection() -> None:
    detected = EventTable({"a.wav": (dog(1, 2),), "b.wav": (dog(1, 2), speech(1, 2))})
    f1 = intersection_f1(detected, table(dog(1, 2)), DURATIONS)
    assert list(f1.per_class) == ["Dog"]  # classes that the reference lacks are not counted
    assert (f1.per_class["Dog"].tp, f1.per_class["Dog"].fp) == (1, 1)


def test_intersection_refuses_overlaps_and_unknown_clips() -> None:
    truth = table(dog(0, 2))
    with pytest.raises(EventTableError, match="two Dog events of a overlap"):
        intersection_f1(truth, table(dog(0, 2), dog(1, 3)), DURATIONS)
    with pytest.raises(EventTableError, match="two Dog events of a overlap"):
        intersection_f1(table(dog(0, 2), dog(1, 3)), truth, DURATIONS)
    with pytest.raises(EventTableError, match=r"detections: c\.wav is not in the table of durations"):
        intersection_f1(table(dog(0, 1), clip="c.wav"), truth, DURATIONS)


# ---- PSDS: false alarms per hour against found events ----------------------------------------------------------------


def test_perfect_detections_have_psds_one() -> None:
    truth = table(dog(0, 2), speech(3, 5))
    for scenario in (PSDS_SCENARIO_1, PSDS_SCENARIO_2):
        score = psds({0.5: truth}, truth, DURATIONS, scenario)
        assert score.value == pytest.approx(1.0)
        assert score.per_class == {"Dog": pytest.approx(1.0), "Speech": pytest.approx(1.0)}


# One clip of 0.1 h, so one false alarm is 10 per hour. Both classes behave alike, so there is no deviation.
# threshold 0.9: one event of two found, no false alarm      true ratio .5 from 0 per hour on
# threshold 0.1: both found, five false alarms               true ratio 1 from 50 per hour on
# area up to 100 per hour: (.5 * 50 + 1 * 50) / 100 = .75
def test_the_area_under_two_operating_points() -> None:
    def both(*times: tuple[float, float]) -> EventTable:
        return table(*(make(*time) for make in (dog, speech) for time in times))

    truth = both((0, 2), (10, 12))
    false_alarms = tuple((20.0 + 3 * number, 21.0 + 3 * number) for number in range(5))
    points = {0.9: both((0, 2)), 0.1: both((0, 2), (10, 12), *false_alarms)}
    score = psds(points, truth, {"a.wav": 360.0}, PSDS_SCENARIO_1)
    assert score.value == pytest.approx(0.75)
    assert score.per_class["Dog"] == pytest.approx(0.75)


# Dog found and Speech missed at every rate: mean .5, deviation .5, so alpha_st 1 leaves nothing.
def test_unequal_classes_are_punished_by_their_deviation() -> None:
    score = psds({0.5: table(dog(0, 2))}, table(dog(0, 2), speech(3, 5)), DURATIONS, PSDS_SCENARIO_1)
    assert score.value == pytest.approx(0.0)
    assert score.per_class == {"Dog": pytest.approx(1.0), "Speech": pytest.approx(0.0)}


# A single class has no cross-triggers and no deviation; psds_eval alone answers 0 here.
@pytest.mark.parametrize("scenario", [PSDS_SCENARIO_1, PSDS_SCENARIO_2])
def test_a_single_class_is_scored_by_its_own_curve(scenario: object) -> None:
    assert psds({0.5: table(dog(0, 2))}, table(dog(0, 2)), DURATIONS, scenario).value == 1.0  # type: ignore[arg-type]


def test_psds_without_detections_is_zero_and_without_reference_undefined() -> None:
    nothing, truth = EventTable({"a.wav": ()}), table(dog(0, 2), speech(3, 5))
    assert psds({0.5: nothing}, truth, DURATIONS, PSDS_SCENARIO_1).value == 0.0
    assert psds({0.5: truth}, nothing, DURATIONS, PSDS_SCENARIO_1).value is None


def test_clips_without_events_add_to_the_hours() -> None:
    truth = EventTable({"a.wav": (dog(0, 2), speech(0, 2)), "b.wav": ()})
    detected = EventTable({"a.wav": (dog(0, 2), speech(0, 2)), "b.wav": (dog(0, 2), speech(0, 2))})
    # One false alarm per class in 20 s is 180 per hour, beyond 100; in 20 s + 1 h it is about 1 per hour.
    assert psds({0.5: detected}, truth, DURATIONS, PSDS_SCENARIO_1).value == 0.0
    with_silence = psds({0.5: detected}, truth, {**DURATIONS, "c.wav": 3600.0}, PSDS_SCENARIO_1).value
    assert with_silence == pytest.approx(1 - 3600 / 3620 / 100)


def test_overlapping_events_of_one_class_are_refused_in_one_sentence() -> None:
    truth = table(dog(0, 2), dog(1, 3))
    with pytest.raises(EventTableError, match=r"ground truth: two Dog events of a overlap at 1\.000 s") as refused:
        psds({}, truth, DURATIONS, PSDS_SCENARIO_1)
    assert "\n" not in str(refused.value)
    with pytest.raises(EventTableError, match=r"operating point 0\.3: two Dog events"):
        psds({0.3: truth}, table(dog(0, 2)), DURATIONS, PSDS_SCENARIO_1)


def test_a_clip_without_a_duration_is_refused_in_one_sentence() -> None:
    with pytest.raises(EventTableError, match=r"ground truth: c is not in the table of durations"):
        psds({}, table(dog(0, 1), clip="c.wav"), DURATIONS, PSDS_SCENARIO_1)
