"""What /metrics says, read by Prometheus' own parser, and what one request costs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.metrics import Metrics

CALLS_PER_REQUEST_SECONDS = 30e-6


def values(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, labels: Mapping[str, str] | None = None) -> float:
    return values(metrics)[name, frozenset((labels or {}).items())]


def one_request(metrics: Metrics) -> None:
    metrics.decoded("wav", 0.002)
    metrics.waited(0.001)
    metrics.batch("tiny", 3, 4, 0.0035)
    metrics.audio(10.0)
    metrics.request("/v1/events", "POST", 200, 0.012)


def test_a_request_is_counted_by_route_method_and_status_and_timed_by_route() -> None:
    metrics = Metrics()
    metrics.request("/v1/events", "POST", 200, 0.012)
    metrics.request("/v1/events", "POST", 200, 0.3)
    metrics.request("/v1/events", "POST", 429, 0.001)
    served = {"route": "/v1/events", "method": "POST", "status": "200"}
    assert value(metrics, "sed_http_requests_total", served) == 2
    assert value(metrics, "sed_http_requests_total", {**served, "status": "429"}) == 1
    assert value(metrics, "sed_http_request_duration_seconds_count", {"route": "/v1/events"}) == 3
    assert value(metrics, "sed_http_request_duration_seconds_sum", {"route": "/v1/events"}) == pytest.approx(0.313)
    assert value(metrics, "sed_http_request_duration_seconds_bucket", {"route": "/v1/events", "le": "0.02"}) == 2


def test_methods_that_a_client_invents_share_one_label() -> None:
    metrics = Metrics()
    for number in range(100):
        metrics.request("/v1/events", f"METHOD{number}", 405, 0.001)
    assert value(metrics, "sed_http_requests_total", {"route": "/v1/events", "method": "other", "status": "405"}) == 100


def test_a_batch_tells_its_size_its_padding_and_how_long_the_device_was_busy() -> None:
    metrics = Metrics()
    metrics.batch("tiny", 3, 4, 0.004)
    metrics.batch("tiny", 4, 4, 0.005)
    assert value(metrics, "sed_batch_size_sum") == 7
    assert value(metrics, "sed_batch_padding_ratio_sum") == 0.25
    assert value(metrics, "sed_batch_padding_ratio_bucket", {"le": "0.0"}) == 1
    assert value(metrics, "sed_inference_duration_seconds_count", {"model": "tiny", "bucket": "4"}) == 2
    assert value(metrics, "sed_gpu_busy_seconds_total") == pytest.approx(0.009)


def test_audio_decoding_waiting_and_refusals_are_counted() -> None:
    metrics = Metrics()
    metrics.audio(10)
    metrics.audio(2.5)
    metrics.decoded("flac", 0.02)
    metrics.decode_failed("empty")
    metrics.waited(0.5)
    metrics.rejected("overloaded")
    metrics.dropped("cancelled")
    assert value(metrics, "sed_request_audio_seconds_total") == 12.5
    assert value(metrics, "sed_decode_duration_seconds_sum", {"format": "flac"}) == pytest.approx(0.02)
    assert value(metrics, "sed_decode_failures_total", {"reason": "empty"}) == 1
    assert value(metrics, "sed_queue_duration_seconds_sum") == 0.5
    assert value(metrics, "sed_rejected_total", {"reason": "overloaded"}) == 1
    assert value(metrics, "sed_dropped_total", {"reason": "cancelled"}) == 1


def test_watched_values_are_read_when_the_metrics_are() -> None:
    metrics, waiting = Metrics(), [3.0]
    metrics.watch("queue_windows", lambda: waiting[0])
    assert value(metrics, "sed_queue_windows") == 3
    waiting[0] = 8
    assert value(metrics, "sed_queue_windows") == 8
    assert value(metrics, "sed_inflight_bytes") == 0


def test_a_new_version_of_a_model_takes_the_place_of_the_old_one() -> None:
    metrics = Metrics()
    metrics.model_ready("dogs", "1", "CPUExecutionProvider", False)
    assert value(metrics, "sed_model_ready", {"id": "dogs"}) == 0
    metrics.model_ready("dogs", "1", "CPUExecutionProvider", True)
    metrics.model_ready("dogs", "2", "CPUExecutionProvider", True)
    assert value(metrics, "sed_model_ready", {"id": "dogs"}) == 1
    versions = {dict(labels)["version"] for name, labels in values(metrics) if name == "sed_model_info"}
    assert versions == {"2"}


def test_servers_of_one_process_count_apart_and_threads_lose_nothing() -> None:
    counted, other = Metrics(), Metrics()
    with ThreadPoolExecutor(4) as pool:
        for _ in range(400):
            pool.submit(counted.request, "/v1/tags", "POST", 200, 0.01)
    labels = {"route": "/v1/tags", "method": "POST", "status": "200"}
    assert value(counted, "sed_http_requests_total", labels) == 400
    assert ("sed_http_requests_total", frozenset(labels.items())) not in values(other)


def test_nothing_but_the_families_that_are_documented_and_no_creation_times() -> None:
    metrics = Metrics()
    one_request(metrics)
    names = {family.name for family in text_string_to_metric_families(metrics.text().decode())}
    assert all(name.startswith(("sed_", "process_")) for name in names), names
    assert not any(name.endswith("_created") for name in names)
    assert {"process_resident_memory_bytes", "process_cpu_seconds"} <= names


def test_one_request_costs_less_than_30_microseconds() -> None:
    metrics, repetitions = Metrics(), 500
    one_request(metrics)
    fastest = float("inf")
    for _ in range(10):
        started = time.thread_time()
        for _ in range(repetitions):
            one_request(metrics)
        fastest = min(fastest, (time.thread_time() - started) / repetitions)
    assert fastest < CALLS_PER_REQUEST_SECONDS
