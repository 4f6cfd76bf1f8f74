"""The benchmark of a tagger's figures in small: its rows can be made, and values that differ are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import tagging_metrics
from benchmarks.tagging_metrics import draw_tags, main
from desed_task.errors import DesedTaskError

ROW_KEYS = {"name", "value", "unit", "peer", "peer_value", "ratio", "machine", "threads", "gflops", "repeats", "note"}


def test_both_rows_agree_with_scikit_learn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    assert main(["--size", "small", "--repeats", "1", "--json", str(tmp_path / "rows.json")]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["name"] for row in rows] == ["ranking", "bootstrap"]
    for row in rows:
        assert row.keys() >= ROW_KEYS
        assert row["peer"].startswith("scikit-learn ")
        assert row["size"] == "small"
    assert "ranking" in capsys.readouterr().out


def test_another_value_than_the_peers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    real = tagging_metrics.rank_there

    def slightly_off(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        return {name: values + 1e-11 for name, values in real(scores, truth).items()}

    monkeypatch.setattr(tagging_metrics, "rank_there", slightly_off)
    with pytest.raises(DesedTaskError, match="average_precision: 1e-11 away from scikit-learn"):
        main(["--size", "small", "--repeats", "1", "--only", "ranking"])


def test_classes_are_as_rare_as_those_of_audioset() -> None:
    scores, truth = draw_tags(4000, 100)
    share = truth.mean(axis=0)
    assert share.max() == pytest.approx(tagging_metrics.MOST_FREQUENT, rel=0.1)
    assert np.median(share) == pytest.approx(0.004, rel=0.3)
    assert len(np.unique(scores[:, 0])) < len(scores)
