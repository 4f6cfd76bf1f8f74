"""Bodies as real clients send them: too large, too slow, cut, or with nobody there any more when the answer comes."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.http.bodies import Upload

IDLE_SECONDS = 0.4
TWENTY_MB = 20_000_000


@pytest.fixture(scope="module")
def port(module_server: Callable[..., Any]) -> int:
    settings = [f"body_idle_seconds={IDLE_SECONDS}", "min_body_rate=2000", "max_body_bytes=2000000"]
    flags = [flag for setting in settings for flag in ("--set", setting)]
    started = module_server(*flags, "--set", "simulated={base_ms: 400, row_ms: 0}")
    return int(started.port)


def head(num_bytes: int | None, path: str = "/v1/events", *more: str) -> bytes:
    length = "Transfer-Encoding: chunked" if num_bytes is None else f"Content-Length: {num_bytes}"
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", length, *more, "", ""]).encode()


def read_answer(connection: socket.socket) -> tuple[int, dict[str, Any], bool]:
    """Status, document, and whether the server closes the connection."""
    answer = http.client.HTTPResponse(connection, method="POST")
    answer.begin()
    return answer.status, json.loads(answer.read()), answer.getheader("connection") == "close"


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def metric(port: int, line: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=20).text
    return next((float(row.rpartition(" ")[2]) for row in text.splitlines() if row.startswith(line)), 0.0)


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("claimed", [TWENTY_MB, None])
def test_a_client_that_sends_everything_first_sees_the_refusal(port: int, claimed: int | None) -> None:
    chunk = bytes(100_000)
    with connect(port) as connection:
        connection.sendall(head(claimed))
        for _ in range(TWENTY_MB // len(chunk)):
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk) if claimed is None else chunk)
        status, problem, closes = read_answer(connection)
        assert (status, problem["code"], closes) == (413, "body_too_large", True)
        assert connection.recv(1) == b""


def test_the_connection_goes_on_after_a_refusal_whose_rest_is_small(port: int, ten_seconds: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(head(len(ten_seconds), "/v1/events?top_k=0") + ten_seconds)
        status, problem, closes = read_answer(connection)
        assert (status, problem["code"], closes) == (422, "bad_parameter", False)
        connection.sendall(head(len(ten_seconds)) + ten_seconds)
        status, document, closes = read_answer(connection)
        assert (status, closes) == (200, False) and document["audio"]["duration"] == 10.0


def test_a_client_that_asks_first_is_refused_before_it_sends(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(head(300_000, "/v1/events?top_k=0", "Expect: 100-continue"))
        status, _, closes = read_answer(connection)
        assert (status, closes) == (422, True)


def test_a_client_that_asks_first_is_told_to_go_on(port: int, ten_seconds: bytes) -> None:
    with connect(port) as connection:
        connection.sendall(head(len(ten_seconds), "/v1/events", "Expect: 100-continue"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(ten_seconds)
        assert read_answer(connection)[0] == 200


def test_a_body_that_stands_still_is_refused(port: int) -> None:
    began = time.monotonic()
    with connect(port) as connection:
        connection.sendall(head(300_000) + b"RIFF")
        status, problem, closes = read_answer(connection)
        assert (status, problem["code"], closes) == (408, "body_too_slow", True)
    assert IDLE_SECONDS <= time.monotonic() - began < 10


def test_a_body_that_trickles_is_refused(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(head(300_000))
        for _ in range(12):  # 2.4 s, in each of which something arrives
            connection.sendall(bytes(10))
            time.sleep(0.1)
            connection.settimeout(0.1)
            try:
                if connection.recv(1, socket.MSG_PEEK):
                    break
            except TimeoutError:
                continue
        connection.settimeout(20)
        assert read_answer(connection)[1]["code"] == "body_too_slow"


def test_work_for_a_client_that_leaves_is_dropped(port: int, ten_seconds: bytes) -> None:
    def dropped() -> float:
        return metric(port, 'sed_dropped_total{reason="cancelled"}')

    before = dropped()
    leaving = [connect(port) for _ in range(3)]
    for connection in leaving:
        connection.sendall(head(len(ten_seconds)) + ten_seconds)
    time.sleep(0.15)  # the simulated device takes 0.4 s
    for connection in leaving:
        connection.close()
    assert eventually(lambda: dropped() == before + 3)
    assert eventually(lambda: metric(port, "sed_inflight_bytes ") == 0)
    assert metric(port, 'sed_http_requests_total{method="POST",route="/v1/events",status="499"}') >= 3


def test_a_client_that_leaves_while_it_sends_holds_nothing(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(head(1_900_000) + bytes(1_500_000))
    assert eventually(lambda: metric(port, "sed_inflight_bytes ") == 0)


def test_a_deadline_that_passes_is_504(port: int, ten_seconds: bytes) -> None:
    url = f"http://127.0.0.1:{port}/v1/events"
    late = httpx.post(url, content=ten_seconds, headers={"X-Deadline-Seconds": "0.1"}, timeout=20)
    assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
    for bad in ("0", "-1", "soon", "nan", "1e9"):
        answer = httpx.post(url, content=ten_seconds, headers={"X-Deadline-Seconds": bad}, timeout=20)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["parameter"] == "X-Deadline-Seconds"


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("multipart/form-data", b"x", 400, "malformed_form"),
        ("multipart/form-data; boundary=b", b"--b\r\nnonsense", 400, "malformed_form"),
        ("multipart/form-data; boundary=b", b"", 400, "malformed_form"),
        ("multipart/form-data; boundary=" + "b" * 300, b"--b", 400, "malformed_form"),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
            400,
            "malformed_form",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF',
            400,
            "malformed_form",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n1\r\n--b--\r\n',
            422,
            "file_missing",
        ),
    ],
)
def test_a_form_that_is_none_is_refused(port: int, content_type: str, body: bytes, status: int, code: str) -> None:
    url = f"http://127.0.0.1:{port}/v1/events"
    answer = httpx.post(url, content=body, headers={"Content-Type": content_type}, timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_form_with_too_much_in_it_is_refused(port: int, ten_seconds: bytes) -> None:
    url = f"http://127.0.0.1:{port}/v1/events"
    two = httpx.post(url, files=[("file", ("a.wav", ten_seconds)), ("file", ("b.wav", ten_seconds))], timeout=20)
    assert (two.status_code, two.json()["code"]) == (422, "too_many_files")
    file = {"file": ("a.wav", ten_seconds)}
    many = {f"field{n}": "x" * 1000 for n in range(99)}
    for fields in ({f"field{n}": "" for n in range(101)}, {"labels": "x" * 70_000}, many):
        answer = httpx.post(url, files=file, data=fields, timeout=20)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed_form")
    unknown = httpx.post(url, files=file, data={"colour": "red"}, timeout=20)
    assert unknown.json()["errors"][0]["parameter"] == "colour"


def test_a_compressed_body_is_not_taken(port: int) -> None:
    answer = httpx.post(
        f"http://127.0.0.1:{port}/v1/events", content=b"x", headers={"Content-Encoding": "gzip"}, timeout=20
    )
    assert (answer.status_code, answer.json()["code"]) == (415, "unknown_encoding")


def test_an_upload_stays_in_memory_up_to_a_mebibyte_then_has_no_name(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Upload() as small, Upload() as large:
        small.write(bytes(1 << 20))
        assert small.body() == bytes(1 << 20)
        pieces = [os.urandom(700_000) for _ in range(3)]
        for piece in pieces:
            large.write(piece)
        body = large.body()
        assert not isinstance(body, bytes)
        assert body.read() == b"".join(pieces)
        assert list(tmp_path.iterdir()) == []
    assert body.closed
