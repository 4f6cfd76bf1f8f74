"""Connections of a real server: bounds on heads, problem documents for what is no HTTP, answers that arrive."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from serving.connections import MAX_HEAD_BYTES

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
