"""What may be resumed, with which options and in which folder; tests/runs/test_killed_trainings.py kills processes."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from same_training import assert_same_checkpoints, differences
from training_scenes import write_training

from desed_task.command_line import run_recipe
from desed_task.errors import CheckpointError, DesedTaskError, OptionsError
from desed_task.experiment import SedOptions
from desed_task.options import read_options
from desed_task.training.checkpointing import read_checkpoint
from recipes.train_sed import main

LONGER = "training.n_epochs=3"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished training of two epochs."""
    folder = tmp_path_factory.mktemp("trained")
    conf = write_training(folder)
    assert main(["--conf_file", str(conf), "--log_dir", str(folder / "exp"), "--device", "cpu"]) == 0
    return folder / "exp" / "version_0"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "exp" / "version_0"))


def resume(path: Path, log_dir: Path, *more: str) -> int:
    return main(["--resume_from_checkpoint", str(path), "--log_dir", str(log_dir), "--device", "cpu", *more])


def report_of(run: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((run / "metrics_test" / "student" / "report.json").read_text())
    return report


def versions(log_dir: Path) -> list[str]:
    return sorted(path.name for path in log_dir.glob("version_*"))


def test_a_training_is_lengthened_in_its_folder(trained: Path, run: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    conf = trained.parent.parent / "conf.yaml"
    assert main(["--conf_file", str(conf), "--log_dir", str(whole), "--device", "cpu", "--set", LONGER]) == 0
    assert resume(run, run.parent, "--set", LONGER) == 0
    assert versions(run.parent) == ["version_0"]
    assert "n_epochs: 3" in (run / "conf.yaml").read_text()
    assert_same_checkpoints(whole / "version_0", run)
    assert len(json.loads((run / "training_codecarbon" / "stretches.json").read_text())) == 2
    assert report_of(run)["psds1"] == report_of(whole / "version_0")["psds1"]


def test_a_checkpoint_from_elsewhere_goes_on_in_a_new_folder(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in (*run.glob("*.ckpt"), run / "training_codecarbon"):
        shutil.move(path, moved / path.name)
    assert resume(moved / "last.ckpt", tmp_path / "other", "--set", LONGER) == 0
    assert versions(tmp_path / "other") == ["version_0"]
    assert len(list((tmp_path / "other" / "version_0").glob("epoch=*.ckpt"))) == 1
    assert len(json.loads((tmp_path / "other/version_0/training_codecarbon/stretches.json").read_text())) == 2


def test_an_earlier_checkpoint_of_a_folder_writes_over_nothing(
    trained: Path, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = read_checkpoint(run / "last.ckpt")
    shutil.move(run / "last.ckpt", run / "kept.ckpt")
    assert resume(run / "kept.ckpt", run.parent, "--set", LONGER) == 0
    assert versions(run.parent) == ["version_0", "version_1"]
    assert differences(read_checkpoint(run / "kept.ckpt"), before) == []


def test_a_best_that_is_gone_is_earned_anew(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    for best in run.glob("epoch=*.ckpt"):
        best.unlink()
    assert resume(run, run.parent, "--set", LONGER) == 0
    assert "the best so far, is not there" in caplog.text
    assert [path.name for path in run.glob("epoch=*.ckpt")] == ["epoch=2-step=12.ckpt"]


def test_a_finished_training_that_was_not_tested_is_tested(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    figures = report_of(run)
    shutil.rmtree(run / "metrics_test" / "teacher")
    assert resume(run, run.parent) == 0
    assert "the training has finished after 2 epochs; it is tested now" in caplog.text
    for name in ("psds1", "collar_f1_macro", "energy_kwh_training"):
        assert report_of(run)[name] == pytest.approx(figures[name])


REFUSED = [
    (["--set", "training.learning_rate=0.1"], OptionsError, "only training.n_epochs can be changed"),
    (["--set", "training.n_epochs=1"], OptionsError, "--set training.n_epochs=1: fewer than the 2 of .*last.ckpt"),
    (["--conf_file", "x.yaml"], OptionsError, "--conf_file does nothing beside --resume_from_checkpoint"),
    (["--fast_dev_run"], OptionsError, "--fast_dev_run does nothing beside --resume_from_checkpoint"),
    (["--strong_real"], OptionsError, "--strong_real does nothing beside --resume_from_checkpoint"),
]


@pytest.mark.parametrize(("more", "error", "sentence"), REFUSED, ids=[" ".join(row[0]) for row in REFUSED])
def test_flags_that_contradict_are_refused(
    trained: Path, more: list[str], error: type[DesedTaskError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        resume(trained, trained.parent, *more)


def test_a_conf_that_was_changed_is_refused(run: Path) -> None:
    conf = run / "conf.yaml"
    conf.write_text(conf.read_text().replace("dropout: 0.1", "dropout: 0.2"))
    with pytest.raises(CheckpointError, match=r"last.ckpt: its options are not those of .*conf.yaml; restore that"):
        resume(run, run.parent, "--set", LONGER)


def test_clips_that_have_changed_are_refused(trained: Path, run: Path) -> None:
    content = read_checkpoint(run / "last.ckpt")
    for steps, data, sentence in (
        (
            4,
            "other",
            r"the training clips or their labels are not those it was trained on \(steps per epoch: 4 then, 4 now\)",
        ),
        (2, content["progress"]["data"], "a --fast_dev_run cannot be resumed"),
    ):
        content["progress"] |= {"steps_per_epoch": steps, "data": data}
        torch.save(content, run / "last.ckpt")
        with pytest.raises(CheckpointError, match=sentence):
            resume(run, run.parent, "--set", LONGER)
    assert "n_epochs: 2" in (run / "conf.yaml").read_text()


def test_what_stopped_early_is_not_lengthened(run: Path) -> None:
    content = read_checkpoint(run / "last.ckpt")
    content["progress"] |= {"stopped_early": True}
    torch.save(content, run / "last.ckpt")
    with pytest.raises(OptionsError, match="has stopped early after 2 epochs without a better one"):
        resume(run, run.parent, "--set", LONGER)


def test_a_finished_checkpoint_from_elsewhere_says_what_can_be_done(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "last.ckpt", tmp_path / "mine.ckpt")
    with pytest.raises(CheckpointError, match="has finished after 2 epochs; test it with --test_from_checkpoint, or"):
        resume(tmp_path / "mine.ckpt", tmp_path / "exp")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such checkpoint; name a run folder"),
        ({"state_dict": {}}, "does not say how it was trained, so it cannot be resumed"),
        ({"desed_task": {"format": 1, "options": {}}}, "does not say how far its training had come"),
    ],
)
def test_what_is_no_checkpoint_of_a_training_is_refused(
    tmp_path: Path, content: dict[str, Any] | None, sentence: str
) -> None:
    if content is not None:
        torch.save(content, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=sentence):
        resume(tmp_path, tmp_path)


def test_a_scorer_that_fails_takes_nothing_along(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("in the scorer")

    with monkeypatch.context() as broken:
        broken.setattr("desed_task.runs.testing.evaluate_clip_set", fail)
        broken.setattr(
            "sys.argv", ["train_sed.py", "--test_from_checkpoint", str(run), "--log_dir", str(tmp_path / "t")]
        )
        with pytest.raises(SystemExit) as left:
            run_recipe(main)
    assert left.value.code == 2
    assert "the student could not be scored: in the scorer" in caplog.text
    assert len(list((tmp_path / "t" / "version_0" / "metrics_test" / "teacher" / "scores" / "raw").glob("*.tsv"))) == 4
    assert main(["--test_from_checkpoint", str(run), "--log_dir", str(tmp_path / "t")]) == 0
    assert report_of(tmp_path / "t" / "version_1")["psds1"] == report_of(run)["psds1"]


def test_a_figure_that_fails_leaves_the_others(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("in psds_eval")

    monkeypatch.setattr("desed_task.metrics.figures.psds", fail)
    assert main(["--test_from_checkpoint", str(run), "--log_dir", str(tmp_path / "t")]) == 0
    report = report_of(tmp_path / "t" / "version_0")
    assert report["psds1"] is None
    assert report["collar_f1_macro"] == report_of(run)["collar_f1_macro"]
    assert "PSDS1 could not be computed: ZeroDivisionError: in psds_eval" in report["problems"]
    assert "PSDS1 could not be computed" in capsys.readouterr().out


def test_data_that_has_moved_is_named_and_found(run: Path, tmp_path: Path) -> None:
    """The folder of the training is moved as a whole; its stored paths are those of before."""
    conf = read_options(run / "conf.yaml", SedOptions)
    before = conf.data.test.corpus.root
    moved = tmp_path / "moved"
    shutil.copytree(before, moved / before.name)
    places = [f"data.train.{number}.corpus.root" for number in range(len(conf.data.train))]
    places += [f"data.validation.{number}.corpus.root" for number in range(len(conf.data.validation))]
    overrides = [f"{place}={moved / before.name}" for place in (*places, "data.test.corpus.root")]
    overrides += [f"data.store={moved / 'store'}", f"training.n_epochs={conf.training.n_epochs + 1}"]
    assert resume(run, run.parent, *(f"--set={override}" for override in overrides)) == 0
    after = read_options(run / "conf.yaml", SedOptions)
    assert after.data.test.corpus.root == moved / before.name
    assert after.training.n_epochs == conf.training.n_epochs + 1
    assert list((moved / "store").glob("*.int16"))


def test_a_trial_is_not_resumed(run: Path) -> None:
    code = run / "code.json"
    code.write_text(json.dumps({**json.loads(code.read_text()), "fast_dev_run": "yes"}))
    with pytest.raises(CheckpointError, match="a --fast_dev_run cannot be resumed; train anew"):
        resume(run, run.parent)
