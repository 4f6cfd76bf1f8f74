"""Connections of a real server: bounds on heads, problem documents for what is no HTTP, answers that arrive."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from serving.http.connections import MAX_HEAD_BYTES, MAX_PIPELINED, _ClosesGently

BODY_LIMIT = 1_000_000


@pytest.fixture(scope="module")
def port(module_server: Callable[..., Any]) -> int:
    settings = ("head_seconds=0.5", "keep_alive_seconds=1", f"max_body_bytes={BODY_LIMIT}")
    return int(module_server(*(word for setting in settings for word in ("--set", setting))).port)


@pytest.fixture
def connect(port: int) -> Iterator[Callable[[], socket.socket]]:
    opened: list[socket.socket] = []

    def new() -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", port), timeout=20))
        return opened[-1]

    yield new
    for connection in opened:
        connection.close()


def everything(connection: socket.socket) -> bytes:
    """What arrives until the server closes."""
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def status_and_document(answer: bytes) -> tuple[int, dict[str, Any]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    assert b"connection: close" in head.lower()
    document = json.loads(body)
    status = int(head.split()[1])
    assert document["status"] == status
    return status, document


@pytest.mark.parametrize("piece", [1000, 10_000_000])
def test_a_head_that_never_ends_is_refused(connect: Callable[[], socket.socket], piece: int) -> None:
    connection = connect()
    head = b"GET /health/live HTTP/1.1\r\nHost: x\r\n" + b"X-Long: " + b"a" * (2 * MAX_HEAD_BYTES) + b"\r\n\r\n"
    for start in range(0, len(head), piece):
        connection.sendall(head[start : start + piece])
    status, document = status_and_document(everything(connection))
    assert (status, document["code"]) == (431, "head_too_large")


@pytest.mark.parametrize("endless", [b"X-Short: b\r\n" * 20_000, b"X-Long: " + b"a" * 200_000])
def test_trailers_have_the_same_bound(connect: Callable[[], socket.socket], endless: bytes) -> None:
    head = b"POST /v1/tags HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nRIFF\r\n0\r\n"
    few = connect()
    few.sendall(head + b"X-Short: b\r\nExpect: nothing\r\n\r\n")
    assert everything(few).startswith(b"HTTP/1.1 415 ")
    many = connect()
    many.sendall(head)
    time.sleep(0.05)
    many.sendall(endless)
    status, document = status_and_document(everything(many))
    assert (status, document["code"]) == (431, "head_too_large")


def test_a_head_that_comes_too_slowly_is_refused(connect: Callable[[], socket.socket]) -> None:
    connection, started = connect(), time.monotonic()
    connection.sendall(b"GET /health/live HTTP/1.1\r\n")
    time.sleep(0.3)
    connection.sendall(b"Host: x\r\n")
    status, document = status_and_document(everything(connection))
    assert (status, document["code"]) == (408, "slow_request")
    assert time.monotonic() - started < 5


def test_what_is_no_http_is_a_problem_document(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(b"RIFF\x00\x00\x00\x00WAVE\r\n\r\n")
    status, document = status_and_document(everything(connection))
    assert (status, document["code"]) == (400, "malformed_request")


def test_a_connection_on_which_nothing_happens_is_closed(connect: Callable[[], socket.socket]) -> None:
    silent, used = connect(), connect()
    used.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert everything(used).startswith(b"HTTP/1.1 200 ")
    assert everything(silent) == b""


def test_requests_that_come_together_are_answered_one_after_the_other(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
    assert everything(connection).count(b'{"status":"live"}') == 3


def test_a_wish_for_another_protocol_is_answered_in_http(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
    )
    answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"connection: close" in answer.lower()


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("piece", [100, 10_000_000])
def test_the_body_behind_such_a_wish_is_read(
    connect: Callable[[], socket.socket], ten_seconds: bytes, chunked: bool, piece: int
) -> None:
    # as curl --http2 sends it, and Java's client by itself
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(ten_seconds)
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(ten_seconds), ten_seconds) if chunked else ten_seconds
    head = b"POST /v1/tags HTTP/1.1\r\nHost: x\r\n" + OFFER + length + b"\r\n\r\n"
    connection = connect()
    connection.sendall((head + body)[:piece])
    time.sleep(0.05)
    connection.sendall((head + body)[piece:])
    answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 200 ") and b'"duration":10.0' in answer


def test_what_is_no_http_behind_a_request_does_not_take_its_answer(
    connect: Callable[[], socket.socket], ten_seconds: bytes
) -> None:
    connection = connect()
    head = b"POST /v1/tags HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(ten_seconds)
    connection.sendall(head + ten_seconds + b"no request\r\n\r\n")
    answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.count(b"HTTP/1.1 ") == 1


def test_heads_that_come_together_are_not_as_long_as_all_of_them(connect: Callable[[], socket.socket]) -> None:
    connection, num_requests = connect(), 900  # more bytes than are read at once, so that a head comes in two parts
    connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Long: %b\r\n\r\n" % (b"a" * 400) * num_requests)
    assert everything(connection).count(b'{"status":"live"}') == num_requests


def test_of_requests_that_come_before_their_turn_a_number_is_kept(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)
    answer = everything(connection)
    assert answer.count(b"HTTP/1.1 ") == answer.count(b'{"status":"live"}') <= 2 * MAX_PIPELINED


def test_a_client_that_takes_nothing_of_its_answers_is_cut(connect: Callable[[], socket.socket]) -> None:
    deaf, num_answers = connect(), 200
    deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * num_answers)
    time.sleep(2.5)  # keep_alive_seconds is 1
    taken = b""
    with contextlib.suppress(ConnectionResetError):
        taken = everything(deaf)
    assert taken.count(b"HTTP/1.1 200 ") < num_answers


def test_a_client_that_takes_its_answers_slowly_gets_them(connect: Callable[[], socket.socket]) -> None:
    slow, num_answers, taken = connect(), 100, 0
    slow.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nX-Request-ID: slow\r\n\r\n" * num_answers)
    started = time.monotonic()
    while piece := slow.recv(200_000):
        taken += piece.count(b"x-request-id: slow")
        time.sleep(0.04 if time.monotonic() < started + 2.5 else 0)
    assert taken == num_answers


def test_a_large_answer_is_written_without_a_copy() -> None:
    written: list[bytes] = []
    transport = SimpleNamespace(write=written.append, is_closing=lambda: False)
    cycle = SimpleNamespace(scope={"method": "GET"}, response_started=True)
    answer: Any = _ClosesGently(SimpleNamespace(transport=transport), cycle)  # type: ignore[arg-type]
    large = bytes(1_000_000)
    for data in (b"head", large, b"head of the next", b"small"):
        answer.write(data)
    assert written[0] == b"head" and written[1] is large


def test_a_refused_client_that_sends_on_still_gets_its_answer(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    num_bytes = 20 * BODY_LIMIT
    connection.sendall(
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % num_bytes
    )
    for _ in range(20):
        connection.sendall(bytes(num_bytes // 20))
    connection.shutdown(socket.SHUT_WR)
    status, document = status_and_document(everything(connection))
    assert (status, document["code"]) == (413, "body_too_large")


def test_clients_that_send_much_read_nothing_and_leave_are_no_failure(new_server: Callable[..., Any]) -> None:
    server = new_server()
    for _ in range(3):
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", server.port))
            deaf.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.process.terminate()
    output, _ = server.process.communicate(timeout=20)
    assert server.process.returncode == 0 and "Traceback" not in output
