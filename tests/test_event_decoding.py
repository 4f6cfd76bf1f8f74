"""Decoding: runs of active frames are events, also where a clip comes in pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desed_task.decoding import EventDecoder, decode_strong
from desed_task.encoding import active_runs
from desed_task.events import Event
from desed_task.timeline import FrameGrid

LABELS = ("dog", "cat")
GRID = FrameGrid(sample_rate=10, hop_length=5, time_pooling=1)  # frames of half a second


def test_a_run_over_three_pieces_is_one_event_with_the_mean_of_its_values() -> None:
    # frames    0 1 2 | 3 4 | 5 6 7       dog from 1 to 6, cat at 2 and again from 5 on
    decoder = EventDecoder(LABELS, GRID)
    active = np.array([[0, 0], [1, 0], [1, 1], [1, 0], [1, 0], [1, 1], [0, 1], [0, 1]], dtype=bool)
    values = np.linspace(0.1, 0.8, 8, dtype=np.float32)[:, None].repeat(2, axis=1)
    for first, last in ((0, 3), (3, 5), (5, 8)):
        decoder.feed(active[first:last], values[first:last])
    dog, cat, late_cat = decoder.end(3.8)
    assert (dog, cat, late_cat) == (Event(0.5, 3.0, "dog"), Event(1.0, 1.5, "cat"), Event(2.5, 3.8, "cat"))
    assert [dog.score, cat.score, late_cat.score] == pytest.approx([0.4, 0.3, 0.7])


@settings(max_examples=80, deadline=None)
@given(st.lists(st.booleans(), max_size=40), st.lists(st.integers(0, 9), max_size=8))
def test_pieces_give_the_runs_of_the_whole(active: list[bool], sizes: list[int]) -> None:
    rows = np.array(active, dtype=bool)[:, None].repeat(2, axis=1)
    rows[:, 1] = ~rows[:, 1]
    edges = np.minimum(np.cumsum([0, *sizes]), len(rows))
    decoder = EventDecoder(LABELS, GRID)
    for first, last in zip([*edges], [*edges[1:], len(rows)], strict=True):
        decoder.feed(rows[first:last])
    runs = [(label, run) for position, label in enumerate(LABELS) for run in active_runs(rows[:, position])]
    expected = sorted(Event(first / 2, last / 2, label) for label, (first, last) in runs)
    assert decoder.end(100.0) == expected == decode_strong(rows, LABELS, GRID, 100.0)
    assert all(event.score is None for event in expected)


def test_events_of_exactly_the_shortest_duration_stay() -> None:
    thirds = FrameGrid(sample_rate=30, hop_length=1, time_pooling=1)
    active = np.zeros((30, 2), dtype=bool)
    active[[1, 2, 3, 7, 8]] = True  # 0.1 s, which is 0.0999... as a difference of floats, and 0.067 s
    decoder = EventDecoder(LABELS, thirds, min_duration=0.1)
    decoder.feed(active)
    assert [round(event.onset * 30) for event in decoder.end(1.0)] == [1, 1]


def test_frames_before_the_clip_begins_are_no_part_of_an_event() -> None:
    early = FrameGrid(sample_rate=10, hop_length=5, time_pooling=1, first_frame_center=-0.75)
    decoder = EventDecoder(LABELS, early)
    values = np.array([[0.9, 0.9], [0.9, 0.9], [0.5, 0.0], [0.7, 0.0]], dtype=np.float32)
    decoder.feed(values > 0.4, values)
    (event,) = decoder.end(1.0)
    assert event == Event(0.0, 1.0, "dog")
    assert event.score == pytest.approx(0.6)
