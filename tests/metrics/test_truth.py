"""The ground truth as numbers: order, ticks, overlaps, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from desed_task.errors import EventTableError
from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.rules import LEGACY_RULES, Rules
from desed_task.metrics.truth import Truth, build_truth

LABELS = LabelSet(["Dog", "Cat"])
DURATIONS = {"a.wav": 10.0, "b.wav": 20.0}


def dog(onset: float, offset: float) -> Event:
    return Event(onset, offset, "Dog")


def cat(onset: float, offset: float) -> Event:
    return Event(onset, offset, "Cat")


def built(rules: Rules | None = None, **clips: tuple[Event, ...]) -> Truth:
    table = EventTable({f"{name}.wav": events for name, events in clips.items()})
    return build_truth(table, DURATIONS, LABELS, rules or Rules())


def times(truth: Truth) -> list[tuple[float, float]]:
    return list(zip(truth.onset.tolist(), truth.offset.tolist(), strict=True))


def test_events_stand_by_clip_class_and_onset() -> None:
    truth = built(b=(cat(3, 4), dog(5, 6), dog(1, 2)), a=(dog(0, 1),))
    assert truth.audio_ids == ("a", "b")
    assert truth.first_event.tolist() == [0, 1, 4]
    assert truth.label.tolist() == [0, 0, 0, 1]
    assert truth.onset.tolist() == [0, 1_000_000, 5_000_000, 3_000_000]
    assert truth.event_clip().tolist() == [0, 1, 1, 1]
    assert truth.num_events().tolist() == [[1, 0], [2, 1]]
    assert truth.event_seconds().tolist() == [[1, 0], [2, 1]]
    assert truth.clip_seconds.tolist() == [10, 20]


def test_clips_are_matched_by_audio_id_and_may_have_no_events() -> None:
    truth = build_truth(EventTable({"folder/a": [dog(0, 1)]}), DURATIONS, LABELS)
    assert truth.num_events().tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("decimals", "ticks"),
    [(6, [(300_000, 700_001)]), (3, [(300, 700)]), (1, [(3, 7)]), (None, [(0.3, 0.7000006)])],
)
def test_times_are_the_nearest_ticks(decimals: int | None, ticks: list[tuple[float, float]]) -> None:
    truth = built(Rules(time_decimals=decimals), a=(dog(0.1 + 0.2, 0.7000006),))
    assert times(truth) == [pytest.approx(ticks[0])]
    assert truth.onset.dtype == (np.float64 if decimals is None else np.int64)
    assert truth.whole is (decimals is not None)


def test_an_event_shorter_than_a_tick_is_none() -> None:
    assert times(built(Rules(time_decimals=0), a=(dog(1.1, 1.3), dog(2.4, 2.6)))) == [(2, 3)]


def test_touching_events_and_events_of_two_classes_do_not_overlap() -> None:
    truth = built(a=(dog(0, 1), dog(1, 2), cat(0, 2)))
    assert truth.disjoint
    assert len(truth.onset) == 3


def test_an_overlap_within_rounding_is_none() -> None:
    assert built(a=(dog(0, 0.3), dog(0.1 + 0.2, 1), dog(1 - 1e-9, 2))).disjoint


# Dog 0-2, Dog 1-3, Dog 2.5-4
CHAIN = (dog(1, 3), dog(0, 2), dog(2.5, 4))


def test_overlapping_events_are_refused_with_clip_class_and_time() -> None:
    sentence = r"ground truth: two Dog events of b overlap at 1\.000 s.*overlap rule merge$"
    with pytest.raises(EventTableError, match=sentence):
        built(a=(dog(0, 1), dog(1, 2)), b=CHAIN)


def test_overlapping_events_are_merged() -> None:
    truth = built(Rules(overlap="merge"), a=(*CHAIN, dog(4, 5), cat(0, 9)))
    assert times(truth) == [(0, 4_000_000), (4_000_000, 5_000_000), (0, 9_000_000)]
    assert truth.disjoint


def test_an_event_within_another_is_merged_into_it() -> None:
    assert times(built(Rules(overlap="merge"), a=(dog(0, 5), dog(1, 2), dog(3, 6)))) == [(0, 6_000_000)]


def test_events_that_touch_but_for_rounding_are_not_merged() -> None:
    touching = dog(0, 0.1 + 0.2), dog(0.3, 1)
    assert 0.1 + 0.2 > 0.3
    assert len(built(Rules(overlap="merge"), a=touching).onset) == len(built(a=touching).onset) == 2
    assert len(built(Rules(overlap="merge", time_decimals=None), a=touching).onset) == 1


def test_overlapping_events_are_taken_as_they_are() -> None:
    truth = built(Rules(overlap="allow"), a=CHAIN)
    assert len(truth.onset) == 3
    assert not truth.disjoint
    assert truth.event_seconds().tolist()[0] == [5.5, 0]
    assert not built(LEGACY_RULES, a=(dog(0, 5), dog(1, 2), dog(3, 4))).disjoint


def test_an_overlap_with_an_event_before_the_last_one_is_seen() -> None:
    # Dog 0-5 holds Dog 1-2 and reaches into Dog 3-6
    with pytest.raises(EventTableError, match=r"overlap at 1\.000 s"):
        built(a=(dog(0, 5), dog(1, 2), dog(3, 6)))


def test_clips_without_events_can_be_left_out() -> None:
    truth = built(Rules(empty_clips="leave_out"), b=(dog(1, 2),), a=())
    assert truth.audio_ids == ("b",)
    assert truth.clip_seconds.tolist() == [20]


def test_no_events_at_all() -> None:
    truth = built()
    assert truth.num_clips == 2
    assert truth.first_event.tolist() == [0, 0, 0]
    assert truth.num_events().tolist() == [[0, 0], [0, 0]]
    assert truth.disjoint
    assert built(Rules(empty_clips="leave_out")).num_clips == 0


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    with pytest.raises(EventTableError, match=r"class 'Cow' of a\.wav is not in the label set"):
        built(a=(Event(0, 1, "Cow"),))
    with pytest.raises(EventTableError, match="ground truth: c is not in the table of durations; add it"):
        built(c=(dog(0, 1),))
    with pytest.raises(EventTableError, match="two files of the table of durations differ in folder or extension"):
        build_truth(EventTable({}), {"a.wav": 1.0, "b/a.flac": 1.0}, LABELS)
    with pytest.raises(EventTableError, match=r"another file of the table has the name a"):
        build_truth(EventTable({"a.wav": [], "a.flac": []}), DURATIONS, LABELS)


def test_a_listed_clip_without_events_needs_no_duration() -> None:
    assert built(c=()).num_clips == 2
