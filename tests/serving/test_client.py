"""The client, blocking and concurrent, against a real server, and against one that answers as it is told."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from desed_task.detector import Detector
from serving.client import (
    AsyncClient,
    Client,
    ClientError,
    OverloadedError,
    Result,
    ServiceError,
    UnreachableError,
)
from serving.client.asking import Tries
from serving.client.recordings import as_body
from serving.client.results import read_batch

Call = Callable[..., Any]


def ask_blocking(
    url: str, method: str, *arguments: Any, settings: dict[str, Any] | None = None, **parameters: Any
) -> Any:
    with Client(url, **(settings or {})) as client:
        return getattr(client, method)(*arguments, **parameters)


def ask_concurrent(
    url: str, method: str, *arguments: Any, settings: dict[str, Any] | None = None, **parameters: Any
) -> Any:
    async def call() -> Any:
        async with AsyncClient(url, **(settings or {})) as client:
            return await getattr(client, method)(*arguments, **parameters)

    return asyncio.run(call())


@pytest.fixture(params=[ask_blocking, ask_concurrent], ids=["blocking", "concurrent"])
def ask(request: pytest.FixtureRequest) -> Call:
    call: Call = request.param
    return call


def spans(result: Result) -> list[tuple[str, float, float]]:
    return [(event.label, event.onset, event.offset) for event in result.events]


def test_a_path_bytes_and_waveforms_are_heard_alike(
    ask: Call, server: Any, ten_seconds: bytes, tmp_path: Path, tiny_bundle: Path
) -> None:
    path = tmp_path / "tone.wav"
    path.write_bytes(ten_seconds)
    pcm = np.frombuffer(ten_seconds[44:], dtype="<i2").astype(np.int16)
    samples = (pcm / 32768).astype(np.float32)
    expected = Detector(tiny_bundle, device="cpu", num_threads=1).detect(samples)
    found = [
        ask(server.url, "events", path),
        ask(server.url, "events", str(path)),
        ask(server.url, "events", ten_seconds),
        ask(server.url, "events", pcm, 16000),
        ask(server.url, "events", samples, sample_rate=16000),
        ask(server.url, "events", np.stack([samples, samples], axis=1).astype(np.float64), sample_rate=16000),
    ]
    for result in found:
        assert spans(result) == [(event.event_label, event.onset, event.offset) for event in expected]
        assert result.model.id == "tiny" and result.tags == found[0].tags
        assert result.timing.total > 0 and not result.warnings
    assert [result.audio.channels for result in found] == [1, 1, 1, 1, 1, 2]


def test_parameters_reach_the_service(ask: Call, server: Any, ten_seconds: bytes) -> None:
    result = ask(server.url, "events", ten_seconds, labels=["quiet"], frames=True, strict=True, deadline=20)
    assert {event.label for event in result.events} == {"quiet"}
    assert result.frames.labels == ("quiet",)
    assert result.frames.scores.shape == result.frames.shape and result.frames.scores.dtype == np.float32
    assert ask(server.url, "events", ten_seconds, thresholds={"loud": 1.0, "quiet": 1.0}).events == ()
    tags = ask(server.url, "tags", ten_seconds, top_k=1, model="tiny")
    assert len(tags.tags) == 1 and tags.events == ()


def test_a_large_file_is_sent_piece_by_piece(
    ask: Call, server: Any, tmp_path: Path, make_tone: Call, make_bytes: Call
) -> None:
    path = tmp_path / "minute.wav"
    path.write_bytes(make_bytes(make_tone(50, (31.0, 33.5)), subtype="PCM_16"))
    assert path.stat().st_size > 1_500_000
    result = ask(server.url, "events", path)
    ((onset, offset),) = [(event.onset, event.offset) for event in result.events if event.label == "loud"]
    assert (onset, offset) == (pytest.approx(31.0, abs=0.07), pytest.approx(33.5, abs=0.07))
    assert result.audio.duration == pytest.approx(50)


def test_a_batch_answers_in_order_and_says_which_could_not_be_heard(
    ask: Call, server: Any, ten_seconds: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "tone.wav"
    path.write_bytes(ten_seconds)
    first, second = ask(server.url, "batch", [path, b"this is no audio"], top_k=1)
    assert first.file_name == "tone.wav" and first.error is None and len(first.result.tags) == 1
    assert second.result is None and (second.error.status, second.error.code) == (415, "unknown_container")


def test_a_recording_of_a_batch_says_when_to_come_again() -> None:
    problem = {"status": 429, "code": "overloaded", "detail": "come again", "retry_after": 3}
    (item,) = read_batch({"results": [{"file_name": "a.wav", "status": 429, "problem": problem}]})
    assert item.error is not None and (item.error.code, item.error.retry_after) == ("overloaded", 3)


def test_models_and_readiness(ask: Call, server: Any) -> None:
    (model,) = ask(server.url, "models")
    assert (model.id, model.labels, model.sample_rate) == ("tiny", ("loud", "quiet"), 16000)
    assert ask(server.url, "ready") is True
    assert ask("http://127.0.0.1:9", "ready") is False


def test_a_refusal_is_an_error_with_the_problem(ask: Call, server: Any) -> None:
    with pytest.raises(ServiceError) as refusal:
        ask(server.url, "events", b"this is no audio")
    error = refusal.value
    assert (error.status, error.code) == (415, "unknown_container") and not isinstance(error, OverloadedError)
    assert error.problem["instance"] == "/v1/events" and error.request_id
    assert error.detail in str(error)


# A service that answers as it is told.


class Told:
    """The answers it gives one after the other, the last one for ever; what it was asked, and when."""

    def __init__(self, *answers: tuple[int, dict[str, str]]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[float, dict[str, str], bytes]] = []
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                told.asked.append((time.monotonic(), dict(self.headers.items()), body))
                status, headers = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
                document = ANSWER if status == 200 else {"status": status, "code": "told", "detail": "as told"}
                content = b"<html>" if headers.pop("html", "") else json.dumps(document).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


ANSWER = {
    "id": "1",
    "model": {"id": "m", "version": "1", "sha256": "0", "something": "new"},
    "audio": {"duration": 1.0, "sample_rate": 16000, "channels": 1, "format": "WAV"},
    "tags": [{"label": "dog", "score": 0.5, "calibrated": True}],
    "events": [],
    "warnings": [],
    "timing": {"queue": 0.0, "decode": 0.0, "inference": 0.0, "total": 0.0},
    "weather": "fine",
}


@pytest.fixture
def told() -> Iterator[Callable[..., Told]]:
    started: list[Told] = []

    def start(*answers: tuple[int, dict[str, str]]) -> Told:
        started.append(Told(*answers))
        return started[-1]

    yield start
    for one in started:
        one.server.shutdown()
        one.server.server_close()


def test_overload_is_waited_for_as_long_as_the_service_asks(
    ask: Call, told: Callable[..., Told], tmp_path: Path
) -> None:
    path = tmp_path / "recording"
    path.write_bytes(bytes(1_500_000))
    service = told((429, {"Retry-After": "1"}), (503, {"Retry-After": "0"}), (200, {}))
    result = ask(service.url, "events", path)
    assert len(service.asked) == 3 and service.asked[1][0] - service.asked[0][0] >= 1.0
    assert [body for _, _, body in service.asked] == [path.read_bytes()] * 3, "each try sends the whole file"
    assert result.tags[0].label == "dog" and result.document["weather"] == "fine"


def test_waiting_ends_at_its_bound_with_the_refusal(ask: Call, told: Callable[..., Told]) -> None:
    service = told((429, {"Retry-After": "7"}))
    started = time.monotonic()
    with pytest.raises(OverloadedError) as refusal:
        ask(service.url, "events", b"x", settings={"max_wait": 5})
    assert len(service.asked) == 1 and time.monotonic() - started < 5
    assert (refusal.value.status, refusal.value.code, refusal.value.retry_after) == (429, "told", 7.0)


def test_who_asks_for_no_wait_is_not_asked_at_once(ask: Call, told: Callable[..., Told]) -> None:
    service = told((503, {"Retry-After": "0"}))
    with pytest.raises(OverloadedError):
        ask(service.url, "events", b"x", settings={"max_wait": 1})
    assert len(service.asked) <= 5


def test_many_tries_wait_no_longer_than_the_longest() -> None:
    tries = Tries(max_wait=1e9, num_failed=5000)
    assert 5 <= tries.wait_after(httpx.ConnectError("nobody")) <= 10


def test_what_the_service_never_says_is_an_error_of_the_client(ask: Call, told: Callable[..., Told]) -> None:
    service = told((200, {"html": "yes"}))
    with pytest.raises(ClientError, match="answers what this client cannot read"):
        ask(service.url, "events", b"x")
    assert len(service.asked) == 1
    with pytest.raises(ClientError, match="answers what this client cannot read"):
        ask(told((200, {})).url, "batch", [b"x"])


def test_another_address_is_told(ask: Call, told: Callable[..., Told]) -> None:
    with pytest.raises(ServiceError, match=r"another address, https://yard\.example/"):
        ask(told((308, {"Location": "https://yard.example/", "html": "yes"})).url, "events", b"x")


def test_a_refusal_that_does_not_pass_is_not_tried_again(ask: Call, told: Callable[..., Told]) -> None:
    service = told((504, {}))
    with pytest.raises(ServiceError, match="504 told: as told"):
        ask(service.url, "events", b"x")
    assert len(service.asked) == 1


def test_what_is_no_problem_document_is_an_error_all_the_same(ask: Call, told: Callable[..., Told]) -> None:
    with pytest.raises(ServiceError) as refusal:
        ask(told((502, {"html": "yes"})).url, "events", b"x", settings={"max_wait": 0})
    assert (refusal.value.status, refusal.value.code, refusal.value.problem) == (502, "unknown", {})


def test_nobody_at_the_address_is_one_kind_of_error(ask: Call) -> None:
    with pytest.raises(UnreachableError, match="ConnectError"):
        ask("http://127.0.0.1:9", "models", settings={"max_wait": 0})


def test_the_key_and_the_deadline_are_headers(ask: Call, told: Callable[..., Told]) -> None:
    service = told((200, {}))
    ask(service.url, "events", b"x", deadline=2.5, settings={"key": "sed_secret"})
    ((_, headers, _),) = service.asked
    lowered = {name.lower(): value for name, value in headers.items()}
    assert lowered["authorization"] == "Bearer sed_secret" and lowered["x-deadline-seconds"] == "2.5"
    assert lowered["content-length"] == "1" and "transfer-encoding" not in lowered


def test_an_answer_that_never_comes_is_given_up(ask: Call) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler, bind_and_activate=True) as silent:
        url = f"http://127.0.0.1:{silent.server_port}"
        with pytest.raises(UnreachableError, match="ReadTimeout"):
            ask(url, "models", settings={"timeout": 0.2, "max_wait": 0})


def test_the_line_break_of_a_file_is_no_part_of_its_key(ask: Call, told: Callable[..., Told]) -> None:
    service = told((200, {}))
    ask(service.url, "events", b"x", settings={"key": "sed_secret\n"})
    assert {value for name, value in service.asked[0][1].items() if name.lower() == "authorization"} == {
        "Bearer sed_secret"
    }


def test_numbers_of_numpy_are_numbers(ask: Call, server: Any, ten_seconds: bytes) -> None:
    one, half = np.int64(1), np.float32(0.5)
    found = ask(server.url, "events", ten_seconds, top_k=one, min_duration=half, thresholds={"loud": half})
    assert len(found.tags) == 1 and found.events
    assert ask(server.url, "events", ten_seconds, frames=np.True_).frames is not None
    samples = np.zeros(16000, dtype=np.float32)
    assert ask(server.url, "tags", samples, sample_rate=np.float64(16000)).audio.sample_rate == 16000


# The caller's own mistakes.


@pytest.mark.parametrize(
    ("recording", "sample_rate", "message"),
    [
        (np.zeros(10, dtype=np.float32), None, "give `sample_rate`"),
        (b"x", 16000, "with an array only"),
        ("x.wav", 16000, "with an array only"),
        ([0.0, 1.0], 16000, "a path, bytes or an array, not list"),
        (np.zeros((1, 2, 3)), 16000, r"not \(1, 2, 3\)"),
        (np.zeros(10, dtype=np.int64), 16000, "float in .* or int16, not int64"),
        (np.zeros(10, dtype=np.int16), 22050.5, "a whole number of Hz, not 22050.5"),
        (np.zeros(10, dtype=np.float32), 0, "a whole number of Hz, not 0"),
    ],
)
def test_what_is_no_recording_is_told_before_anything_is_sent(
    recording: Any, sample_rate: int | None, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        as_body(recording, sample_rate)


def test_a_misspelt_parameter_an_address_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no parameter 'treshold'; there are model, threshold"):
        ask_blocking("http://127.0.0.1:9", "events", b"x", treshold=1)
    with pytest.raises(ValueError, match="'localhost:8000' is no address"):
        Client("localhost:8000")
    for key in ("", "sed_\x00", "sed_é"):
        with pytest.raises(ValueError, match="the key is empty, or has characters"):
            Client("http://localhost:8000", key=key)
    with pytest.raises(ValueError, match="a batch of no recordings"):
        ask_blocking("http://127.0.0.1:9", "batch", [])
    with pytest.raises(FileNotFoundError):
        ask_blocking("http://127.0.0.1:9", "events", tmp_path / "missing.wav")


def test_the_client_imports_nothing_of_the_service(project: Path) -> None:
    code = "import serving.client, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    names = set(loaded.stdout.split())
    assert not names & {"fastapi", "starlette", "uvicorn", "pydantic", "onnxruntime", "numpy", "desed_task", "av"}
    own = {name for name in names if name.startswith("serving")}
    assert all(name == "serving" or name.startswith("serving.client") for name in own)
