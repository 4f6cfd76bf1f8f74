"""Score tables on windows of any length; what is refused in them stands in tests/submission."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from desed_task.errors import EventTableError
from desed_task.formats.dcase import write_score_folder
from desed_task.formats.score_tables import check_score_table, clip_of_table, is_score_table, read_score_table
from desed_task.labels import LabelSet
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((156, 2)).astype(np.float32)
    grid = FrameGrid(sample_rate=16_000, hop_length=256, time_pooling=4)
    scores = Scores(values, values.max(axis=0), grid, LabelSet(["Cat", "Dog"]), 9.97)
    write_score_folder({"clip": scores}, tmp_path)
    table = read_score_table(tmp_path / "clip.tsv")
    np.testing.assert_array_equal(table.values.astype(np.float32), scores.table().values)
    np.testing.assert_allclose(table.edges, scores.table().edges, atol=5e-7)
    assert table.labels == scores.labels


@pytest.mark.parametrize("text", ["onset\toffset\tCat\n0\t1\t2\n", "\ufeffonset\toffset\tCat\r\n0\t1\t2\r\n\r\n"])
def test_line_ends_and_blank_lines_of_other_systems(text: str, tmp_path: Path) -> None:
    (tmp_path / "clip.tsv").write_bytes(text.encode("utf-8"))
    table = read_score_table(tmp_path / "clip.tsv")
    assert (table.edges.tolist(), table.values.tolist()) == ([0, 1], [[2]])


def test_edges_that_differ_by_rounding_meet(tmp_path: Path) -> None:
    (tmp_path / "clip.tsv").write_text("onset\toffset\tCat\n0\t0.128\t1\n0.12800000000000003\t0.2\t1\n")
    assert len(read_score_table(tmp_path / "clip.tsv").values) == 2


def test_each_kind_of_fault_of_a_table_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "clip.tsv"
    path.write_text("onset\toffset\tCat\n0.5\t1\t1\n1.5\t2\t1\n2.5\t3\t1\n2.75\t4\t1\n")
    table, faults = check_score_table(path)
    assert table is None
    assert [fault.partition(": ")[0] for fault in faults] == [f"{path}, row {row}" for row in (2, 3, 5)]
    assert "(2 rows)" in faults[1]
    with pytest.raises(EventTableError, match=r"row 2: the first window begins at 0\.5 s"):
        read_score_table(path)


def test_the_clip_of_a_table() -> None:
    assert clip_of_table(Path("Y1_0.000_10.000.tsv")) == "Y1_0.000_10.000"
    assert clip_of_table(Path("Y1_0.000_10.000.wav.tsv")) == "Y1_0.000_10.000"


def test_score_tables_and_event_lists_are_told_apart() -> None:
    assert is_score_table("onset\toffset\tDog")
    assert not is_score_table("onset\toffset\tevent_label\tfilename")
    assert not is_score_table("filename\tonset\toffset\tevent_label")
