"""Who gets in and what the others are told, on a clock that is wound by hand."""

from __future__ import annotations

import heapq
import itertools

import numpy as np
import pytest

from serving.errors import RequestError
from serving.inference.admission import Admission, Ticket
from serving.inference.backlog import Backlog, Measure

WINDOW, SPEED, DELAY = 10.0, 100.0, 5.0  # so 500 s may be queued
CLIP_BYTES = 320_000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Door:
    """An admission with its backlog, a clock, and the reasons of refusals."""

    def __init__(self, max_inflight_bytes: int = 10**9, windows_ahead: int = 4) -> None:
        self.clock = Clock()
        self.measure = Measure(WINDOW, windows_ahead)
        self.backlog = Backlog(self.clock)
        self.backlog.warmed_up(self.measure, SPEED)
        self.reasons: list[str] = []
        self.admission = Admission(self.backlog, DELAY, max_inflight_bytes, self.reasons.append, self.clock)

    def let_in_clips(self, number: int) -> list[Ticket]:
        """Clips of 10 s whose bodies are there."""
        tickets = [self.admission.admit(CLIP_BYTES, None) for _ in range(number)]
        for ticket in tickets:
            self.admission.arrived(ticket)
            self.backlog.enter(CLIP_BYTES, self.measure)
        return tickets

    def refusal(self, num_bytes: int | None = CLIP_BYTES, seconds: float | None = None) -> RequestError:
        with pytest.raises(RequestError) as refused:
            self.admission.admit(num_bytes, seconds)
        assert (refused.value.status, refused.value.code) == (429, "overloaded")
        return refused.value


def test_requests_get_in_until_the_queue_would_take_longer_than_the_bound() -> None:
    door = Door()
    door.let_in_clips(50)
    assert door.backlog.queued_seconds == pytest.approx(500.0)
    refusal = door.refusal()
    assert refusal.members == {"retry_after": 1}
    assert door.reasons == ["queue"]


def test_an_empty_queue_takes_whatever_comes() -> None:
    door = Door()
    door.backlog.warmed_up(door.measure, 0.1)  # half a second may be queued
    door.admission.admit(10_000_000, 300.0)


def test_what_rounding_leaves_of_others_does_not_shut_the_door() -> None:
    door = Door(windows_ahead=16)
    measure = Measure(9.36, 16)
    door.backlog.warmed_up(measure, 1000.0)
    slow, *others = [door.admission.admit(None, windows * 9.36) for windows in (1, 3, 14)]
    for ticket in (slow, *others):
        door.admission.arrived(ticket)
    for ticket in others:
        ticket.release()
    assert door.admission._arriving_seconds != 0.0
    door.backlog.warmed_up(measure, 0.1)
    door.admission.admit(None, 9.0)


def test_an_hour_shuts_the_door_for_nobody() -> None:
    door = Door()
    place = door.backlog.enter(10_000_000, door.measure)
    door.backlog.expect(place, 3600.0)  # counts 40 s
    door.let_in_clips(46)
    door.refusal()


def test_bodies_that_do_not_come_are_forgotten() -> None:
    door = Door()
    # the bytes would be worth hours; 40 s are what a long one counts, so twelve fill the queue for a moment
    tickets = [door.admission.admit(25_000_000, None) for _ in range(12)]
    door.refusal(25_000_000)
    door.clock.now += 0.6
    # a window of 10 s each by now, and those who came later 40 s each
    tickets += [door.admission.admit(25_000_000, None) for _ in range(9)]
    door.refusal(25_000_000)
    door.clock.now += DELAY + 0.1
    door.let_in_clips(50)
    for ticket in tickets:
        ticket.release()


def test_the_wait_is_told_in_turn_to_those_who_are_refused_together() -> None:
    door = Door()
    door.let_in_clips(50)
    told = [door.refusal().members["retry_after"] for _ in range(100)]
    assert told == sorted(told)
    # 100 clips of 10 s at 100 s per second, with a margin: the last comes after 11 s
    assert told[0] == 1
    assert told[-1] in (11, 12)
    assert max(np.bincount(told)) <= 10


def test_nobody_is_told_more_than_a_minute() -> None:
    door = Door()
    door.let_in_clips(50)
    assert max(door.refusal().members["retry_after"] for _ in range(2000)) == 60


def test_the_budget_of_bytes_holds_what_has_arrived() -> None:
    door = Door(max_inflight_bytes=1_000_000)
    first = door.admission.admit(900_000, 10.0)
    second = door.admission.admit(900_000, 10.0)  # nothing has arrived yet
    first.received(900_000)
    assert door.admission.inflight_bytes == 900_000
    assert door.refusal(200_000, 1.0).members["retry_after"] >= 1
    with pytest.raises(RequestError, match="too many bytes"):
        second.received(200_000)
    first.release()
    first.release()
    assert door.admission.inflight_bytes == 0
    second.received(900_000)
    assert door.reasons == ["bytes", "bytes"]


def test_a_body_larger_than_the_budget_gets_in_alone() -> None:
    door = Door(max_inflight_bytes=1000)
    ticket = door.admission.admit(2000, 1.0)
    ticket.received(1500)
    ticket.received(2000)


def test_a_ticket_gives_back_what_it_held_however_the_request_ends() -> None:
    door = Door()
    with pytest.raises(ZeroDivisionError), door.admission.admit(CLIP_BYTES, None) as ticket:
        ticket.received(1000)
        raise ZeroDivisionError
    assert (door.admission.num_tickets, door.admission.inflight_bytes) == (0, 0)


def honest_share(clip_seconds: list[float], arrivals: list[float]) -> float:
    """The share of refused clients that get in when they come again exactly when they were told.

    Those inside are heard in equal shares of SPEED, in steps of 20 ms.
    """
    door = Door()
    inside: list[tuple[object, float]] = []
    events = [(at, number, False) for number, at in enumerate(arrivals)]
    heapq.heapify(events)
    counter = itertools.count(len(arrivals))
    came_back = got_in = 0
    start = door.clock.now
    step = 0.02
    carried = 0.0
    while events:
        door.clock.now += step
        now = door.clock.now - start
        carried += SPEED * step / WINDOW
        heard = 0
        while carried >= 1 and inside:
            carried -= 1
            heard += 1
            place, left = inside.pop(0)
            door.backlog.heard(place, 1)  # type: ignore[arg-type]
            if left > WINDOW:
                inside.append((place, left - WINDOW))
            else:
                door.backlog.leave(place, 0.0)  # type: ignore[arg-type]
        if heard:
            door.backlog.measure(heard * WINDOW)
        carried = min(carried, 1.0) if not inside else carried
        while events and events[0][0] <= now:
            at, number, again = heapq.heappop(events)
            seconds = clip_seconds[number % len(clip_seconds)]
            came_back += again
            try:
                with door.admission.admit(None, seconds):
                    pass
            except RequestError as error:
                if not again:
                    heapq.heappush(events, (at + error.members["retry_after"], next(counter), True))
                continue
            got_in += again
            place = door.backlog.enter(0, door.measure)
            door.backlog.expect(place, seconds)
            inside.append((place, seconds))
    assert came_back > 50
    return got_in / came_back


def test_who_waits_as_long_as_told_gets_in_after_a_burst() -> None:
    assert honest_share([10.0], [0.01 * n for n in range(300)]) >= 0.9


def test_who_waits_as_long_as_told_gets_in_after_a_burst_of_long_and_short_ones() -> None:
    assert honest_share([10.0, 10.0, 30.0, 10.0, 120.0], [0.01 * n for n in range(130)]) >= 0.9
