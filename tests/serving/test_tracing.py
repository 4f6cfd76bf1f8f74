"""Spans of requests: under the client's own, with the steps inside, and nothing at all without the setting."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from desed_task.errors import OptionsError
from serving.http.app import create_app
from serving.http.tracing import Tracer, build_tracer
from serving.settings import ServingOptions

CLIENT_SPAN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def spans(tiny_bundle: Path, ten_seconds: bytes) -> dict[str, Any]:
    """The finished spans of a probe, an answer and a refusal, by trace and name."""
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    app = create_app(ServingOptions(bundle=tiny_bundle, device="cpu", num_threads=1))
    app.state.services.tracer = Tracer(SimpleSpanProcessor(exporter))

    async def story() -> None:
        engine = app.state.engine
        engine.start()
        await asyncio.wrap_future(engine.loaded)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as client:
            sent = {"traceparent": CLIENT_SPAN, "x-request-id": "mine"}
            assert (await client.post("/v1/events", content=ten_seconds, headers=sent)).status_code == 200
            assert (await client.post("/v1/tags", content=b"no audio")).status_code == 415
            unsampled = {"traceparent": CLIENT_SPAN[:-2] + "00"}
            assert (await client.get("/v1/models", headers=unsampled)).status_code == 200
        engine.close()

    asyncio.run(story())
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_request_is_a_child_of_the_clients_span(spans: dict[str, Any]) -> None:
    span = spans["POST /v1/events"]
    assert f"{span.context.trace_id:032x}" == CLIENT_SPAN.split("-")[1]
    assert f"{span.parent.span_id:016x}" == CLIENT_SPAN.split("-")[2]
    assert span.kind.name == "SERVER"
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["sed.request_id"] == "mine"
    assert span.attributes["sed.audio_seconds"] == pytest.approx(10.0)


def test_decode_queue_and_inference_stand_inside_the_request(spans: dict[str, Any]) -> None:
    request = spans["POST /v1/events"]
    steps = [spans[name] for name in ("decode", "queue", "inference")]
    assert all(step.parent.span_id == request.context.span_id for step in steps)
    assert all(step.end_time >= step.start_time for step in steps)
    assert request.start_time <= steps[0].start_time
    assert [step.start_time for step in steps[1:]] == [step.end_time for step in steps[:-1]]
    assert steps[-1].end_time <= request.end_time


def test_a_refusal_is_a_trace_of_its_own_with_its_code(spans: dict[str, Any]) -> None:
    span = spans["POST /v1/tags"]
    assert span.parent is None
    assert span.attributes["error.type"] == "unknown_container"
    assert span.status.status_code.name == "UNSET", "the client's fault is no error of the server"


def test_a_trace_that_the_client_does_not_sample_is_not_written(spans: dict[str, Any]) -> None:
    assert "GET /v1/models" not in spans


def test_without_the_setting_nothing_that_writes_spans_is_imported(project: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from serving.http.app import create_app\n"
        "from serving.settings import ServingOptions\n"
        "create_app(ServingOptions(bundle=Path('b'))); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    # The framework looks for OpenTelemetry's API itself.
    ours = ("opentelemetry.sdk", "opentelemetry.exporter")
    assert not [name for name in loaded.stdout.split() if name.startswith(ours)]


def test_a_missing_extra_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with pytest.raises(OptionsError, match=r"tracing_endpoint: .* is missing; install it with .*desed-task\[trace\]"):
        build_tracer("http://localhost:4318/v1/traces")


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(OptionsError, match="'localhost:4318' is no address; write http://"):
        build_tracer("localhost:4318")
    assert build_tracer(None) is None
