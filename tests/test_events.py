"""Event and EventTable."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desed_task.errors import EventTableError
from desed_task.events import Event, EventTable, audio_id_of, merge_close_events
from desed_task.labels import LabelSet

EVENTS = st.lists(
    st.builds(
        lambda onset, length, label: Event(onset / 100, (onset + length) / 100, label),
        st.integers(0, 900),
        st.integers(1, 200),
        st.sampled_from(["Cat", "Dog"]),
    ),
    max_size=12,
)


def columns(*rows: tuple[str, float, float, str]) -> tuple[np.ndarray, ...]:
    names, onsets, offsets, labels = zip(*rows, strict=True)
    return np.array(names), np.array(onsets), np.array(offsets), np.array(labels)


@pytest.mark.parametrize(
    ("filename", "audio_id"),
    [
        ("dog.wav", "dog"),
        ("some/folder/dog.flac", "dog"),
        ("dog.barks.ogg", "dog.barks"),
        ("dog", "dog"),
        ("Y00pbt6aJV8Y_350.000_360.000.wav", "Y00pbt6aJV8Y_350.000_360.000"),
        ("Y00pbt6aJV8Y_350.000_360.000", "Y00pbt6aJV8Y_350.000_360.000"),
        ("take.MP3", "take"),
    ],
)
def test_the_name_of_a_clip_is_its_file_name_without_the_extension(filename: str, audio_id: str) -> None:
    assert audio_id_of(filename) == audio_id
    assert audio_id_of(audio_id) == audio_id


@pytest.mark.parametrize(
    ("onset", "offset", "fault"),
    [
        (2.0, 1.0, "offset 1.000 s is not after onset 2.000 s"),
        (1.0, 1.0, "not after"),
        (-0.5, 1.0, "onset -0.500 s is negative"),
        (math.nan, 1.0, "finite"),
        (0.0, math.inf, "finite"),
    ],
)
def test_times_that_no_event_can_have_are_refused(onset: float, offset: float, fault: str) -> None:
    with pytest.raises(EventTableError, match=fault):
        Event(onset, offset, "Dog")


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan])
def test_a_score_outside_0_to_1_is_refused(score: float) -> None:
    with pytest.raises(EventTableError, match="score"):
        Event(0.0, 1.0, "Dog", score)


def test_events_are_compared_by_time_and_class_and_not_by_score() -> None:
    assert Event(0.0, 1.0, "Dog", 0.9) == Event(0.0, 1.0, "Dog")
    assert sorted([Event(1.0, 2.0, "Cat"), Event(0.5, 3.0, "Dog")])[0].event_label == "Dog"
    assert Event(1.0, 2.5, "Cat").duration == 1.5


# seconds  0    1    2    3    4
# before   |----|                  Dog 0-1
#               .|---|             Dog 1.1-2     100 ms later: joined
#                    ..|---|       Dog 2.15-3    150 ms later: apart, exactly at the limit
#          |---------|             Cat 0-2       another class
def test_gaps_below_the_limit_are_closed_within_a_class() -> None:
    dogs = [Event(2.15, 3.0, "Dog"), Event(0.0, 1.0, "Dog"), Event(1.1, 2.0, "Dog")]
    assert merge_close_events([*dogs, Event(0.0, 2.0, "Cat")], min_gap=0.15) == [
        Event(0.0, 2.0, "Cat"),
        Event(0.0, 2.0, "Dog"),
        Event(2.15, 3.0, "Dog"),
    ]


def test_a_gap_of_exactly_the_limit_stays_whatever_the_floats_say() -> None:
    assert 1.15 - 1.0 < 0.15
    apart = [Event(0.0, 1.0, "Dog"), Event(1.15, 2.0, "Dog")]
    assert merge_close_events(apart, min_gap=0.15) == apart


def test_without_a_least_gap_only_overlaps_are_joined() -> None:
    assert len(merge_close_events([Event(0.0, 1.0, "Dog"), Event(1.0, 2.0, "Dog")], min_gap=0.0)) == 2
    assert merge_close_events([Event(0.0, 3.0, "Dog"), Event(1.0, 2.0, "Dog")], 0.0) == [Event(0.0, 3.0, "Dog")]


@given(EVENTS)
def test_joined_events_of_a_class_lie_apart_and_cover_what_was_there(events: list[Event]) -> None:
    joined = merge_close_events(events, min_gap=0.15)
    assert merge_close_events(joined, min_gap=0.15) == joined
    for event in events:
        inside = [e for e in joined if e.event_label == event.event_label and e.onset <= event.onset < e.offset]
        assert len(inside) == 1
        assert event.offset <= inside[0].offset


def test_a_table_gives_columns_and_remembers_files_without_events() -> None:
    table = EventTable({"b.wav": [Event(0.0, 1.0, "Dog")], "empty.wav": [], "a.wav": [Event(2.0, 3.0, "Cat")]})
    assert table.filenames == ("b.wav", "empty.wav", "a.wav")
    assert (table.filename.tolist(), table.onset.tolist()) == (["b.wav", "a.wav"], [0.0, 2.0])
    assert (table.offset.tolist(), table.event_label.tolist()) == ([1.0, 3.0], ["Dog", "Cat"])
    assert (len(table), table.labels(), table.of("empty.wav")) == (2, ("Cat", "Dog"), ())
    with pytest.raises(KeyError):
        table.of("unlisted.wav")


def test_the_columns_are_frozen() -> None:
    table = EventTable({"a.wav": [Event(0.0, 1.0, "Dog")]})
    with pytest.raises(ValueError, match="read-only"):
        table.onset[0] = 5.0


def test_a_table_made_from_columns_is_the_one_made_from_events() -> None:
    made = EventTable.from_columns(["a.wav", "b.wav"], *columns(("a.wav", 0.0, 1.0, "Dog"), ("a.wav", 2.0, 3.0, "Cat")))
    assert made == EventTable({"a.wav": [Event(0.0, 1.0, "Dog"), Event(2.0, 3.0, "Cat")], "b.wav": []})
    assert made.of("b.wav") == ()


def test_columns_that_no_event_can_have_are_refused() -> None:
    with pytest.raises(EventTableError, match=r"a.wav: onset 2.0 s and offset 1.0 s"):
        EventTable.from_columns(["a.wav"], *columns(("a.wav", 2.0, 1.0, "Dog")))
    with pytest.raises(EventTableError, match=r"b.wav has events but is not among the files"):
        EventTable.from_columns(["a.wav"], *columns(("b.wav", 0.0, 1.0, "Dog")))


def test_clips_are_found_by_audio_id_unless_two_files_share_one() -> None:
    assert list(EventTable({"x/a.wav": []}).by_audio_id()) == ["a"]
    with pytest.raises(EventTableError, match="the name a"):
        EventTable({"x/a.wav": [], "y/a.wav": []}).by_audio_id()


def test_a_class_outside_the_label_set_is_named_with_its_file() -> None:
    table = EventTable({"a.wav": [Event(0.0, 1.0, "Dog")], "b.wav": [Event(0.0, 1.0, "Bird")]})
    with pytest.raises(EventTableError, match=r"truth.tsv: class 'Bird' of b.wav is not in the label set \(Cat, Dog\)"):
        table.require_labels(LabelSet(["Cat", "Dog"]), "truth.tsv")
    table.require_labels(LabelSet(["Bird", "Dog"]), "truth.tsv")
