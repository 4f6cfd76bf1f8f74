"""The benchmark of online scenes in small: both sides give the same, and the rows are whole."""

from __future__ import annotations

from argparse import Namespace

import pytest

from benchmarks.training_scenes import rows


@pytest.mark.slow
def test_rows_compare_equal_mixtures() -> None:
    found = rows(Namespace(size="small", repeats=1))
    assert [row["name"] for row in found] == ["online scenes", "online scenes, stretched"]
    for row in found:
        assert row["unit"] == "clips/s"
        assert row["value"] > 0
        assert row["ratio"] == pytest.approx(row["value"] / row["peer_value"])
