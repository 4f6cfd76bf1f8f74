"""Tables of several trainings: rows per run, means and deviations below them, by hand."""

from __future__ import annotations

import csv
from pathlib import Path

from desed_task.runs.tagging_results import write_seeds, write_training_sets

HEADER = "Model,mAP,mAUC,dprime,ckpt_path\n"


def run(folder: Path, *rows: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "results.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return folder


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


def test_seeds_have_a_row_each_and_their_mean_and_deviation_below(tmp_path: Path) -> None:
    runs = {
        42: run(tmp_path / "a", "best on eval,0.5,0.75,1.0,a.ckpt"),
        43: run(tmp_path / "b", "best on eval,0.25,0.5,2.0,b.ckpt"),
        44: run(tmp_path / "c", "best on eval,0.75,1.0,3.0,c.ckpt"),
    }
    write_seeds(runs, tmp_path / "seeds.csv")
    assert cells(tmp_path / "seeds.csv") == [
        ["Model", "mAP", "mAUC", "dprime", "ckpt_path"],
        ["best on eval, seed 42", "0.5", "0.75", "1.0", "a.ckpt"],
        ["best on eval, seed 43", "0.25", "0.5", "2.0", "b.ckpt"],
        ["best on eval, seed 44", "0.75", "1.0", "3.0", "c.ckpt"],
        ["best on eval, mean of 3", "0.5", "0.75", "2.0", ""],
        ["best on eval, std of 3", "0.25", "0.25", "1.0", ""],
    ]


def test_a_figure_that_one_run_lacks_has_no_mean_and_a_system_of_one_run_stands_alone(tmp_path: Path) -> None:
    runs = {
        1: run(tmp_path / "a", "best on eval,,0.5,0.5,a", "averaged on eval,0.5,0.5,0.5,b"),
        2: run(tmp_path / "b", "best on eval,0.5,1.0,0.5,c"),
    }
    write_seeds(runs, tmp_path / "seeds.csv")
    assert cells(tmp_path / "seeds.csv")[3:] == [
        ["best on eval, mean of 2", "", "0.75", "0.5", ""],
        ["best on eval, std of 2", "", "0.3535533905932738", "0.0", ""],
        ["averaged on eval, seed 1", "0.5", "0.5", "0.5", "b"],
    ]


def test_training_sets_are_told_apart_under_the_published_header(tmp_path: Path) -> None:
    runs = {
        "train_5k": {42: run(tmp_path / "a", "best on eval,0.5,0.75,1.0,a")},
        "train_10k": {42: run(tmp_path / "b", "best on eval,0.6,0.75,1.0,b")},
    }
    write_training_sets(runs, tmp_path / "results.csv")
    assert cells(tmp_path / "results.csv") == [
        ["Model", "run", "train_set", "mAP", "mAUC", "dprime", "ckpt_path"],
        ["best on eval", "seed 42", "train_5k", "0.5", "0.75", "1.0", "a"],
        ["best on eval", "seed 42", "train_10k", "0.6", "0.75", "1.0", "b"],
    ]
