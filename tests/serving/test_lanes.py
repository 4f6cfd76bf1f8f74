"""Lanes: one step for each thing, whatever goes wrong, at the priority that was asked for."""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue

import pytest

from serving.inference.lanes import Lane


def test_every_thing_has_its_step_and_an_error_ends_none_of_the_threads(caplog: pytest.LogCaptureFixture) -> None:
    done: SimpleQueue[int] = SimpleQueue()

    def step(number: int) -> None:
        if number == 3:
            raise ValueError("three")
        done.put(number)

    lane: Lane[int] = Lane("test", 2, step)
    for number in range(1, 7):
        lane.put(number)
    lane.close()
    lane.put(7)
    assert lane.join() == [7]
    assert sorted(done.get() for _ in range(done.qsize())) == [1, 2, 4, 5, 6]
    assert "three" in caplog.text


def test_the_priority_is_that_of_the_lane_alone() -> None:
    seen: SimpleQueue[int] = SimpleQueue()
    before = os.getpriority(os.PRIO_PROCESS, 0)
    other: Lane[threading.Event] = Lane(
        "usual", 1, lambda _: seen.put(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    )
    low: Lane[int] = Lane(
        "low", 1, lambda _: seen.put(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())), niceness=19
    )
    low.put(1)
    assert seen.get(timeout=10) == 19
    other.put(threading.Event())
    assert seen.get(timeout=10) == before == os.getpriority(os.PRIO_PROCESS, 0)
    for one in (other, low):
        one.close()
        one.join()
