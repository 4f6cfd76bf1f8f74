"""Run folders: a new number every time, whoever asks at the same moment."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import Field

from desed_task.errors import CheckpointError, DesedTaskError
from desed_task.options import Options, read_options
from desed_task.training.run_folder import create_run_folder, find_checkpoint, require_log_dir, write_provenance


class Recipe(Options):
    epochs: int = Field(3, description="How long.")


def test_numbers_go_up_and_nothing_is_overwritten(tmp_path: Path) -> None:
    log_dir = tmp_path / "new" / "exp"
    first = create_run_folder(log_dir)
    (first / "last.ckpt").write_text("mine")
    second = create_run_folder(log_dir)
    assert [first.name, second.name] == ["version_0", "version_1"]
    assert (first / "last.ckpt").read_text() == "mine"
    assert list(second.iterdir()) == []


def test_a_number_once_used_stays_behind(tmp_path: Path) -> None:
    for name in ("version_7", "version_best", "other"):
        (tmp_path / name).mkdir()
    assert create_run_folder(tmp_path).name == "version_8"


def test_runs_started_at_once_get_different_folders(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: create_run_folder(tmp_path), range(64)))
    assert len(set(folders)) == 64


def test_provenance_is_the_resolved_conf_and_the_code(tmp_path: Path) -> None:
    write_provenance(tmp_path, Recipe(epochs=5))
    assert read_options(tmp_path / "conf.yaml", Recipe) == Recipe(epochs=5)
    code = json.loads((tmp_path / "code.json").read_text())
    assert {"commit", "python", "desed-task", "torch", "numpy", "pytorch-lightning"} <= code.keys()
    assert all(code.values())


def test_a_run_folder_stands_for_its_best_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        find_checkpoint(tmp_path)
    last, best = tmp_path / "last.ckpt", tmp_path / "epoch=9-step=90.ckpt"
    last.touch()
    assert find_checkpoint(tmp_path) == last
    best.touch()
    assert find_checkpoint(tmp_path) == best
    assert find_checkpoint(last) == last


def test_a_place_for_runs_is_checked_without_making_anything(tmp_path: Path) -> None:
    require_log_dir(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "exp"):
        with pytest.raises(DesedTaskError, match=r"file is a file; name a folder for the runs"):
            require_log_dir(place)
    with pytest.raises(DesedTaskError, match="cannot be made"):
        create_run_folder(tmp_path / "file")
