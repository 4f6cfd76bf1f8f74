"""Admission: who gets in, decided before the body is read, and how long the others are told to wait.

A request gets in when what is queued (see `backlog`), and itself, can be heard within `max_queue_delay` seconds at the
speed measured now, or when nothing is queued at all. Until its body is there a request counts what it is expected to
hold; when it has not come within half a second one window, and nothing any more after `max_queue_delay`: connections
that promise much and send nothing must not fill the queue. Likewise the budget of bytes holds what has arrived; what a
request claims only has to fit at its head.

`retry_after` is when there will be room by the same figures. Those who were told a time before are counted as if they
came, so that a thousand who are refused at once are told different seconds. Nothing is kept free for them, since a
server cannot know whether they will come; so nobody is told more than a minute.

All of this belongs to the event loop's thread.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from serving.errors import RequestError
from serving.inference.backlog import Backlog, Rate

_LONGEST_WAIT = 60.0
# Less than any window; seconds are sums of floats.
_ROUNDING = 1e-6
# The wait is told with a margin for the error of the measured speed.
_MARGIN = 1.1
# A body that takes longer than this is a slow one.
_PROMPT_SECONDS = 0.5
# Bodies that did not come are looked for again after so long.
_LOOK_SECONDS = 0.05
# A first guess, and how fast what bodies give back is forgotten.
_BYTES_PER_SECOND, _GUESS_SECONDS, _FADE_PER_REQUEST = 1e7, 0.25, 0.98


class Ticket:
    """A request that got in; a context manager, so that what it holds is given back however the request ends.

    with engine.admit(content_length, seconds) as ticket:
        ... read the body; say `ticket.received(num_bytes)`, the sum, as it grows, at least once per megabyte ...
        heard = await engine.listen(body, ListenRequest(..., ticket=ticket))

    One ticket may serve several recordings that came in one body.
    """

    __slots__ = ("_admission", "admitted_at", "counted", "num_bytes")

    def __init__(self, admission: Admission, now: float, counted: float) -> None:
        self._admission: Admission | None = admission
        self.admitted_at = now
        self.num_bytes = 0
        self.counted = counted

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def received(self, num_bytes: int) -> None:
        """So many bytes of the body are held by now; RequestError 429 when there is no room for more."""
        if self._admission is not None:
            self._admission.hold(self, num_bytes)

    def release(self) -> None:
        """Give back what is held; further calls do nothing."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.give_back(self)


class Admission:
    """The door of one server. rejected: called with the reason of each refusal."""

    def __init__(
        self,
        backlog: Backlog,
        max_queue_delay: float,
        max_inflight_bytes: int,
        rejected: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backlog = backlog
        self._max_queue_delay = max_queue_delay
        self._max_inflight_bytes = max_inflight_bytes
        self._rejected = rejected
        self._clock = clock
        self._tickets: set[Ticket] = set()
        self._arriving_seconds = 0.0
        self._looked_at = -math.inf
        self._promises: deque[tuple[float, float]] = deque()
        self._promised_short = 0.0
        self._promised_long: list[float] = []
        self._given_back_at = -math.inf
        self._bytes_per_second = Rate(_BYTES_PER_SECOND, _GUESS_SECONDS)
        self.inflight_bytes = 0

    @property
    def num_tickets(self) -> int:
        """Requests that got in and are not answered."""
        return len(self._tickets)

    def admit(self, num_bytes: int | None, seconds: float | None) -> Ticket:
        """A ticket, or RequestError 429 with `retry_after` in whole seconds."""
        if num_bytes and self.inflight_bytes and self.inflight_bytes + num_bytes > self._max_inflight_bytes:
            raise self._no_room_for(num_bytes)
        backlog = self._backlog
        seconds = backlog.measure_of_default.whole(backlog.worth(num_bytes or 0) if seconds is None else seconds)
        counted = backlog.counted(seconds)
        if not self._has_room(counted):
            self._forget_late_bodies()
            if not self._has_room(counted):
                self._rejected("queue")
                raise overloaded("the queue is full", self._wait_for(seconds))
        ticket = Ticket(self, self._clock(), counted)
        self._tickets.add(ticket)
        self._arriving_seconds += ticket.counted
        return ticket

    def arrived(self, ticket: Ticket) -> None:
        """Its body is there; from now on its recordings count."""
        self._arriving_seconds -= ticket.counted
        ticket.counted = 0.0

    def hold(self, ticket: Ticket, num_bytes: int) -> None:
        """So many bytes of its body are held; RequestError 429 when they are too many for all."""
        more = num_bytes - ticket.num_bytes
        alone = self.inflight_bytes == ticket.num_bytes
        if more > 0 and not alone and self.inflight_bytes + more > self._max_inflight_bytes:
            raise self._no_room_for(more)
        self.inflight_bytes += more
        ticket.num_bytes = num_bytes

    def give_back(self, ticket: Ticket) -> None:
        """The request is answered."""
        self._tickets.discard(ticket)
        self.arrived(ticket)
        self.inflight_bytes -= ticket.num_bytes
        now = self._clock()
        if ticket.num_bytes and math.isfinite(self._given_back_at):
            self._bytes_per_second.add(ticket.num_bytes, now - self._given_back_at, _FADE_PER_REQUEST)
        self._given_back_at = now
        if not self._tickets:
            self._arriving_seconds = 0.0  # what rounding left

    def _has_room(self, counted: float) -> bool:
        queued = self._backlog.queued_seconds + self._arriving_seconds
        return queued <= _ROUNDING or queued + counted <= self._max_queue_delay * self._backlog.speed

    def _forget_late_bodies(self) -> None:
        now = self._clock()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        window = self._backlog.measure_of_default.window_seconds
        for ticket in self._tickets:
            if ticket.counted and ticket.admitted_at < now - self._max_queue_delay:
                self.arrived(ticket)
            elif ticket.counted > window and ticket.admitted_at < now - _PROMPT_SECONDS:
                self._arriving_seconds -= ticket.counted - window
                ticket.counted = window

    def _wait_for(self, seconds: float) -> float:
        """Seconds until there is room for a recording of so many, after all who were promised theirs."""
        backlog, now = self._backlog, self._clock()
        while self._promises and self._promises[0][0] <= now:
            self._break_promise(self._promises.popleft()[1])
        bound = self._max_queue_delay * backlog.speed - backlog.counted(seconds)
        # Whole seconds bring those of one second back together, and no more than the queue holds can get in then.
        before = (self._arriving_seconds + self._promised_short) / (backlog.speed * min(1.0, self._max_queue_delay))
        wait = (backlog.seconds_until(max(bound, 0.0), self._promised_long) + before) * _MARGIN
        if wait < _LONGEST_WAIT:
            # Near enough in the order of their times: what is promised grows until they come.
            self._promises.append((now + wait, seconds))
            if backlog.counts_whole(seconds):
                self._promised_short += seconds
            else:
                self._promised_long.append(seconds)
        return wait

    def _break_promise(self, seconds: float) -> None:
        """Its time has come, whether they come or not."""
        if self._backlog.counts_whole(seconds):
            self._promised_short = max(0.0, self._promised_short - seconds)
        else:
            self._promised_long.remove(seconds)

    def _no_room_for(self, num_bytes: int) -> RequestError:
        self._rejected("bytes")
        excess = self.inflight_bytes + num_bytes - self._max_inflight_bytes
        return overloaded("too many bytes are in flight", excess / max(self._bytes_per_second.value, 1.0) * _MARGIN)


def overloaded(why: str, wait: float) -> RequestError:
    """429: come again after `wait` seconds."""
    seconds = max(1, math.ceil(min(wait, _LONGEST_WAIT)))
    return RequestError(429, "overloaded", f"{why}; try again in {seconds} s", retry_after=seconds)
