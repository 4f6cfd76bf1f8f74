"""Metrics: what the service counts, as Prometheus reads it at /metrics.

Names begin with `sed_`, times are seconds, and a request's time falls into queue, decode, batch and inference. Labels
have few values: routes are templates (`/v1/models/{id}`), never paths; no metric is labelled by file name or key.
Rates and means are the reader's: rate(sed_gpu_busy_seconds_total[1m]) is the share of the time in which the device
(the GPU, or the processor where the model runs there) was busy.

A call costs about a microsecond, since the children of labels are kept in dicts. One process, so one registry of its
own and no shared files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
Watched = Literal["queue_audio_seconds", "queue_windows", "inflight_bytes", "inflight_requests"]

# Seconds: from a fast probe to a long recording's answer; from a short PCM clip to a film's soundtrack.
_REQUEST_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_STEP_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0)
_BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_PADDING_RATIOS = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WATCHED: dict[Watched, str] = {
    "queue_audio_seconds": "Audio that was admitted and is not answered yet, in seconds.",
    "queue_windows": "Windows that wait for the model.",
    "inflight_bytes": "Bytes of the bodies that are held now.",
    "inflight_requests": "Requests that are being answered now.",
}


class Metrics:
    """The counters of one server; every method is cheap and safe in any thread."""

    def __init__(self) -> None:
        # A process-wide switch of the library: the time a series began is a second line per series, read by nobody.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._make_request_metrics()
        self._make_model_metrics()
        self._watched = {name: Gauge(f"sed_{name}", text, registry=self._registry) for name, text in _WATCHED.items()}

    def _make_request_metrics(self) -> None:
        requests = self._counter("sed_http_requests_total", "Requests that were answered.", "route", "method", "status")
        durations = self._histogram(
            "sed_http_request_duration_seconds", "From a request's head to its answer.", _REQUEST_SECONDS, "route"
        )
        decoding = self._histogram(
            "sed_decode_duration_seconds", "Decoding and resampling of one recording.", _STEP_SECONDS, "format"
        )
        failures = self._counter("sed_decode_failures_total", "Recordings that could not be decoded.", "reason")
        rejected = self._counter("sed_rejected_total", "Requests that were refused at the door.", "reason")
        dropped = self._counter("sed_dropped_total", "Recordings given up before their end.", "reason")
        self._audio_seconds = self._counter("sed_request_audio_seconds_total", "Audio that was answered, in seconds.")
        self._queue_seconds = self._histogram(
            "sed_queue_duration_seconds", "How long a recording waited for the model.", _STEP_SECONDS
        )
        self._requests = _Children(requests)
        self._durations = _Children(durations)
        self._decoding = _Children(decoding)
        self._failures = _Children(failures)
        self._rejected = _Children(rejected)
        self._dropped = _Children(dropped)

    def _make_model_metrics(self) -> None:
        self._batch_rows = self._histogram("sed_batch_size", "Windows in one call of the model.", _BATCH_ROWS)
        self._padding = self._histogram(
            "sed_batch_padding_ratio", "Rows of a batch that hold no window, as a share of its bucket.", _PADDING_RATIOS
        )
        inference = self._histogram(
            "sed_inference_duration_seconds", "One call of the model.", _STEP_SECONDS, "model", "bucket"
        )
        self._inference = _Children(inference)
        self._busy_seconds = self._counter(
            "sed_gpu_busy_seconds_total", "Time in which the device (GPU or processor) ran a model, in seconds."
        )
        self._model_info = Gauge(
            "sed_model_info", "1 for each model that is served.", ("id", "version", "provider"), registry=self._registry
        )
        self._model_ready = Gauge(
            "sed_model_ready", "1 when the model is warm, else 0.", ("id",), registry=self._registry
        )
        self._versions: dict[str, tuple[str, str]] = {}

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """An answered request; `route` is a template of the application, `method` is counted as "other" if unknown."""
        self._requests[(route, method if method in _METHODS else "other", str(status))].inc()
        self._durations[(route,)].observe(seconds)

    def audio(self, seconds: float) -> None:
        """A recording of so many seconds was answered."""
        self._audio_seconds.inc(seconds)

    def decoded(self, container: str, seconds: float) -> None:
        """A recording was decoded and resampled in so many seconds."""
        self._decoding[(container,)].observe(seconds)

    def decode_failed(self, reason: str) -> None:
        """A recording could not be decoded."""
        self._failures[(reason,)].inc()

    def waited(self, seconds: float) -> None:
        """A recording waited so long for the model."""
        self._queue_seconds.observe(seconds)

    def batch(self, model: str, rows: int, bucket: int, seconds: float) -> None:
        """The model ran once: `rows` windows, filled up to `bucket`."""
        self._batch_rows.observe(rows)
        self._padding.observe((bucket - rows) / bucket)
        self._inference[(model, str(bucket))].observe(seconds)
        self._busy_seconds.inc(seconds)

    def rejected(self, reason: str) -> None:
        """A request was refused before it began."""
        self._rejected[(reason,)].inc()

    def dropped(self, reason: str) -> None:
        """A recording was given up: cancelled, deadline, disconnect."""
        self._dropped[(reason,)].inc()

    def watch(self, name: Watched, read: Callable[[], float]) -> None:
        """Ask `read` for this gauge whenever the metrics are read."""
        self._watched[name].set_function(read)

    def model_ready(self, model: str, version: str, provider: str, ready: bool) -> None:
        """A model has become warm or is so no more; a new version takes the place of the old one."""
        before = self._versions.get(model)
        if before is not None and before != (version, provider):
            self._model_info.remove(model, *before)
        self._versions[model] = (version, provider)
        self._model_info.labels(model, version, provider).set(1)
        self._model_ready.labels(model).set(float(ready))

    def text(self) -> bytes:
        """Everything in Prometheus' text format, of type `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self._registry, buckets=buckets)


_MetricType = TypeVar("_MetricType", Counter, Histogram)


class _Children(dict[tuple[str, ...], _MetricType]):
    """The children of a labelled metric, found by a dict's own lookup; made when first asked for."""

    def __init__(self, metric: _MetricType) -> None:
        super().__init__()
        self._metric: _MetricType = metric

    def __missing__(self, labels: tuple[str, ...]) -> _MetricType:
        return self.setdefault(labels, self._metric.labels(*labels))
