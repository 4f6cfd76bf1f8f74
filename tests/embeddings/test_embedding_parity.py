"""The benchmark that compares embedders and fusion with published code: what was measured, and when it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import embedding_parity
from benchmarks.parity_desed_fusion import COMMIT, COMMIT_2022
from desed_task.errors import DesedTaskError

WAYS = ("global", "frame", "interpolate", "pool1d")


def test_rows_of_every_checkout_are_written_and_one_that_differs_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(name: str, difference: float) -> Any:
        return lambda checkout: iter([{"name": f"{checkout} {name}", "largest_difference": difference, "commit": "0"}])

    monkeypatch.setattr(
        embedding_parity,
        "PEERS",
        {"desed_task": ((rows("one", 1e-6), rows("two", 9e-5)), "0"), "desed_task_2022": ((rows("three", 2e-4),), "1")},
    )
    written = tmp_path / "parity.json"
    assert embedding_parity.main(["--desed_task", "new", "--json", str(written)]) == 0
    assert [row["name"] for row in json.loads(written.read_text())] == ["new one", "new two"]
    assert embedding_parity.main(["--desed_task_2022", "old"]) == 1
    assert "old three" in capsys.readouterr().out


def test_nothing_to_compare_with_is_refused() -> None:
    with pytest.raises(DesedTaskError, match="name a checkout by --desed_task, --desed_task_2022"):
        embedding_parity.main([])


def test_every_published_embedding_and_way_was_compared_and_agreed(project: Path) -> None:
    rows = json.loads((project / "docs" / "results" / "embedding_parity.json").read_text(encoding="utf-8"))
    assert all(row["largest_difference"] <= 1e-4 for row in rows)
    assert {row["commit"] for row in rows} == {COMMIT, COMMIT_2022}
    names = [row["name"] for row in rows]
    assert {"Cnn14_16k global", "Cnn14_16k frame", "ASTModel global", "ASTModel frame"} <= set(names)
    assert all(any(f": {way}, " in name for name in names) for way in WAYS)
    page = (project / "docs" / "embeddings.md").read_text(encoding="utf-8")
    assert COMMIT in page
    assert COMMIT_2022 in page
