"""The benchmark of the evaluator in small: what it generates, how it times, and that its rows can be made."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluation_rows import ROWS
from benchmarks.evaluation_scores import AUDIOSET_STRONG, DEV_TEST, ONE_HOUR, Corpus, draw_events, draw_scores, small
from benchmarks.evaluation_table import main
from benchmarks.evaluation_timing import Peer, alternate, open_peer
from desed_task.errors import DesedTaskError
from desed_task.metrics.psds import Psds

ROW_KEYS = {"name", "value", "unit", "peer", "peer_value", "ratio", "machine", "threads", "gflops", "repeats", "note"}


@pytest.fixture(autouse=True)
def modules_of_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes find the project, too."""
    monkeypatch.setenv("PYTHONPATH", str(project))


@pytest.mark.parametrize("corpus", [DEV_TEST, AUDIOSET_STRONG, ONE_HOUR], ids=["dev-test", "audioset", "hour"])
def test_a_corpus_is_seeded_and_its_events_are_apart(corpus: Corpus) -> None:
    corpus = small(corpus)
    events = draw_events(corpus, 1)
    assert events == draw_events(corpus, 1)
    assert events != draw_events(corpus, 2)
    for of_clip in events.values():
        for label in corpus.labels:
            own = [event for event in of_clip if event.event_label == label]
            assert all(one.offset < other.onset for one, other in pairwise(own))
            assert all(0 <= event.onset < event.offset <= corpus.duration for event in own)


def test_scores_are_seeded_and_systems_err_differently() -> None:
    corpus = small(DEV_TEST)
    events = draw_events(corpus, 1)
    first, again, other = (dict(draw_scores(corpus, events, 1, system)) for system in (0, 0, 1))
    assert list(first) == list(corpus.durations)
    for name, table in first.items():
        assert table.values.shape == (corpus.num_frames, corpus.num_classes)
        assert table.values.dtype == np.float32
        assert table.values.min() >= 0.0
        assert table.values.max() <= 1.0
        np.testing.assert_array_equal(table.values, again[name].values)
        assert not np.array_equal(table.values, other[name].values)


def test_a_fifth_of_the_dev_test_and_little_of_audioset_is_present() -> None:
    for corpus, share in ((DEV_TEST, 0.2), (AUDIOSET_STRONG, 0.03)):
        clips = [draw_events(small(corpus), seed) for seed in range(5)]
        present = sum(len({event.event_label for event in of_clip}) for events in clips for of_clip in events.values())
        assert present / (5 * 40 * small(corpus).num_classes) == pytest.approx(share, rel=0.3)


def test_scores_below_the_limit_are_zero() -> None:
    corpus = small(AUDIOSET_STRONG)
    values = np.stack([table.values for _, table in draw_scores(corpus, draw_events(corpus, 1), 1)])
    assert values[values > 0].min() >= 0.01
    assert 0.005 < (values > 0).mean() < 0.1


def test_both_sides_take_turns_after_ours_was_compiled() -> None:
    turns: list[str] = []

    def ours() -> dict[str, Any]:
        turns.append("ours")
        return {"value": 1.0}

    def theirs() -> tuple[float, dict[str, Any]]:
        turns.append("peer")
        return 60.0, {"value": 2.0}

    timing = alternate(ours, Peer("peer 1.0", theirs), 3)
    assert turns == ["ours", "ours", "peer", "ours", "peer", "ours", "peer"]
    assert timing.peer_seconds == 60.0
    assert timing.ratio > 1000
    assert (timing.ours, timing.theirs) == ({"value": 1.0}, {"value": 2.0})


def wrapped_python(folder: Path) -> Path:
    """This Python under another name."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.usefixtures("exact_scorer")
def test_the_psds_row_agrees_with_sed_scores_eval_in_another_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--size", "small", "--repeats", "1", "--peer-python", str(wrapped_python(tmp_path))]
    assert main([*flags, "--only", "psds", "--json", str(tmp_path / "rows.json")]) == 0
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row.keys() >= ROW_KEYS
    assert row["name"] == "psds"
    assert row["peer"].startswith("sed_scores_eval ")
    assert row["size"] == "small"
    assert "psds" in capsys.readouterr().out


@pytest.mark.usefixtures("exact_scorer")
def test_another_value_than_the_peers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.evaluation_rows.psds_of_scores", lambda *_: [Psds(0.5, {}), Psds(0.5, {})])
    with pytest.raises(DesedTaskError, match=r"psds: psds1 is 0\.5 here and"):
        main(["--size", "small", "--repeats", "1", "--only", "psds"])


@pytest.mark.slow
@pytest.mark.usefixtures("exact_scorer", "scorers")
def test_every_row_can_be_made(tmp_path: Path, shared_data: Path) -> None:
    flags = ["--size", "small", "--repeats", "1", "--data", str(shared_data / "reference" / "dcase2021_student")]
    assert main([*flags, "--json", str(tmp_path / "rows.json")]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert all(row.keys() >= ROW_KEYS for row in rows)
    assert {row["name"] for row in rows} >= ROWS.keys()
    assert all(row["ratio"] > 1 for row in rows if row["ratio"] is not None)


def test_the_large_rows_tell_time_and_memory(tmp_path: Path) -> None:
    assert main(["--size", "small", "--only", "one hour", "--json", str(tmp_path / "rows.json")]) == 0
    time_row, memory_row = json.loads((tmp_path / "rows.json").read_text())
    assert 0 < time_row["value"] < 60
    assert 0 <= memory_row["value"] < memory_row["peer_value"] == 500e6


def test_operating_points_need_a_folder_that_has_them(tmp_path: Path) -> None:
    with pytest.raises(DesedTaskError, match="--data"):
        main(["--only", "operating points"])
    with pytest.raises(DesedTaskError, match="no predictions_operating_points"):
        main(["--only", "operating points", "--data", str(tmp_path)])


def test_a_python_that_is_not_there_or_has_no_scorer_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "python3"
    with pytest.raises(DesedTaskError, match=f"{missing}: No such file"), open_peer("psds", tmp_path, missing):
        pass
    bare = tmp_path / "bare"
    bare.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    bare.chmod(0o755)
    with pytest.raises(DesedTaskError, match="failed with sed_scores_eval"), open_peer("psds", tmp_path, bare):
        pass
