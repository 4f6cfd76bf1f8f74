"""Events to frames and back, on 64 ms frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desed_task.decoding import decode_strong
from desed_task.encoding import active_runs, encode_strong, encode_weak
from desed_task.events import Event, merge_close_events
from desed_task.labels import LabelSet
from desed_task.timeline import FrameGrid

GRID = FrameGrid(sample_rate=16_000, hop_length=256, time_pooling=4)
LABELS = LabelSet(["Cat", "Dog"])
NUM_FRAMES = 156


def active_frames(*events: Event, label: str = "Dog") -> list[int]:
    return np.flatnonzero(encode_strong(events, LABELS, GRID, NUM_FRAMES)[:, LABELS.index(label)]).tolist()


# frames   0      1      2      3      4
# seconds  0      0.064  0.128  0.192  0.256
# event       |--------------|                 0.05-0.15
def test_an_event_is_active_in_every_frame_it_touches() -> None:
    assert active_frames(Event(0.05, 0.15, "Dog")) == [0, 1, 2]
    assert active_frames(Event(0.05, 0.15, "Dog"), label="Cat") == []


def test_an_event_on_the_edges_of_frames_touches_no_neighbour() -> None:
    assert active_frames(Event(0.064, 0.192, "Dog")) == [1, 2]
    assert active_frames(Event(8 * 0.064, 9 * 0.064, "Dog")) == [8]


def test_an_event_shorter_than_a_frame_is_one_frame() -> None:
    assert active_frames(Event(0.07, 0.071, "Dog")) == [1]


def test_an_event_beyond_the_last_frame_is_cut_there() -> None:
    assert active_frames(Event(9.95, 10.0, "Dog")) == [155]
    assert active_frames(Event(9.99, 10.0, "Dog")) == []


def test_overlapping_events_are_active_once() -> None:
    targets = encode_strong([Event(0.0, 0.1, "Dog"), Event(0.05, 0.2, "Dog")], LABELS, GRID, 8)
    assert targets.shape == (8, 2)
    assert targets.dtype == np.float32
    assert targets[:, 1].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_weak_targets_say_which_classes_occur() -> None:
    assert encode_weak(["Dog", "Dog"], LABELS).tolist() == [0.0, 1.0]
    with pytest.raises(KeyError):
        encode_weak(["Bird"], LABELS)


def test_runs_are_half_open() -> None:
    assert active_runs(np.array([1, 1, 0, 0, 1], dtype=bool)) == [(0, 2), (4, 5)]
    assert active_runs(np.zeros(3, dtype=bool)) == []
    assert active_runs(np.zeros(0, dtype=bool)) == []


def test_decoded_events_are_sorted_by_onset_over_all_classes() -> None:
    active = np.zeros((6, 2), dtype=bool)
    active[3:5, 0] = active[0:2, 1] = True
    assert decode_strong(active, LABELS, GRID, duration=10.0) == [
        Event(0.0, 0.128, "Dog"),
        Event(0.192, 0.32, "Cat"),
    ]


# seconds   0         9.984  10
# frames    ...  155  |156
# clip      ------------| 9.99
def test_decoding_stops_at_the_end_of_the_clip() -> None:
    active = np.ones((160, 2), dtype=bool)
    assert decode_strong(active, LABELS, GRID, duration=9.99)[0].offset == 9.99


def test_a_rounding_error_in_the_duration_makes_no_event_of_a_frame() -> None:
    active = np.zeros((10, 2), dtype=bool)
    active[9, :] = True
    assert GRID.seconds_at(9) < 9 * 0.064
    assert decode_strong(active, LABELS, GRID, duration=9 * 0.064) == []


@st.composite
def drawn_events(draw: st.DrawFn) -> list[Event]:
    times = st.integers(0, 9_980)
    events = []
    for _ in range(draw(st.integers(0, 8))):
        onset, offset = sorted(draw(st.tuples(times, times).filter(lambda pair: pair[0] != pair[1])))
        events.append(Event(onset / 1_000, offset / 1_000, draw(st.sampled_from(list(LABELS)))))
    return events


@given(drawn_events())
def test_decoding_gives_every_event_back_widened_to_whole_frames(events: list[Event]) -> None:
    widened = [
        Event(GRID.seconds_at(GRID.frame_at(e.onset)), GRID.seconds_at(GRID.frame_after(e.offset)), e.event_label)
        for e in events
    ]
    touching_joined = merge_close_events(widened, min_gap=1e-3)
    assert decode_strong(encode_strong(events, LABELS, GRID, NUM_FRAMES) > 0, LABELS, GRID, 10.0) == touching_joined


@given(drawn_events())
def test_encoding_what_was_decoded_changes_nothing(events: list[Event]) -> None:
    targets = encode_strong(events, LABELS, GRID, NUM_FRAMES)
    decoded = decode_strong(targets > 0, LABELS, GRID, 10.0)
    assert np.array_equal(encode_strong(decoded, LABELS, GRID, NUM_FRAMES), targets)
