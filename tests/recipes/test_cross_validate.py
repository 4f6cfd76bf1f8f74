"""Cross-validation: who is tested is neither heard nor asked, figures by hand, series that go on, refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tagging_clips import LABELS, write_clips

from desed_task.errors import CorpusError, OptionsError
from desed_task.options import read_options
from desed_task.runs.fold_options import with_test_fold
from desed_task.tagging import TaggingOptions
from recipes.cross_validate import main

pytestmark = pytest.mark.usefixtures("one_thread")

FOLDS = 3
CONF = """
labels: [hum, hiss, tick]
features: {name: logmel, sample_rate: 8000, n_window: 256, hop_length: 128, n_mels: 16, f_max: 4000}
model: {name: cnn14, architecture: cnn6, width: 0.0625}
data:
  store: ${here}/store
  clip_seconds: 1.0
  train:
    - {corpus: {name: esc10, root: "${here}", folds: [2, 3]}, batch_size: 3}
  validation: {name: esc10, root: "${here}", folds: [1]}
training: {n_epochs: 2, num_threads: 1, learning_rate: 0.01, loss: {name: cross_entropy}, selection_metric: accuracy}
"""


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folds of six recordings, two of each class and of one source."""
    folder = tmp_path_factory.mktemp("esc")
    write_clips(folder, {f"{fold}-1": 8 for fold in range(1, FOLDS + 1)})
    rows = ["filename\tevent_label\tfold"]
    for fold in range(1, FOLDS + 1):
        for clip in (1, 2, 3, 5, 6, 7):  # every fourth has two classes
            name = f"{fold}-{clip // 2}-{clip}.wav"
            (folder / "audio" / f"{fold}-1_{clip}.wav").rename(folder / "audio" / name)
            rows.append(f"{name}\t{LABELS[clip % 3]}\t{fold}")
    (folder / "metadata.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "conf.yaml").write_text(CONF, encoding="utf-8")
    return folder / "conf.yaml"


@pytest.fixture(scope="module")
def validated(conf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every fold tested, with two seeds."""
    exp = tmp_path_factory.mktemp("exp")
    validate(conf, exp, "--seeds", "2")
    return exp


def validate(conf: Path, exp: Path, *flags: str) -> None:
    argv = ["--conf_file", str(conf), "-e", str(exp), "--folds", str(FOLDS), "--device", "cpu", *flags]
    assert main(argv) == 0


def summary(exp: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((exp / "cross_validation.json").read_text())
    return content


def folds_of(options: TaggingOptions) -> tuple[Any, Any, Any]:
    """Trained on, selected by, tested."""
    data = options.data
    corpora: list[Any] = [data.train[0].corpus, data.validation, *data.evaluation.values()]
    trained, selects, tested = (None if corpus is None else corpus.folds for corpus in corpora)
    return trained, selects, tested


def test_the_tested_fold_is_neither_heard_nor_asked(validated: Path) -> None:
    found = {}
    for fold in (1, 2, 3):
        (conf_of_one, _) = sorted((validated / f"fold_{fold}").glob("version_*/conf.yaml"))
        options = read_options(conf_of_one, TaggingOptions)
        assert list(options.data.evaluation) == [f"fold_{fold}"]
        found[fold] = folds_of(options)
    assert found == {1: ((3,), (2,), (1,)), 2: ((1,), (3,), (2,)), 3: ((2,), (1,), (3,))}


def test_without_a_validation_set_all_other_folds_are_heard(conf: Path) -> None:
    options = read_options(conf, TaggingOptions, ["data.validation=null"])
    assert folds_of(with_test_fold(options, 2, (1, 2, 3))) == ((1, 3), None, (2,))
    assert folds_of(with_test_fold(options, 2, (1, 2))) == ((1,), None, (2,))


def test_figures_are_means_over_seeds_and_then_over_folds(validated: Path) -> None:
    content = summary(validated)
    accuracy = content["systems"]["best"]["accuracy"]
    by_hand = {}
    for fold in (1, 2, 3):
        reports = [
            json.loads((validated / run / "metrics_test" / "best" / f"fold_{fold}" / "report.json").read_text())
            for run in content["folds"][str(fold)].values()
        ]
        assert [report["files_present"] for report in reports] == [6, 6]
        by_hand[str(fold)] = np.mean([report["accuracy"] for report in reports])
    assert accuracy["folds"] == pytest.approx(by_hand)
    assert accuracy["mean"] == pytest.approx(np.mean(list(by_hand.values())))
    low, high = accuracy["interval_folds"]
    # Student's t of two degrees of freedom
    assert high - low == pytest.approx(2 * 4.303 * np.std(list(by_hand.values()), ddof=1) / 3**0.5)
    low, high = accuracy["interval_clips"]
    assert low <= accuracy["mean"] <= high  # all folds are as large
    assert "interval_clips" not in content["systems"]["best"]["map"]


def test_every_run_is_in_the_table(validated: Path) -> None:
    with (validated / "results.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if " on fold_" in row["Model"]]
    assert [(row["train_set"], row["run"]) for row in rows] == [
        (f"fold_{fold}", run) for fold in (1, 2, 3) for run in ("seed 42", "seed 43", "mean of 2", "std of 2")
    ]


def test_the_same_command_goes_on_with_a_series(conf: Path, validated: Path) -> None:
    before = summary(validated)
    checkpoints = {path: path.stat().st_mtime_ns for path in validated.rglob("last.ckpt")}
    (validated / "cross_validation.json").unlink()
    validate(conf, validated, "--seeds", "2")
    assert {path: path.stat().st_mtime_ns for path in validated.rglob("last.ckpt")} == checkpoints
    assert summary(validated) == before


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        (("--folds", "2"), OptionsError, "--folds 2: nothing is left to train on; take more folds"),
        (("--folds", "4"), CorpusError, r"no recording of fold \[4\] \(folds here: 1, 2, 3\)"),
        (
            ("--set", "data.train.0.corpus={name: manifest, table: clips.csv}"),
            OptionsError,
            "no corpus with folds",
        ),
    ],
)
def test_what_cannot_be_cross_validated_is_refused_before_anything_is_trained(
    flags: tuple[str, ...], error: type[Exception], message: str, conf: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        validate(conf, tmp_path / "exp", *flags)
    assert not (tmp_path / "exp").exists()
