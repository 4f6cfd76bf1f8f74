"""The benchmark of reading from LMDBs in small: all sides give the same batches, and the rows are whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.lmdb_reading import LIMIT_MB, main


@pytest.mark.slow
def test_rows_are_whole_and_memory_stays_where_it_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    assert main(["--size", "small", "--repeats", "1", "--json", str(path)]) == 0
    rows = {row["name"]: row for row in json.loads(path.read_text(encoding="utf-8"))}
    assert {row["unit"] for row in rows.values()} == {"MB/s", "clips/s", "MB"}
    for row in rows.values():
        assert {"value", "peer", "peer_value", "ratio", "machine"} <= row.keys()
        if row["unit"] != "MB":
            assert row["ratio"] == pytest.approx(row["value"] / row["peer_value"])
    assert rows["memory, LMDB mapped"]["value"] < LIMIT_MB
    assert sum(name.startswith("fetch") for name in rows) == 2
    assert sum(name.startswith("decode") for name in rows) == 6
