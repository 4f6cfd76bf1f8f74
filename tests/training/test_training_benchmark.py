"""The benchmark of training in small: its parts give whole rows, and a machine without CUDA says so."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import training, training_schedule
from benchmarks.schedule_clips import NoiseStore
from desed_task.errors import DesedTaskError

ROW_KEYS = {"name", "value", "unit", "peer", "peer_value", "ratio", "machine", "gflops", "size"}
CALLS: list[str] = []


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two parts that need no time; the second may fail."""
    modules: dict[str, Any] = {}
    for name, value in (("quick", 3.0), ("other", None)):
        row = {"name": name, "value": value, "unit": "s", "peer": "at most", "peer_value": 6.0, "machine": "mine"}
        found = [row | {"ratio": value and 6.0 / value, "note": "n"}]
        modules[name] = Namespace(rows=lambda arguments, found=found: found)
    monkeypatch.setattr(training, "PARTS", {name: name for name in modules})
    monkeypatch.setattr(training.importlib, "import_module", lambda name: modules[name])  # type: ignore[attr-defined]
    return modules


def test_rows_of_the_parts_stand_in_one_table_and_one_file(
    parts: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results" / "training.json"
    assert training.main(["--json", str(path), "--size", "small"]) == 0
    rows = json.loads(path.read_text())
    assert [row["name"] for row in rows] == ["quick", "other"]
    assert all(row.keys() >= ROW_KEYS and row["gflops"] > 0 for row in rows)
    assert all(f"torch {torch.__version__}" in row["machine"] for row in rows)
    quick, other = capsys.readouterr().out.splitlines()
    assert "3 s" in quick
    assert "at most 6" in quick
    assert "ratio 2" in quick
    assert "not measured" in other


def test_a_part_that_fails_leaves_the_file_of_before(parts: dict[str, Any], tmp_path: Path) -> None:
    def fail(arguments: Namespace) -> list[Any]:
        raise DesedTaskError("no")

    path = tmp_path / "training.json"
    path.write_text("[]")
    parts["other"].rows = fail
    with pytest.raises(DesedTaskError):
        training.main(["--json", str(path)])
    assert [file.name for file in tmp_path.iterdir()] == ["training.json"]
    assert path.read_text() == "[]"


def test_one_part_alone(parts: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main(["--only", "other"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_machine_without_cuda_measures_no_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (row,) = training_schedule.rows(Namespace(size="full"))
    assert row["value"] is None
    assert row["ratio"] is None
    assert row["note"] == "not measured: no CUDA device here"


def test_a_store_of_noise_has_clips_like_a_packed_one() -> None:
    store = NoiseStore("noise", 5, 100)
    assert len(store.samples(3, 0, 100)) == 100
    assert len(store.samples(3, 90, 100)) == 10
    assert (store.samples(3, 40, 20) == store.samples(3, 0, 100)[40:60]).all()
    assert not (store.samples(3, 0, 100) == store.samples(4, 0, 100)).all()


def test_the_schedule_can_be_tried_anywhere_and_is_no_result_then() -> None:
    rows = training_schedule.rows(Namespace(size="small"))
    assert [row["name"] for row in rows] == ["schedule, float32", "schedule energy, float32"]
    assert all(row["value"] is None and row["ratio"] is None and row["note"].startswith("a trial") for row in rows)
    pieces = ("data", "mel", "student", "teacher", "losses", "backward", "optimiser")
    assert all(f"{piece}" in rows[0]["note"] for piece in pieces)
    assert "8 steps" in rows[0]["note"]
