"""The load generator: its arithmetic, and what it sees of servers that are slow, refuse, hang up or are not there."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from benchmarks.http_answers import AnswerReader
from benchmarks.load_answers import (
    CLOSED,
    NOT_CONNECTED,
    TOO_LATE,
    Answer,
    goodput,
    lag,
    latencies,
    percentile,
    statuses,
)
from benchmarks.serving_load import (
    Load,
    build_request,
    closed_loop,
    merged,
    open_loop,
    poisson_schedule,
    regular_schedule,
    run_load,
)

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CLIP = build_request("clip", "/v1/events", b"x" * 100)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"


async def read_message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(100)


def answering(*answers: bytes, delay: float = 0.0) -> Talk:
    """A server that gives the answers in turn, on each connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = 0
        while True:
            try:
                await read_message(reader)
            except asyncio.IncompleteReadError:
                break
            await asyncio.sleep(delay)
            writer.write(answers[turn % len(answers)])
            turn += 1
        writer.close()

    return talk


def measured(talk: Talk, work: Callable[[Load], Awaitable[list[Answer]]], **options: Any) -> list[Answer]:
    async def story() -> list[Answer]:
        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await work(Load("127.0.0.1", port, spin=False, **options))

    return run_load(story)


def answer_at(done: float, scheduled: float = 0.0, status: int = 200, kind: str = "clip") -> Answer:
    return Answer(kind, scheduled, scheduled, done, status)


def test_percentiles_are_nearest_ranks() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, share) for share in (0.0, 0.2, 0.21, 0.5, 0.99, 1.0)] == [1, 1, 2, 3, 5, 5]
    assert percentile(range(1, 1001), 0.999) == 999
    assert math.isnan(percentile([], 0.5))


def test_goodput_counts_whole_answers_within_the_time() -> None:
    answers = [answer_at(0.5), answer_at(1.0), answer_at(1.9), answer_at(2.0), answer_at(1.5, status=429)]
    assert goodput(answers, 1.0, 2.0) == 2.0
    assert goodput([*answers, answer_at(1.2, kind="other")], 0.0, 2.0, "clip") == 1.5


def test_latency_begins_when_a_request_was_due() -> None:
    answer = Answer("clip", scheduled=1.0, sent=1.25, done=1.5, status=200)
    assert latencies([answer, answer_at(9.0, status=500)]) == [0.5]
    assert lag([answer, Answer("clip", 1.0, math.nan, 3.0, 0, NOT_CONNECTED)], 1.0) == 0.25


def test_poisson_arrivals_have_the_rate_and_the_spread_of_their_gaps() -> None:
    times = [time for time, _ in poisson_schedule(CLIP, 200.0, 50.0, seed=1)]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert deviation == pytest.approx(mean, rel=0.05)
    assert times[0] >= 0 and times == sorted(times) and times[-1] < 50


def test_schedules_are_merged_in_order() -> None:
    other = build_request("probe", "/health/live", method="GET")
    schedule = merged(regular_schedule(CLIP, 0.5, 1.2), regular_schedule(other, 0.5, 1.2, first=0.25))
    assert [(time, request.kind) for time, request in schedule] == [
        *((0.0, "clip"), (0.25, "probe"), (0.5, "clip"), (0.75, "probe"), (1.0, "clip"))
    ]
    assert other.content == b"GET /health/live HTTP/1.1\r\nHost: server\r\n\r\n"


def test_an_open_loop_sends_on_time_and_times_the_answers() -> None:
    schedule = regular_schedule(CLIP, 0.02, 0.4)
    answers = measured(answering(OK, delay=0.05), lambda load: open_loop(load, schedule), keep_bodies=True)
    assert statuses(answers) == {"200": 20}
    assert {answer.body for answer in answers} == {b"ok"}
    assert all(0.04 < answer.latency < 1.0 for answer in answers)
    assert sorted(answer.scheduled for answer in answers) == [time for time, _ in schedule]


def test_requests_due_while_the_server_stalls_have_waited() -> None:
    # seconds  0    0.1   0.2   0.3   0.4   0.5
    # due      |     |     |     |     |             one connection, one answer each 0.3 s
    # done                       0.3               0.6, 0.9, 1.2, 1.5
    schedule = regular_schedule(CLIP, 0.1, 0.5)
    answers = measured(answering(OK, delay=0.3), lambda load: open_loop(load, schedule), max_connections=1)
    waited = [answer.latency for answer in answers]
    assert waited == pytest.approx([0.3, 0.5, 0.7, 0.9, 1.1], abs=0.15)
    assert [answer.sent - answer.scheduled for answer in answers] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8], abs=0.15)


def test_refusals_tell_when_to_come_again() -> None:
    schedule = regular_schedule(CLIP, 0.01, 0.1)
    answers = measured(answering(OK, BUSY), lambda load: open_loop(load, schedule), max_connections=1)
    assert statuses(answers) == {"200": 5, "429": 5}
    assert {(answer.status, answer.retry_after) for answer in answers} == {(200, None), (429, 7.0)}


def test_a_closed_loop_keeps_so_many_under_way() -> None:
    most = under_way = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most, under_way
        while True:
            try:
                await read_message(reader)
            except asyncio.IncompleteReadError:
                return
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0.01)
            under_way -= 1
            writer.write(OK)

    answers = measured(talk, lambda load: closed_loop(load, [CLIP] * 40, 4))
    assert (len(answers), most) == (40, 4)
    for_a_while = measured(talk, lambda load: closed_loop(load, iter(lambda: CLIP, None), 2, seconds=0.3))
    assert 10 < len(for_a_while) <= 64
    assert statuses(for_a_while) == {"200": len(for_a_while)}


def test_faults_are_told_apart() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(OK[:-1])
        writer.close()

    schedule = regular_schedule(CLIP, 0.01, 0.03)
    assert statuses(measured(hang_up, lambda load: open_loop(load, schedule))) == {CLOSED: 3}
    silent = measured(answering(OK, delay=5.0), lambda load: open_loop(load, schedule), patience=0.2)
    assert statuses(silent) == {TOO_LATE: 3}
    nobody = run_load(lambda: open_loop(Load("127.0.0.1", 1, spin=False), schedule))
    assert statuses(nobody) == {NOT_CONNECTED: 3}
    assert all(math.isnan(answer.sent) for answer in nobody)


def test_a_connection_that_ends_with_its_answer_is_replaced() -> None:
    connections = 0
    closing = OK.replace(b"200 OK\r\n", b"200 OK\r\nConnection: close\r\n")

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_message(reader)
        writer.write(closing)
        writer.close()

    answers = measured(talk, lambda load: closed_loop(load, [CLIP] * 5, 1))
    assert (statuses(answers), connections) == ({"200": 5}, 5)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_answers_are_read_whatever_the_pieces(size: int) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    counted = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 4\r\n\r\nabcd"
    for message, status, body in ((interim + chunked, 200, b"abcde"), (counted, 503, b"abcd")):
        reader = AnswerReader()
        pieces = [message[start : start + size] for start in range(0, len(message), size)]
        *before, answer = [reader.feed(piece) for piece in pieces]
        assert before == [None] * len(before)
        assert answer is not None
        assert (answer.status, answer.body, answer.closes) == (status, body, False)


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc") is None
    answer = reader.end()
    assert answer is not None and (answer.body, answer.closes) == (b"abc", True)
    assert AnswerReader().end() is None
