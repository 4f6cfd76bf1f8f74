"""The life of a server: not ready, ready, stopped; and what it says when it cannot start."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from desed_task.errors import BundleError, DesedTaskError, OptionsError
from desed_task.options import read_options
from serving.http.app import create_app
from serving.http.request_log import JsonLines
from serving.server import serve
from serving.settings import ServingOptions


def test_it_is_ready_only_when_the_model_is_warm(tiny_bundle: Path, ten_seconds: bytes) -> None:
    app = create_app(ServingOptions(bundle=tiny_bundle, device="cpu", num_threads=1))
    engine = app.state.engine

    async def story() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            assert (await client.get("/health/live")).status_code == 200
            for request in (client.get("/health/ready"), client.post("/v1/events", content=ten_seconds)):
                answer = await request
                assert answer.status_code == 503
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["code"] == "not_ready"
            engine.start()
            await asyncio.wrap_future(engine.loaded)
            assert (await client.get("/health/ready")).status_code == 200
            assert (await client.post("/v1/events", content=ten_seconds)).status_code == 200
        engine.close()

    asyncio.run(story())


@pytest.mark.parametrize(("error", "code"), [(ZeroDivisionError, "internal_error"), (BundleError, "model_failed")])
def test_a_failure_is_a_problem_too_and_the_log_names_the_request(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Any, code: str
) -> None:
    app = create_app(ServingOptions(bundle=tiny_bundle))

    async def broken(*arguments: object) -> None:
        raise error("of a secret kind")

    async def story() -> None:
        engine = app.state.engine
        engine.start()
        await asyncio.wrap_future(engine.loaded)
        monkeypatch.setattr(engine, "listen", broken)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            answer = await client.post("/v1/events", content=b"RIFF")
        assert (answer.status_code, answer.json()["code"]) == (500, code)
        assert answer.headers["content-type"] == "application/problem+json" and "secret" not in answer.text
        (told,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert told.getMessage().startswith(f"request {answer.json()['request_id']}: ") and "secret" in caplog.text
        engine.close()

    asyncio.run(story())


def test_sigterm_lets_the_request_in_progress_end_and_exits_0(
    new_server: Callable[..., Any], ten_seconds: bytes
) -> None:
    server = new_server()
    half = len(ten_seconds) // 2
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: {len(ten_seconds)}\r\n\r\n"
        connection.sendall(head.encode() + ten_seconds[:half])
        # An answered probe shows that the server has seen the upload begin.
        httpx.get(f"{server.url}/health/live")
        server.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(timeout=0.5)
        connection.sendall(ten_seconds[half:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert server.process.wait(timeout=20) == 0
    output = server.process.stdout.read()
    assert re.fullmatch(rf"ready on http://127\.0\.0\.1:{server.port}\n", output)


def test_whatever_it_logs_is_a_line_of_json(new_server: Callable[..., Any]) -> None:
    server = new_server("--set", "request_log=true")
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert httpx.post(f"{server.url}/v1/events", content=b"--b\r\nno\r\nform", headers=form).status_code == 400
    server.process.send_signal(signal.SIGHUP)
    lines: list[dict[str, Any]] = []
    assert server.process.stdout.readline().startswith("ready on ")
    while not lines or "was loaded again" not in lines[-1].get("message", ""):
        lines.append(json.loads(server.process.stdout.readline()))
    request, reload = lines
    assert (request["route"], request["code"]) == ("/v1/events", "malformed_form")
    assert reload["level"] == "warning" and reload["time"] >= request["time"]


def test_a_bug_is_one_line_of_the_log() -> None:
    try:
        raise ZeroDivisionError("of no\nimportance")
    except ZeroDivisionError:
        record = logging.getLogger("serving").makeRecord(
            "serving", logging.ERROR, "file", 1, "request %s: a bug", ("1",), sys.exc_info()
        )
    text = JsonLines().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert (line["level"], line["message"]) == ("error", "request 1: a bug") and "ZeroDivisionError" in line[
        "traceback"
    ]


def test_sigint_exits_0(new_server: Callable[..., Any]) -> None:
    server = new_server()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=20) == 0


@pytest.mark.parametrize("name", ["missing", "student.ckpt"])
def test_a_bundle_that_is_none_is_one_sentence_and_exit_code_2(tmp_path: Path, name: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "serving", "--bundle", str(tmp_path / name), "--port", "0"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert re.fullmatch(r"error: [^\n]+\n", finished.stderr)


def test_a_port_file_needs_its_folder(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DesedTaskError, match="does not exist; make it first"):
        serve(["--bundle", str(tiny_bundle), "--port", "0", "--port-file", str(tmp_path / "nowhere" / "port")])


def test_the_console_script_knows_the_verb(project: Path) -> None:
    code = "from serving.cli import main; import sys; sys.argv[1:] = ['serve', '--bundle', 'nowhere']; main()"
    finished = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60, cwd=project
    )
    assert finished.returncode == 2
    assert finished.stderr == "error: nowhere: no such bundle folder\n"


def test_a_port_that_is_taken_is_refused(tiny_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DesedTaskError, match=f"cannot listen on 127.0.0.1 port {port}"):
            serve(["--bundle", str(tiny_bundle), "--port", str(port)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "bundle: missing; add it"),
        (["--bundle", "b", "--port", "70000"], "port"),
        (["--bundle", "b", "--set", "max_body_byte=3"], "did you mean 'max_body_bytes'"),
        (["--bundle", "b", "--set", "max_batch=0"], "max_batch"),
        (["--bundle", "b", "--host", ""], "--host: host: "),
    ],
)
def test_settings_that_cannot_be_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        serve(arguments)


def test_the_conf_of_the_repository_holds_all_settings_with_their_defaults(project: Path) -> None:
    conf = project / "confs" / "serving.yaml"
    settings = read_options(conf, ServingOptions, ["bundle=somewhere"])
    assert settings == ServingOptions(bundle=Path("somewhere"))
    assert yaml.safe_load(conf.read_text(encoding="utf-8")).keys() == ServingOptions.model_fields.keys() - {"bundle"}
