"""Trainings on several LMDBs by one command: a run each, one table, one picture, and a study that goes on."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from lmdb_of_clips import write_lmdbs
from tagging_clips import CONF, write_clips

from desed_task.errors import CorpusError, OptionsError
from recipes.train_tagging import main

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES = {"small": ("train", 8), "large": ("train", 16), "val": ("validation", 6), "eval": ("eval", 6)}


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conf on LMDBs, one epoch."""
    folder = tmp_path_factory.mktemp("data")
    table = write_clips(folder)
    write_lmdbs(table, folder, SIZES)
    head, _, training = CONF.partition("  train:\n")
    training = training[training.index("training:") :].replace("n_epochs: 3", "n_epochs: 1")
    data = """  train:
    - {corpus: {name: lmdb, path: "${here}/nowhere.lmdb"}, batch_size: 4}
  validation: {name: lmdb, path: "${here}/val.lmdb"}
  evaluation:
    eval: {name: lmdb, path: "${here}/eval.lmdb"}
"""
    path = folder / "conf.yaml"
    path.write_text(head + data + training.replace("first_epoch: 2", "first_epoch: 1"), encoding="utf-8")
    return path


def study(conf: Path, exp: Path, lmdbs: str, *flags: str) -> None:
    argv = ["--conf_file", str(conf), "--device", "cpu", "-e", str(exp), "--lmdbs_list", lmdbs, *flags]
    assert main(argv) == 0


def rows(exp: Path) -> list[dict[str, str]]:
    with (exp / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_each_lmdb_has_its_runs_and_all_have_one_table_and_one_picture(conf: Path, tmp_path: Path) -> None:
    small, large = (conf.parent / f"{name}.lmdb" for name in ("small", "large"))
    study(conf, tmp_path, f"{small}; {large};", "--seeds", "2")
    found = rows(tmp_path)
    assert list(found[0]) == ["Model", "run", "train_set", "mAP", "mAUC", "dprime", "ckpt_path"]
    best = [row for row in found if row["Model"] == "best on eval"]
    assert [(row["train_set"], row["run"]) for row in best] == [
        (name, run) for name in ("small", "large") for run in ("seed 42", "seed 43", "mean of 2", "std of 2")
    ]
    for name in ("small", "large"):
        first, second, mean, _ = (float(row["mAP"]) for row in best if row["train_set"] == name)
        assert mean == pytest.approx((first + second) / 2)
    for row in best[:2]:
        run = Path(row["ckpt_path"]).parent
        assert run.parent == tmp_path / "small"
        assert f"path: {small}" in (run / "conf.yaml").read_text()
    picture = (tmp_path / "sizes.svg").read_text()
    assert re.findall(r">(8|16)</text>", picture) == ["8", "16"]
    assert "best on eval" in picture
    assert "validation" not in picture
    # The same command again trains nothing; a further LMDB joins what there is.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("results.csv") if path.parent != tmp_path}
    study(conf, tmp_path, f"{small};{large}", "--seeds", "2")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert rows(tmp_path) == found


def test_a_trial_writes_over_no_table(conf: Path, tmp_path: Path) -> None:
    study(conf, tmp_path, str(conf.parent / "small.lmdb"), "--fast_dev_run")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "results_fast_dev_run.csv",
        "sizes_fast_dev_run.svg",
        "small",
    ]


def test_an_lmdb_that_is_not_there_is_named_before_anything_is_trained(conf: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"other\.lmdb: no such LMDB"):
        study(conf, tmp_path / "exp", f"{conf.parent / 'small.lmdb'};{tmp_path / 'other.lmdb'}")
    assert not (tmp_path / "exp").exists()


def test_lmdbs_that_are_called_alike_are_refused(conf: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"would both be trained in small; rename one"):
        study(conf, tmp_path / "exp", f"{conf.parent / 'small.lmdb'};{tmp_path / 'small.lmdb'}")


def test_a_resumed_training_takes_no_list(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="--lmdbs_list and --fast_dev_run do nothing beside --resume_from"):
        main(["--resume_from", str(tmp_path), "-e", str(tmp_path), "--lmdbs_list", "a.lmdb"])
