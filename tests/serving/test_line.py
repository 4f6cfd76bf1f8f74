"""The line: who came first is decoded first, and no more is decoded than the device has use for."""

from __future__ import annotations

import threading

import pytest

from serving.inference.line import Line


@pytest.fixture
def started() -> list[str]:
    return []


@pytest.fixture
def line(started: list[str]) -> Line[str]:
    return Line(started.append, most_started=2, enough_windows=3)


def test_as_many_are_started_as_may_be_in_their_order(line: Line[str], started: list[str]) -> None:
    for name in "abcd":
        line.join(name)
    assert started == ["a", "b"]
    line.stepped()
    assert started == ["a", "b", "c"]


def test_nobody_is_started_while_enough_lies_ready(line: Line[str], started: list[str]) -> None:
    line.join("a")
    line.decoded(3)
    line.stepped()
    line.join("b")
    assert started == ["a"]
    line.took(1)
    assert started == ["a", "b"]


def test_one_that_left_is_passed_over(line: Line[str], started: list[str]) -> None:
    for name in "abcde":
        line.join(name)
    assert line.leave("c")
    assert not line.leave("c")
    assert not line.leave("a")  # it was started
    line.stepped()
    line.stepped()
    assert started == ["a", "b", "d", "e"]


def test_it_is_clear_when_nobody_is_there_and_nothing_lies_ready(line: Line[str]) -> None:
    assert line.is_clear
    line.join("a")
    assert not line.is_clear
    line.decoded(2)
    line.stepped()
    assert not line.is_clear
    line.took(2)
    assert line.is_clear


def test_threads_that_come_and_go_lose_nobody() -> None:
    done: list[int] = []
    running: list[int] = []

    def start(number: int) -> None:
        running.append(number)

    line: Line[int] = Line(start, most_started=3, enough_windows=8)

    def work() -> None:
        while len(done) < 400:
            try:
                number = running.pop(0)
            except IndexError:
                continue
            line.decoded(2)
            line.stepped()
            done.append(number)
            line.took(2)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for number in range(400):
        line.join(number)
    for worker in workers:
        worker.join(30)
    assert sorted(done) == list(range(400))
    assert line.is_clear
