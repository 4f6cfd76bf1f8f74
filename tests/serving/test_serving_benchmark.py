"""The benchmark of the service: its arithmetic, its bundles, and, slowly and in small, all of its rows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import serving
from benchmarks.load_answers import CLOSED, Answer
from benchmarks.serving_batching import MAX_BATCH, SECOND
from benchmarks.serving_bench import Bench, compared_row, in_turn, limited_row, pcm_body, require_all_heard
from benchmarks.serving_bundles import GRID, RATE, write_loudness_bundle, write_network_bundle
from benchmarks.serving_overload import WINDOW_SECONDS, WINDOWS, slope_per_minute
from benchmarks.serving_parity import largest_difference
from desed_task.detector import Detector
from desed_task.errors import DesedTaskError


def test_ratios_are_above_1_where_we_are_better() -> None:
    cheaper = compared_row("cpu", "ms", [1.0, 2.0, 1.0], "peer", [4.0, 4.0, 5.0], more_is_better=False)
    faster = compared_row("rate", "1/s", [4.0, 4.0, 5.0], "peer", [1.0, 2.0, 1.0], more_is_better=True)
    assert (cheaper["value"], cheaper["peer_value"], cheaper["ratio"]) == (1.0, 4.0, 4.0)
    assert (faster["value"], faster["peer_value"], faster["ratio"]) == (4.0, 1.0, 4.0)


def test_limits_hold_to_the_value_itself() -> None:
    assert [limited_row("x", "ms", value, 10.0)["met"] for value in (9.0, 10.0, 10.1)] == [True, True, False]
    assert limited_row("x", "ms", 5.0, 10.0)["ratio"] == 2.0
    nothing_lost = limited_row("x", "requests", 0, 0)
    assert nothing_lost["met"] and nothing_lost["ratio"] is None
    assert limited_row("x", "requests", 1, 0) | {"met": True} != nothing_lost
    assert not limited_row("x", "requests", 1, 0)["met"]
    assert limited_row("x", "share", 0.9, 0.8, at_most=False)["ratio"] == pytest.approx(1.125)


def test_sides_take_turns_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []

    def side(name: str) -> float:
        order.append(name)
        return float(len(order))

    values = in_turn(2, {"a": lambda: side("a"), "b": lambda: side("b")})
    assert "".join(order) == "baabba"
    assert values == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


def test_growth_is_the_slope_of_a_straight_line() -> None:
    assert slope_per_minute([(0.0, 10.0), (30.0, 11.0), (60.0, 12.0)]) == pytest.approx(2.0)
    assert slope_per_minute([(1.0, 5.0)]) == 0.0


def test_what_was_not_heard_spoils_a_measurement() -> None:
    heard = Answer("clip", 0.0, 0.0, 1.0, 200)
    require_all_heard([heard])
    for others in ([], [heard, heard._replace(status=429)], [heard._replace(status=0, fault=CLOSED)]):
        with pytest.raises(DesedTaskError, match="not heard"):
            require_all_heard(others)


def test_bodies_and_windows_fit() -> None:
    assert len(pcm_body(10.0)) == 320_000
    assert len(pcm_body(WINDOWS * WINDOW_SECONDS)) == 2 * WINDOWS * GRID.num_samples(WINDOW_SECONDS)
    assert GRID.num_samples(WINDOW_SECONDS) % GRID.frame_samples == 0


def test_differences_are_those_of_scores_and_times() -> None:
    said = ({"dog": 0.5}, [("dog", 1.0, 2.0, 0.75)])
    assert largest_difference([said], [said]) == 0
    assert largest_difference([said], [({"dog": 0.5}, [("dog", 1.0, 2.25, 0.75)])]) == 0.25
    assert largest_difference([said], [({"dog": 0.375}, said[1])]) == 0.125
    assert largest_difference([said], [({"dog": 0.5}, [])]) == math.inf


def test_bundles_hear(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    loud = rng.normal(size=round(10 * SECOND * RATE)).astype(np.float32)
    loudness = Detector(write_loudness_bundle(tmp_path / "loudness", SECOND), "cpu", num_threads=1)
    assert len(loudness.bundle.windowing.cut(loud)) == 10
    assert [event.event_label for event in loudness.detect(loud)] == ["loud"]
    network = Detector(write_network_bundle(tmp_path / "network"), "cpu", num_threads=1)
    frames = network.scores(loud).frame_values
    assert frames is not None and np.ptp(frames) > 0.1


def test_without_its_peers_and_a_gpu_a_row_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, small=True, rounds=1)
    rows = [row for part in ("overhead litserve", "overhead ray") for row in serving.PARTS[part](bench)]
    assert [row["value"] for row in rows] == [None, None]
    assert all(row["note"].startswith("not measured: --peers_python") for row in rows)
    assert serving.line_of(rows[0]) == f"overhead litserve: {rows[0]['note']}"


@pytest.mark.slow
def test_every_row_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    assert serving.main(["--size", "small", "--rounds", "1", "--cuda_device", "cpu", "--json", str(path)]) == 0
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert {row["machine"] for row in rows} and all(row["size"] == "small" for row in rows)
    measured = {row["name"]: row for row in rows if row["value"] is not None}
    assert len(rows) - len(measured) == 2  # LitServe and Ray
    assert len(measured) == len(rows) - 2 >= 20
    for part in serving.PARTS:
        assert any(row["name"].startswith(part) for row in rows), part
    for name in ("sigterm", "kill decoder", "parity", "batcher idle", "overload 5x, 5xx or no answer"):
        assert measured[name]["met"], measured[name]
    assert 0 < measured["simulated throughput"]["value"] <= 1000 * MAX_BATCH / (3 + 0.25 * MAX_BATCH)
