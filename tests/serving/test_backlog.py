"""What is queued, how fast it goes, and when there will be room: figures one can check with a pencil."""

from __future__ import annotations

import numpy as np
import pytest

from serving.inference.backlog import Backlog, Measure, work_until

MEASURE = Measure(10.0, 4)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backlog(clock: Clock) -> Backlog:
    """Windows of 10 s, at most 4 of a recording count, 100 audio-seconds per second."""
    backlog = Backlog(clock)
    backlog.warmed_up(MEASURE, 100.0)
    return backlog


def test_a_recording_counts_in_whole_windows_and_at_most_so_many(backlog: Backlog) -> None:
    place = backlog.enter(32_000, MEASURE)  # a second of samples, by the first guess
    assert backlog.queued_seconds == 10.0
    backlog.expect(place, 25.0)
    assert backlog.queued_seconds == 30.0
    backlog.expect(place, 3 * 10.000000001)
    assert backlog.queued_seconds == 30.0
    backlog.expect(place, 3600.0)
    assert backlog.queued_seconds == 40.0
    assert place.remaining == 3600.0


def test_what_was_heard_counts_no_more(backlog: Backlog) -> None:
    place = backlog.enter(0, MEASURE)
    backlog.expect(place, 55.0)
    backlog.heard(place, 1)
    assert backlog.queued_seconds == 40.0  # 50 s are left
    backlog.heard(place, 3)
    assert backlog.queued_seconds == 20.0
    backlog.heard(place, 2)
    assert backlog.queued_seconds == 0.0
    backlog.leave(place, 55.0)
    assert (len(backlog), backlog.queued_seconds) == (0, 0.0)


def test_news_of_a_recording_that_has_left_count_nothing(backlog: Backlog) -> None:
    place = backlog.enter(0, MEASURE)
    backlog.leave(place, 0.0)
    backlog.heard(place, 1)
    backlog.expect(place, 100.0)
    assert backlog.queued_seconds == 0.0


def test_the_speed_is_that_of_the_time_in_which_there_was_work(backlog: Backlog, clock: Clock) -> None:
    for _ in range(400):
        clock.now += 1000.0  # nobody asks for anything
        place = backlog.enter(320_000, MEASURE)
        clock.now += 0.05
        backlog.heard(place, 1)
        backlog.measure(10.0)
        backlog.leave(place, 10.0)
    assert backlog.speed == pytest.approx(10 / 0.05, rel=0.01)


def test_the_speed_follows_a_change_within_seconds(backlog: Backlog, clock: Clock) -> None:
    backlog.enter(0, MEASURE)
    for _ in range(60):
        clock.now += 0.1
        backlog.measure(40.0)  # 40 s in 0.1 s
    assert backlog.speed == pytest.approx(400.0, rel=0.1)


def test_what_a_byte_is_worth_is_learned(backlog: Backlog) -> None:
    assert backlog.worth(32_000) == pytest.approx(1.0)
    for _ in range(300):
        backlog.leave(backlog.enter(80_000, MEASURE), 10.0)
    assert backlog.worth(80_000) == pytest.approx(10.0, rel=0.01)


def test_bytes_whose_seconds_are_known_teach_nothing_of_the_others(backlog: Backlog) -> None:
    for _ in range(300):
        backlog.leave(backlog.enter(80_000, MEASURE, 2.5), 2.5)
    assert backlog.worth(80_000) == pytest.approx(2.5, rel=1e-3)  # the first guess
    place = backlog.enter(80_000, MEASURE, 12.0)
    assert place.remaining == 20.0


def test_the_wait_of_short_recordings_is_the_excess_by_the_speed(backlog: Backlog) -> None:
    for _ in range(100):
        backlog.enter(320_000, MEASURE)  # 1000 s in all
    assert backlog.seconds_until(400.0) == pytest.approx(600.0 / 100.0, rel=0.01)
    assert backlog.seconds_until(1000.0) == pytest.approx(0.0, abs=0.01)


def test_the_wait_among_long_recordings_is_that_until_their_end_comes_near(backlog: Backlog, clock: Clock) -> None:
    for _ in range(2):
        backlog.expect(backlog.enter(0, MEASURE), 100.0)
    assert backlog.seconds_until(60.0) == pytest.approx(140.0 / 100.0, rel=0.01)
    assert backlog.seconds_until(60.0, [100.0]) > backlog.seconds_until(60.0)


def test_long_recordings_make_room_only_near_their_end() -> None:
    # 2 of 100 s count 40 each. For 60 to be queued, each must have 30 left: 140 s have to be heard first.
    assert work_until(np.array([100.0, 100.0]), 40.0, 60.0) == pytest.approx(140.0, rel=1e-3)
    # A short one among them is done when 10 s of each were heard.
    assert work_until(np.array([100.0, 100.0, 10.0]), 40.0, 80.0) == pytest.approx(30.0, rel=1e-3)
    assert work_until(np.zeros(0), 40.0, 0.0) == 0.0
