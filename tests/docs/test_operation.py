"""The dashboard and the alert rules ask for what the service counts: every metric and label of theirs exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from serving.metrics import Metrics

METRIC = re.compile(r"\b((?:sed|process)_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
GROUPING = re.compile(r"\b(?:by|on|group_left)\s*\(([^)]*)\)")
# Of Prometheus itself, on every series.
TARGET_LABELS = {"instance", "job"}


@pytest.fixture(scope="module")
def samples() -> dict[str, set[str]]:
    """Every sample that a server which has seen everything gives, and its labels."""
    metrics = Metrics()
    metrics.request("/v1/events", "POST", 200, 0.01)
    metrics.audio(10)
    metrics.decoded("WAV", 0.01)
    metrics.decode_failed("format")
    metrics.batch("m", 1, 1, 0.01)
    metrics.waited(0.01)
    metrics.rejected("queue")
    metrics.dropped("cancelled")
    metrics.model_ready("m", "1", "CPUExecutionProvider", True)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.fixture(scope="module")
def dashboard(project: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((project / "docs/operation/grafana_dashboard.json").read_text())
    return document


@pytest.fixture(scope="module")
def rules(project: Path) -> list[dict[str, Any]]:
    tree = yaml.safe_load((project / "docs/operation/alerts.yaml").read_text())
    return [rule for group in tree["groups"] for rule in group["rules"]]


def faults(expression: str, samples: dict[str, set[str]]) -> Iterator[str]:
    """What an expression asks for and nobody says."""
    asked = METRIC.findall(expression)
    if not asked:
        yield "no metric at all"
    known = set(TARGET_LABELS)
    for name, matchers in asked:
        if name not in samples:
            yield f"no metric {name}"
            continue
        known |= samples[name]
        yield from (f"{name} has no label {label}" for label in LABEL.findall(matchers) if label not in known)
    for group in GROUPING.findall(expression):
        yield from (f"no label {label}" for label in re.findall(r"\w+", group) if label not in known)
    if expression.count("(") != expression.count(")"):
        yield "a bracket is open"


def test_every_panel_asks_for_what_there_is(dashboard: dict[str, Any], samples: dict[str, set[str]]) -> None:
    assert len(dashboard["panels"]) >= 10
    for panel in dashboard["panels"]:
        assert panel["title"] and panel["description"] and panel["targets"]
        for target in panel["targets"]:
            assert list(faults(target["expr"], samples)) == [], (panel["title"], target["expr"])


def test_the_dashboard_shows_where_a_requests_time_goes(dashboard: dict[str, Any]) -> None:
    text = json.dumps(dashboard)
    steps = ("queue_duration", "decode_duration", "inference_duration", "batch_size", "batch_padding_ratio")
    others = ("http_requests", "rejected", "dropped", "request_audio_seconds", "gpu_busy_seconds")
    assert all(f"sed_{name}" in text for name in (*steps, *others))


def test_panels_stand_beside_one_another(dashboard: dict[str, Any]) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells and place["x"] + place["w"] <= 24
        cells |= own
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_every_rule_asks_for_what_there_is(rules: list[dict[str, Any]], samples: dict[str, set[str]]) -> None:
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 6
    for rule in rules:
        assert list(faults(rule["expr"], samples)) == [], rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "description"} and re.fullmatch(r"\d+[mh]", rule["for"])


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(sed_requests_total[5m])", "no metric sed_requests_total"),
        ('rate(sed_http_requests_total{path="/"}[5m])', "sed_http_requests_total has no label path"),
        ("sum by (filename) (sed_queue_windows)", "no label filename"),
        ("sum(rate(sed_dropped_total[5m])", "a bracket is open"),
        ("up == 0", "no metric at all"),
    ],
)
def test_what_there_is_not_is_noticed(expression: str, fault: str, samples: dict[str, set[str]]) -> None:
    assert fault in list(faults(expression, samples))
