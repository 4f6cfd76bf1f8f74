"""A server that is asked to stop: it says so, loses nothing, and exits with 0. And one that takes new models."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

GRACE = 1.5


def post(connection: http.client.HTTPConnection, body: bytes) -> tuple[int, bool]:
    """The status of an answer that is there to its last byte, and whether it closes the connection."""
    connection.request("POST", "/v1/events", body)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    assert "events" in document if answer.status == 200 else document["code"] == "draining"
    return answer.status, answer.getheader("connection") == "close"


def probe(port: int) -> tuple[int, dict[str, Any]]:
    answer = httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=20)
    return answer.status_code, answer.json()


def begin_upload(port: int, body: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body[: len(body) // 2])
    return connection


def test_it_stops_in_three_steps(new_server: Callable[..., Any], ten_seconds: bytes) -> None:
    # SIGTERM      grace: not ready, everything served      refusals, until the upload is done      exit
    #    |------------------------------------------------------|-------------------------------------|
    server = new_server("--set", f"drain_grace_seconds={GRACE}")
    idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    assert post(idle, ten_seconds) == (200, False)
    upload = begin_upload(server.port, ten_seconds)
    assert probe(server.port)[0] == 200

    server.process.terminate()
    stopped = time.monotonic()
    status = 200
    while status == 200:
        assert time.monotonic() < stopped + GRACE
        status, document = probe(server.port)
    assert (status, document["code"]) == (503, "draining")
    told = httpx.get(f"{server.url}/health/ready", timeout=20)
    assert told.headers["retry-after"] == "1" and told.headers["x-request-id"] == told.json()["request_id"]
    assert post(idle, ten_seconds) == (200, True), "a connection that was kept alive is served and closed"
    assert httpx.post(f"{server.url}/v1/events", content=ten_seconds, timeout=30).status_code == 200

    time.sleep(max(0.0, stopped + GRACE + 0.5 - time.monotonic()))
    refused = httpx.post(f"{server.url}/v1/events", content=ten_seconds, timeout=30)
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) >= 1 and refused.headers["connection"] == "close"
    assert httpx.get(f"{server.url}/health/live", timeout=30).status_code == 200
    assert server.process.poll() is None

    upload.sendall(ten_seconds[len(ten_seconds) // 2 :])
    answer = upload.recv(65536)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"connection: close" in answer.lower()
    upload.close()
    assert server.process.wait(timeout=20) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


class Callers:
    """Clients with connections that they keep, each asking as fast as it is answered, until nobody listens."""

    def __init__(self, port: int, body: bytes, count: int, keep: bool = True) -> None:
        self.answers: Counter[int] = Counter()
        self.lost: list[str] = []
        self._port, self._body, self._keep, self._lock = port, body, keep, threading.Lock()
        self._threads = [threading.Thread(target=self._call) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive()

    def _call(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while True:
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            try:
                closes = False
                while not closes:
                    status, closes = post(connection, self._body)
                    closes = closes or not self._keep
                    with self._lock:
                        self.answers[status] += 1
            except Exception as error:
                with self._lock:
                    self.lost.append(repr(error))
            connection.close()


def test_nothing_is_lost_under_load(new_server: Callable[..., Any], ten_seconds: bytes) -> None:
    server = new_server("--set", "drain_grace_seconds=0.5")
    callers = Callers(server.port, ten_seconds, count=8)
    time.sleep(1.0)
    served = callers.answers[200]
    server.process.terminate()
    assert server.process.wait(timeout=30) == 0
    callers.wait()
    assert callers.lost == []
    assert callers.answers[200] > served > 0
    assert set(callers.answers) <= {200, 503}


def test_an_idle_connection_does_not_hold_the_server(new_server: Callable[..., Any], ten_seconds: bytes) -> None:
    server = new_server("--set", "drain_grace_seconds=0.2")
    idle = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    assert post(idle, ten_seconds)[0] == 200
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as silent:
        server.process.terminate()
        assert server.process.wait(timeout=4) == 0
        assert silent.recv(1) == b""


def test_a_second_signal_ends_it_at_once(new_server: Callable[..., Any], ten_seconds: bytes) -> None:
    server = new_server("--set", "drain_grace_seconds=0.2")
    with begin_upload(server.port, ten_seconds):
        probe(server.port)
        server.process.terminate()
        time.sleep(1)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=2) == 128 + signal.SIGINT


def test_an_upload_that_never_ends_does_not_hold_it_for_ever(
    new_server: Callable[..., Any], ten_seconds: bytes
) -> None:
    server = new_server("--set", "drain_grace_seconds=0", "--set", "drain_seconds=1")
    with begin_upload(server.port, ten_seconds) as upload:
        probe(server.port)
        server.process.terminate()
        assert server.process.wait(timeout=10) == 0
        assert not upload.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_never_reads_does_not_hold_it_for_ever(new_server: Callable[..., Any]) -> None:
    server = new_server("--set", "drain_grace_seconds=0", "--set", "drain_seconds=1")
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.settimeout(1)
        with contextlib.suppress(TimeoutError):
            deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        server.process.terminate()
        assert server.process.wait(timeout=15) == 0


def test_clients_with_a_connection_per_request_lose_nothing_either(
    new_server: Callable[..., Any], ten_seconds: bytes
) -> None:
    # The system has accepted connections for the server that the server has not seen when it closes its port.
    server = new_server("--set", "drain_grace_seconds=0.3")
    callers = Callers(server.port, ten_seconds[:32044], count=8, keep=False)
    time.sleep(0.5)
    server.process.terminate()
    assert server.process.wait(timeout=30) == 0
    callers.wait()
    assert callers.lost == [] and callers.answers[200] > 0


def test_sighup_takes_a_new_model_and_keeps_the_old_one_when_it_cannot(
    new_server: Callable[..., Any], tiny_bundle: Path, tmp_path: Path, ten_seconds: bytes
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    server = new_server(bundle=bundle)

    def version() -> str:
        (model,) = httpx.get(f"{server.url}/v1/models", timeout=30).json()["models"]
        return str(model["version"])

    def reload_until(reached: Callable[[], bool]) -> None:
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while not reached():
            assert time.monotonic() < deadline
            assert httpx.post(f"{server.url}/v1/events", content=ten_seconds, timeout=30).status_code == 200

    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["model"]["version"] = "2"
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    assert version() == "1"
    reload_until(lambda: version() == "2")
    shutil.rmtree(bundle)
    server.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert version() == "2"
    server.process.terminate()
    assert server.process.wait(timeout=20) == 0
    assert "goes on as it was" in server.process.stdout.read()


def test_sighup_takes_new_keys_and_keeps_the_old_ones_when_it_cannot(
    new_server: Callable[..., Any], tmp_path: Path, ten_seconds: bytes
) -> None:
    keys_file = tmp_path / "keys.yaml"

    def write_keys(*names: str) -> None:
        sums = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
        keys_file.write_text(json.dumps({"keys": [{"name": name, "sha256": value} for name, value in sums.items()]}))

    def status_for(key: str) -> int:
        headers = {"X-API-Key": key}
        return httpx.post(f"{server.url}/v1/events", content=ten_seconds, headers=headers, timeout=30).status_code

    write_keys("leaver", "stayer")
    server = new_server("--set", f"keys_file={keys_file}")
    assert [status_for(key) for key in ("leaver", "stayer", "comer")] == [200, 200, 401]
    write_keys("stayer", "comer")
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while status_for("comer") != 200:
        assert time.monotonic() < deadline
    assert [status_for(key) for key in ("leaver", "stayer")] == [401, 200]
    keys_file.write_text("keys: []")
    server.process.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert status_for("comer") == 200
    server.process.terminate()
    assert server.process.wait(timeout=20) == 0
    assert "the keys go on as they were" in server.process.stdout.read()
