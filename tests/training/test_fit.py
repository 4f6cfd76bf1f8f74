"""Whole trainings of a second: what is written, what is best, and that a seed decides everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from desed_task.data.dataset import BatchDataset
from desed_task.errors import DesedTaskError, OptionsError
from desed_task.training.fit import choose_device, fit
from desed_task.training.sed_module import SedModule

MakeModule = Callable[..., SedModule]
CPU = torch.device("cpu")


def objectives(*values: float) -> Callable[..., dict[str, float]]:
    remaining = iter(values)
    return lambda model: {"objective": next(remaining)}


def run(module: SedModule, dataset: BatchDataset, folder: Path, fast: bool = False) -> dict[str, Any]:
    """Train; the best checkpoint, with its path under "path"."""
    folder.mkdir()
    path = fit(module, dataset, folder, CPU, fast)
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    return {**checkpoint, "path": path}


def weights_of(checkpoint: dict[str, Any]) -> torch.Tensor:
    return torch.cat([values.double().flatten() for values in checkpoint["sed_student"].values()])


def test_the_best_epoch_and_the_last_are_kept(make_module: MakeModule, dataset: BatchDataset, tmp_path: Path) -> None:
    module = make_module(objectives(0.1, 0.6, 0.3), n_epochs=3)
    best = run(module, dataset, tmp_path / "version_0")
    assert best["path"].name == "epoch=1-step=10.ckpt"
    assert best["global_step"] == 10
    assert torch.load(tmp_path / "version_0" / "last.ckpt", weights_only=True)["global_step"] == 15
    assert {path.name for path in (tmp_path / "version_0").glob("*.ckpt")} == {"epoch=1-step=10.ckpt", "last.ckpt"}
    assert list((tmp_path / "version_0").glob("events.out.tfevents.*"))
    assert best["desed_task"] == {"format": 1, "labels": ["hum"]}
    assert [path.name for path in tmp_path.iterdir()] == ["version_0"]


def test_of_equal_epochs_the_newest_is_kept(make_module: MakeModule, dataset: BatchDataset, tmp_path: Path) -> None:
    best = run(make_module(objectives(0.0, 0.0, 0.0), n_epochs=3), dataset, tmp_path / "version_0")
    assert best["path"].name == "epoch=2-step=15.ckpt"


def test_the_seed_decides_the_weights(make_module: MakeModule, dataset: BatchDataset, tmp_path: Path) -> None:
    def trained(name: str, **options: Any) -> torch.Tensor:
        pl.seed_everything(options.get("seed", 42), verbose=False)
        return weights_of(run(make_module(**options), dataset, tmp_path / name))

    once = trained("once")
    assert torch.equal(once, trained("again"))
    assert not torch.equal(once, trained("other", seed=7))


def test_each_epoch_is_told_to_the_dataset(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    original = BatchDataset.__getitem__
    monkeypatch.setattr(
        BatchDataset, "__getitem__", lambda self, position: (asked.append(position), original(self, position))[1]
    )
    run(make_module(n_epochs=2), dataset, tmp_path / "version_0")
    assert asked == [(epoch, step) for epoch in range(2) for step in range(5)]


def test_student_and_teacher_move_apart(make_module: MakeModule, dataset: BatchDataset, tmp_path: Path) -> None:
    best = run(make_module(learning_rate=0.01), dataset, tmp_path / "version_0")
    student, teacher = best["sed_student"]["dense.weight"], best["sed_teacher"]["dense.weight"]
    assert not torch.equal(student, teacher)
    assert torch.isfinite(teacher).all()


def test_supervised_training_has_one_model(make_module: MakeModule, dataset: BatchDataset, tmp_path: Path) -> None:
    best = run(make_module(mean_teacher=None), dataset, tmp_path / "version_0")
    assert "sed_teacher" not in best


def test_no_epochs_leave_the_untrained_model(make_module: MakeModule, dataset: BatchDataset, tmp_path: Path) -> None:
    module = make_module(n_epochs=0)
    before = module.sed_student.dense.weight.detach().clone()
    checkpoint = run(module, dataset, tmp_path / "version_0")
    assert checkpoint["path"].name == "last.ckpt"
    assert torch.equal(checkpoint["sed_student"]["dense.weight"], before)


def test_a_fast_run_takes_two_steps_of_three_epochs_and_validates_each(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    module = make_module(objectives(0.1, 0.2, 0.3), n_epochs=50, validation_interval=10)
    best = run(module, dataset, tmp_path / "version_0", fast=True)
    assert best["global_step"] == 6


def test_validation_by_interval_and_early_stopping(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    module = make_module(objectives(0.5, 0.4, 0.3, 0.2), n_epochs=20, validation_interval=2, early_stop_patience=2)
    best = run(module, dataset, tmp_path / "version_0")
    assert best["path"].name == "epoch=1-step=10.ckpt"
    assert torch.load(tmp_path / "version_0" / "last.ckpt", weights_only=True)["global_step"] == 30


def test_an_interval_that_does_not_divide_the_epochs_validates_the_last_too(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    module = make_module(objectives(0.1, 0.2, 0.9), n_epochs=5, validation_interval=2)
    assert run(module, dataset, tmp_path / "version_0")["path"].name == "epoch=4-step=25.ckpt"


def test_a_refusal_inside_the_training_comes_out_as_it_is(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    module = make_module(learning_rate=1e30)
    with torch.no_grad():
        module.sed_student.dense.bias.fill_(torch.nan)
    with pytest.raises(DesedTaskError, match=r"training diverged at step 0: the student's dense.bias is not finite"):
        run(module, dataset, tmp_path / "version_0")


@pytest.mark.parametrize("name", ["cuda:7", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(OptionsError, match=f"--device {name}: this machine has 1 CUDA devices; use auto or cpu"):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "cuda:-1", "cuda:x", "", "mps", "meta"])
def test_a_word_that_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(OptionsError, match="write auto, cpu or cuda:N"):
        choose_device(name)


def test_auto_is_the_first_gpu_or_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("cuda:0")
