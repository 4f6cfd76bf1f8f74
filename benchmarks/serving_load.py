"""Load for an HTTP server over raw sockets, timed from when each request was due.

    open loop     requests leave by a schedule (Poisson), whatever the server does: a slow server meets a growing queue,
                  as it would of strangers. Latency counts from the SCHEDULED time, so a request that waited for a free
                  connection, or for this process, has waited (no coordinated omission).
    closed loop   so many connections, each sending its next request when it has its answer: finds the saturation.

Keep-alive connections without pipelining: the one that was idle for the shortest time is taken, a new one is opened
when all are busy, and at `max_connections` requests wait here. `lag` (sent - scheduled) says how late this process
itself was; a measurement whose lag is not far below its latencies measures the generator. All times are seconds since
the run began. What is here is cheap: some 50 us a request.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from benchmarks.http_answers import AnswerReader, HttpAnswer
from benchmarks.load_answers import CLOSED, NOT_CONNECTED, TOO_LATE, Answer

Result = TypeVar("Result")
# The last of a wait is spent looking at the clock: timers of event loops are a millisecond coarse.
_SPIN_SECONDS = 0.0015


class Request(NamedTuple):
    """A whole HTTP/1.1 message, and a word by which its answers are told from others."""

    kind: str
    content: bytes


Schedule = Sequence[tuple[float, Request]]


@dataclass(frozen=True)
class Load:
    """How requests are sent. patience: seconds without any answer after which what is unanswered is given up."""

    host: str
    port: int
    max_connections: int = 256
    patience: float = 10.0
    keep_bodies: bool = False
    spin: bool = True


def build_request(
    kind: str, path: str, body: bytes = b"", content_type: str = "application/octet-stream", method: str = "POST"
) -> Request:
    """A request of HTTP/1.1 as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: server\r\n"
    if body or method == "POST":
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return Request(kind, f"{head}\r\n".encode("ascii") + body)


def poisson_schedule(request: Request, per_second: float, seconds: float, seed: int = 0) -> Schedule:
    """Arrivals of a Poisson process within [0, seconds)."""
    rng = np.random.default_rng(seed)
    expected = per_second * seconds
    gaps = rng.exponential(1 / per_second, math.ceil(expected + 6 * math.sqrt(expected) + 20))
    times = np.cumsum(gaps)
    return [(float(time), request) for time in times[times < seconds]]


def regular_schedule(request: Request, every: float, seconds: float, first: float = 0.0) -> Schedule:
    """One request every so many seconds, from `first` on."""
    return [(time, request) for time in np.arange(first, seconds, every).tolist()]


def merged(*schedules: Schedule) -> Schedule:
    """Several schedules as one, in order of time."""
    return sorted((entry for schedule in schedules for entry in schedule), key=lambda entry: entry[0])


async def open_loop(load: Load, schedule: Schedule) -> list[Answer]:
    """Send by the schedule; the answers in the order in which they came."""
    sender = _Sender(load)
    clock = sender.clock
    for due, request in schedule:
        while (left := due - clock()) > 0:
            # sleep(0) still lets the answers in.
            await asyncio.sleep(left - _SPIN_SECONDS if left > _SPIN_SECONDS else (0 if load.spin else left))
        sender.send(request, due)
    return await sender.finish()


async def closed_loop(
    load: Load, requests: Iterable[Request], connections: int, seconds: float | None = None
) -> list[Answer]:
    """`connections` at a time, until the requests are at an end or so many seconds have gone."""
    remaining: Iterator[Request] = iter(requests)

    def send_next(_: Answer | None = None) -> None:
        if seconds is None or sender.clock() < seconds:
            request = next(remaining, None)
            if request is not None:
                sender.send(request, sender.clock())

    sender = _Sender(load, send_next)
    for _ in range(connections):
        send_next()
    while seconds is not None and sender.clock() < seconds and sender.unanswered:
        await asyncio.sleep(0.01)
    return await sender.finish(wait_long=seconds is None)


def run_load(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run a coroutine function in an event loop of its own, uvloop's where it is installed."""
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ImportError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work())


class _Sender:
    """Connections, the requests that wait for one, and the answers so far."""

    def __init__(self, load: Load, on_answer: Callable[[Answer], None] | None = None) -> None:
        self.load = load
        self._loop = asyncio.get_running_loop()
        self._began = time.perf_counter()
        self._on_answer = on_answer
        self._idle: list[_Connection] = []
        self._waiting: deque[tuple[Request, float]] = deque()
        self._open: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._answers: list[Answer] = []
        self.unanswered = 0

    def clock(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._began  # an event loop's own clock may stand still within a round

    def send(self, request: Request, scheduled: float) -> None:
        """Send now, or when a connection is there."""
        self.unanswered += 1
        if self._idle:
            self._idle.pop().send(request, scheduled)
            return
        self._waiting.append((request, scheduled))
        self._connect_if_needed()

    async def finish(self, wait_long: bool = True) -> list[Answer]:
        """Wait for what is unanswered, close, and give all answers."""
        patient_until = self.clock() + self.load.patience
        while self.unanswered and (self.clock() < patient_until):
            before = len(self._answers)
            await asyncio.sleep(0.005)
            if wait_long and len(self._answers) > before:
                patient_until = self.clock() + self.load.patience
        for task in self._connecting:
            task.cancel()
        self._on_answer = None
        while self._waiting:
            self._record_unsent(*self._waiting.popleft(), TOO_LATE)
        for connection in list(self._open):
            connection.give_up()
        await asyncio.sleep(0)
        return self._answers

    def record(self, answer: Answer) -> None:
        """One more answer."""
        self.unanswered -= 1
        self._answers.append(answer)
        if self._on_answer is not None:
            self._on_answer(answer)

    def free(self, connection: _Connection) -> None:
        """A connection has its answer and may take the next request."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)

    def opened(self, connection: _Connection) -> None:
        """A connection was made."""
        self._open.add(connection)
        self.free(connection)

    def gone(self, connection: _Connection) -> None:
        """A connection is closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._connect_if_needed()

    def _connect_if_needed(self) -> None:
        connections = len(self._open) + len(self._connecting)
        if len(self._waiting) > len(self._connecting) and connections < self.load.max_connections:
            task = self._loop.create_task(self._connect())
            self._connecting.add(task)

    async def _connect(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            await self._loop.create_connection(lambda: _Connection(self), self.load.host, self.load.port)
        except OSError:
            if self._waiting:
                self._record_unsent(*self._waiting.popleft(), NOT_CONNECTED)
        finally:
            self._connecting.discard(task)
        if self._waiting:
            self._connect_if_needed()

    def _record_unsent(self, request: Request, scheduled: float, fault: str) -> None:
        self.record(Answer(request.kind, scheduled, math.nan, self.clock(), 0, fault))


class _Connection(asyncio.Protocol):
    """One connection, with at most one request under way."""

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self._reader = AnswerReader()
        self._under_way: tuple[Request, float, float] | None = None
        self._fault = CLOSED
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is none by its class
        self._sender.opened(self)

    def send(self, request: Request, scheduled: float) -> None:
        """Write a request; the connection is idle."""
        self._under_way = request, scheduled, self._sender.clock()
        self._transport.write(request.content)

    def data_received(self, data: bytes) -> None:
        answer = self._reader.feed(data)
        if answer is not None:
            self._answered(answer)

    def eof_received(self) -> bool:
        answer = self._reader.end()
        if answer is not None and self._under_way is not None:
            self._answered(answer)
        return False

    def connection_lost(self, _error: Exception | None) -> None:
        if self._under_way is not None:
            (request, scheduled, sent), self._under_way = self._under_way, None
            self._sender.record(Answer(request.kind, scheduled, sent, self._sender.clock(), 0, self._fault))
        self._sender.gone(self)

    def give_up(self) -> None:
        """Close at once; a request under way is unanswered."""
        self._fault = TOO_LATE
        self._transport.abort()

    def _answered(self, answer: HttpAnswer) -> None:
        if self._under_way is None:
            self._transport.abort()
            return
        (request, scheduled, sent), self._under_way = self._under_way, None
        body = answer.body if self._sender.load.keep_bodies else b""
        kind, done, content_type = request.kind, self._sender.clock(), answer.headers.get("content-type", "")
        self._sender.record(
            Answer(kind, scheduled, sent, done, answer.status, "", answer.retry_after, body, content_type)
        )
        if answer.closes:
            self._transport.close()
        else:
            self._sender.free(self)
