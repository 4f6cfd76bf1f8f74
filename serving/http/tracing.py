"""Tracer: spans of requests for OpenTelemetry, where `tracing_endpoint` says where they go.

    request                       POST /v1/events, a child of the client's span when it sends a W3C `traceparent`
    |-- decode -- queue -- inference

The spans are written when a request is answered, from the times that the engine measured anyway; without the setting
nothing here imports OpenTelemetry. Of a long recording the three steps interleave; their spans then stand one after
the other and show the sums. Needs the extra [trace].
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from desed_task.errors import OptionsError

_SERVICE = "desed-task"
_NANOSECONDS = 1_000_000_000
# A collector that does not answer must not hold up the end of the server.
_EXPORT_SECONDS = 2.0


class Steps(Protocol):
    """Where the time of a recording went, in seconds (`serving.inference.recording.Timing`)."""

    @property
    def queue(self) -> float: ...
    @property
    def decode(self) -> float: ...
    @property
    def inference(self) -> float: ...
    @property
    def total(self) -> float: ...


class Traced(Protocol):
    """What is read of a request (`serving.http.calls.Call`)."""

    headers: Mapping[bytes, bytes]
    id: str
    method: str
    route: str
    num_bytes: int
    audio_seconds: float
    container: str | None
    code: str | None

    @property
    def timing(self) -> Steps | None: ...


def build_tracer(endpoint: str | None) -> Tracer | None:
    """What sends spans to `endpoint` (OTLP over HTTP); None without one. OptionsError when that cannot be."""
    if endpoint is None:
        return None
    if not endpoint.startswith(("http://", "https://")):
        raise OptionsError(f"tracing_endpoint: {endpoint!r} is no address; write http://HOST:4318/v1/traces")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise OptionsError(
            f"tracing_endpoint: {error.name} is missing; install it with `pip install 'desed-task[trace]'`"
        ) from None
    return Tracer(BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=_EXPORT_SECONDS)))


class Tracer:
    """Writes the spans of requests. processor: an opentelemetry.sdk.trace.SpanProcessor, which sends them."""

    def __init__(self, processor: Any) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._api = trace
        self._provider = TracerProvider(resource=Resource.create({"service.name": _SERVICE}), shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("serving")
        self._propagator = TraceContextTextMapPropagator()

    def record(self, call: Traced, status: int, seconds: float) -> None:
        """Write the spans of a request that was answered now and took `seconds`."""
        end = time.time_ns()
        parent = self._propagator.extract(_text_headers(call.headers))
        request = self._tracer.start_span(
            f"{call.method} {call.route}",
            context=parent,
            kind=self._api.SpanKind.SERVER,
            start_time=end - round(seconds * _NANOSECONDS),
            attributes=_attributes(call, status),
        )
        if status >= 500:
            request.set_status(self._api.StatusCode.ERROR)
        if call.timing is not None and request.is_recording():
            self._record_steps(call.timing, self._api.set_span_in_context(request), end)
        request.end(end)

    def close(self) -> None:
        """Send what is still there."""
        self._provider.shutdown()

    def _record_steps(self, timing: Steps, context: Any, end: int) -> None:
        moment = end - round(timing.total * _NANOSECONDS)
        for name, seconds in (("decode", timing.decode), ("queue", timing.queue), ("inference", timing.inference)):
            span = self._tracer.start_span(name, context=context, start_time=moment)
            moment += round(seconds * _NANOSECONDS)
            span.end(moment)


def _text_headers(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    names = (b"traceparent", b"tracestate")
    return {name.decode("ascii"): headers[name].decode("latin-1") for name in names if name in headers}


def _attributes(call: Traced, status: int) -> dict[str, str | int | float]:
    attributes: dict[str, str | int | float] = {
        "http.request.method": call.method,
        "http.route": call.route,
        "http.response.status_code": status,
        "http.request.body.size": call.num_bytes,
        "sed.request_id": call.id,
    }
    if call.code is not None:
        attributes["error.type"] = call.code
    if call.container is not None:
        attributes |= {"sed.container": call.container, "sed.audio_seconds": call.audio_seconds}
    return attributes
