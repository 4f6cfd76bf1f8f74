"""The averaging recipe as a user runs it, from checkpoints to a system that loads."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch

from desed_task.errors import CheckpointError, OptionsError
from desed_task.experiment import load_system
from recipes.average_weights import main


@pytest.fixture
def epochs(small_checkpoint: Path, tmp_path: Path) -> Path:
    """A folder with the small detector after epochs 3, 4 and 5: its weights times 1, 2 and 3."""
    checkpoint = torch.load(small_checkpoint, weights_only=True)
    folder = tmp_path / "run"
    folder.mkdir()
    for number in (3, 4, 5):
        scaled = {
            model: {name: ((number - 2) * values).to(values.dtype) for name, values in checkpoint[model].items()}
            for model in ("sed_student", "sed_teacher")
        }
        torch.save({**checkpoint, **scaled}, folder / f"epoch={number}-step={number}00.ckpt")
    return folder


def weights_of(path: Path) -> torch.Tensor:
    return next(values for values in torch.load(path, weights_only=True)["sed_student"].values() if values.dim() == 4)


def test_the_average_is_a_system_like_any_other(
    epochs: Path, small_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "deep" / "mean.ckpt"
    assert main(["--folder", str(epochs), "--epochs", "3-5", "--output", str(output)]) == 0
    torch.testing.assert_close(weights_of(output), 2 * weights_of(small_checkpoint))
    assert set(load_system(output).models) == {"student", "teacher"}
    assert (
        "the mean average of 3 checkpoints, epoch=3-step=300.ckpt to epoch=5-step=500.ckpt" in capsys.readouterr().out
    )
    assert not list(output.parent.glob("*.partial"))


def test_the_published_average_of_named_files_counts_the_first_twice(
    epochs: Path, small_checkpoint: Path, tmp_path: Path
) -> None:
    output = tmp_path / "wa.ckpt"
    files = [str(epochs / f"epoch={number}-step={number}00.ckpt") for number in (5, 3)]
    assert main(["--checkpoints", *files, "--output", str(output), "--mode", "published"]) == 0
    torch.testing.assert_close(weights_of(output), 7 / 3 * weights_of(small_checkpoint))


def test_wrong_flags_are_refused(epochs: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "mean.ckpt")
    one = str(epochs / "epoch=3-step=300.ckpt")
    for flags, sentence in (
        (["--folder", str(epochs)], r"--epochs \(missing\): write FIRST-LAST"),
        (["--folder", str(epochs), "--epochs", "5-3"], "--epochs 5-3: write FIRST-LAST"),
        (["--checkpoints", one, one, "--epochs", "3-5"], "leave it out with --checkpoints"),
    ):
        with pytest.raises(OptionsError, match=sentence):
            main([*flags, "--output", output])
    with pytest.raises(OptionsError, match="is a folder"):
        main(["--checkpoints", one, one, "--output", str(epochs)])
    with pytest.raises(OptionsError, match="is one of the checkpoints"):
        main(["--checkpoints", one, one, "--output", one])
    with pytest.raises(CheckpointError, match="no checkpoint of epoch 6"):
        main(["--folder", str(epochs), "--epochs", "3-6", "--output", output])
    assert not Path(output).exists()


def test_refused_input_is_one_sentence_and_exit_code_2(
    project: Path, epochs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["average_weights.py", "--folder", str(epochs), "--epochs", "1-2", "--output", "x"]
    )
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(project / "recipes" / "average_weights.py"), run_name="__main__")
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
