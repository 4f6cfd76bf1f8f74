"""Two processes under torchrun train the tagger that one trains, and write what one writes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from same_training import logged
from tagging_clips import CONF, write_tagging
from torchrun_training import torchrun

from desed_task.formats.clip_scores import read_clip_scores
from desed_task.training.checkpointing import read_checkpoint
from recipes.train_tagging import main

# No dropout, and nothing mixed: each rank would draw its own.
SAME_IN_BOTH = CONF.replace("      waveform_mixup: {}\n", "").replace(
    "width: 0.0625", "width: 0.0625, dropout: 0.0, block_dropout: 0.0"
)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    conf = write_tagging(tmp_path_factory.mktemp("data"), conf=SAME_IN_BOTH)
    return ["--conf_file", str(conf), "--device", "cpu"]


@pytest.fixture(scope="module")
def both(start: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Run folders of one training in one process, and in two."""
    folder = tmp_path_factory.mktemp("both")
    with torchrun([*start, "-e", str(folder / "two")], folder / "torchrun", recipe="train_tagging") as running:
        assert running.end() == 0, running.said()
        assert running.codes() == [0, 0]
    assert main([*start, "-e", str(folder / "one")]) == 0
    return folder / "one" / "version_0", folder / "two" / "version_0"


@pytest.mark.slow
def test_losses_and_validation_figures_are_those_of_one_process(both: tuple[Path, Path]) -> None:
    of_one, of_two = (logged(run) for run in both)
    curves = [name for name in of_one if name.startswith(("train/", "val/"))]
    assert {"train/loss", "train/lr", "val/map", "val/mauc", "val/loss", "val/objective"} <= set(curves)
    for name in curves:
        assert [step for step, _ in of_one[name]] == [step for step, _ in of_two[name]]
        values = [value for _, value in of_one[name]]
        assert [value for _, value in of_two[name]] == pytest.approx(values, rel=1e-4, abs=1e-4), name


@pytest.mark.slow
def test_results_are_written_once_and_are_those_of_one_process(both: tuple[Path, Path]) -> None:
    one, two = both
    rows = []
    for run in both:
        with (run / "results.csv").open(newline="") as stream:
            rows.append(list(csv.reader(stream)))
    assert [row[0] for row in rows[0]] == [row[0] for row in rows[1]]
    for system in ("best", "averaged", "ensemble"):
        found, expected = (
            read_clip_scores(run / "metrics_test" / system / "eval" / "scores.npz") for run in (two, one)
        )
        assert found.audio_ids == expected.audio_ids
        np.testing.assert_allclose(found.probs, expected.probs, atol=1e-3)
    assert read_checkpoint(two / "last.ckpt")["ranks"] == 2
    assert [path.name for path in two.parent.glob("version_*")] == ["version_0"]
    log = (two.parent.parent / "torchrun" / "log").read_text()
    assert log.count("| best on eval ") == log.count("run folder: ") == 1


@pytest.mark.slow
def test_clips_that_cannot_be_shared_are_refused_in_one_sentence(start: list[str], tmp_path: Path) -> None:
    odd = ["--set", "data.train.0.batch_size=3", "-e", str(tmp_path / "exp")]
    with torchrun([*start, *odd], tmp_path / "torchrun", recipe="train_tagging") as running:
        assert running.end() != 0
        said = running.said()
        assert running.codes() == [2, 2], said
    assert said.count("error: data.train.0: its 3 clips per batch cannot be shared evenly by 2 processes") == 1
    assert "Traceback" not in said
