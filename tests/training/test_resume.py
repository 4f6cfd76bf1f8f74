"""Resuming exactly: a training that ends anywhere and goes on is the training that never ended, to the last bit.

Here a training ends by an exception that nothing expects, which leaves on disk what a kill leaves; tests/training/
test_killed.py ends real processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from same_training import assert_same_checkpoints, assert_same_training
from torch import nn

from desed_task.batch import Batch
from desed_task.data.dataset import BatchDataset, EpochSampler
from desed_task.errors import CheckpointError
from desed_task.training.checkpointing import progress_of, read_checkpoint, write_checkpoint
from desed_task.training.fit import fit
from desed_task.training.sed_module import SedModule

MakeModule = Callable[..., SedModule]
CPU = torch.device("cpu")
EVERY_STEP = 1e-9
OFTEN: dict[str, Any] = {"n_epochs": 4, "checkpoint_minutes": EVERY_STEP, "learning_rate": 0.01}


class PowerCutError(Exception):
    """Ends a training as a kill does."""


def objective(model: nn.Module) -> Mapping[str, float]:
    """A figure that depends on the weights, so that a wrong weight selects another epoch."""
    return {"objective": float(model.state_dict()["dense.weight"].double().sum().sin())}


def figures(*values: float) -> Callable[[nn.Module], Mapping[str, float]]:
    """A validation that gives one figure after the other."""
    remaining = iter(values)
    return lambda model: {"objective": next(remaining)}


def cut_after(module: SedModule, batches: int) -> SedModule:
    """The same module, whose training ends in the batch after `batches` others, before its optimiser step."""
    original = module.training_step
    made: list[int] = []

    def step(batch: Batch, batch_idx: int) -> torch.Tensor:
        loss = original(batch, batch_idx)
        if len(made) == batches:
            raise PowerCutError
        made.append(batch_idx)
        return loss

    module.training_step = step  # type: ignore[method-assign]
    return module


def run(module: SedModule, dataset: BatchDataset, folder: Path, resume: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    return fit(module, dataset, folder, CPU, False, folder / "last.ckpt" if resume else None)


def run_cut(module: SedModule, dataset: BatchDataset, folder: Path, batches: int, resume: bool = False) -> None:
    with pytest.raises(PowerCutError):
        run(cut_after(module, batches), dataset, folder, resume)


@pytest.fixture(scope="module")
def finished() -> dict[str, Path]:
    """Options -> the folder of a whole training with them, made once."""
    return {}


@pytest.fixture
def uninterrupted(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, finished: dict[str, Path]
) -> Callable[..., Path]:
    def of(**options: Any) -> Path:
        if str(options) not in finished:
            finished[str(options)] = run(make_module(objective, **OFTEN | options), dataset, tmp_path / "whole").parent
        return finished[str(options)]

    return of


@pytest.mark.parametrize("batches", [3, 5, 7, 19])
def test_a_training_that_was_cut_ends_as_if_it_never_was(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, uninterrupted: Callable[..., Path], batches: int
) -> None:
    whole, folder = uninterrupted(), tmp_path / "cut"
    run_cut(make_module(objective, **OFTEN), dataset, folder, batches)
    best = run(make_module(objective, **OFTEN), dataset, folder, resume=True)
    assert_same_training(whole, folder)
    assert best.parent == folder
    assert best.is_file()


@pytest.mark.parametrize(
    "options",
    [
        {"accumulate_batches": 2},
        {"mean_teacher": {"follows": "before_step"}},
        {"mean_teacher": {"mode": "eval", "statistics": "averaged"}},
        {"mean_teacher": None, "decay_from_epoch": 2, "full_rate_first_step": True},
        {"validation_interval": 3},
        {"checkpoint_minutes": 10.0},
    ],
    ids=str,
)
def test_so_it_is_with_every_option(
    make_module: MakeModule,
    dataset: BatchDataset,
    tmp_path: Path,
    uninterrupted: Callable[..., Path],
    options: dict[str, Any],
) -> None:
    whole, folder = uninterrupted(**options), tmp_path / "cut"
    run_cut(make_module(objective, **OFTEN | options), dataset, folder, 8)
    run(make_module(objective, **OFTEN | options), dataset, folder, resume=True)
    assert_same_training(whole, folder)


def test_a_training_may_be_cut_again_and_again(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, uninterrupted: Callable[..., Path]
) -> None:
    whole, folder = uninterrupted(), tmp_path / "cut"
    run_cut(make_module(objective, **OFTEN), dataset, folder, 3)
    run_cut(make_module(objective, **OFTEN), dataset, folder, 0, resume=True)
    for batches in (1, 4, 6):
        run_cut(make_module(objective, **OFTEN), dataset, folder, batches, resume=True)
    run(make_module(objective, **OFTEN), dataset, folder, resume=True)
    assert_same_training(whole, folder)


def test_early_stopping_counts_on_over_a_cut(make_module: MakeModule, dataset: BatchDataset, tmp_path: Path) -> None:
    falling = figures(0.9, 0.5, 0.4, 0.3, 0.2)
    options = OFTEN | {"n_epochs": 9, "early_stop_patience": 3}
    run_cut(make_module(falling, **options), dataset, tmp_path / "cut", 12)
    best = run(make_module(falling, **options), dataset, tmp_path / "cut", resume=True)
    assert best.name == "epoch=0-step=5.ckpt"
    last = read_checkpoint(tmp_path / "cut" / "last.ckpt")
    assert last["global_step"] == 20
    progress = progress_of(last, best)
    assert (progress.epoch, progress.step, progress.stopped_early) == (4, 0, True)


def test_a_cut_in_validation_validates_again(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, uninterrupted: Callable[..., Path]
) -> None:
    whole = uninterrupted()
    validated: list[nn.Module] = []

    def cut(model: nn.Module) -> Mapping[str, float]:
        if len(validated) == 1:
            raise PowerCutError
        validated.append(model)
        return objective(model)

    with pytest.raises(PowerCutError):
        run(make_module(cut, **OFTEN), dataset, tmp_path / "cut")
    run(make_module(objective, **OFTEN), dataset, tmp_path / "cut", resume=True)
    assert_same_training(whole, tmp_path / "cut")


def test_the_best_checkpoint_can_be_gone_on_from(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    whole, again, name = tmp_path / "whole", tmp_path / "again", "epoch=1-step=10.ckpt"
    run(make_module(figures(0.1, 0.9, 0.3, 0.2), **OFTEN), dataset, whole)
    again.mkdir()
    write_checkpoint(read_checkpoint(whole / name), again / name)
    fit(make_module(figures(0.3, 0.2), **OFTEN), dataset, again, CPU, False, again / name)
    assert_same_checkpoints(whole, again)


def test_a_lengthened_training_is_the_longer_one(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, uninterrupted: Callable[..., Path]
) -> None:
    whole, folder = uninterrupted(), tmp_path / "short"
    run(make_module(objective, **OFTEN | {"n_epochs": 2}), dataset, folder)
    run(make_module(objective, **OFTEN), dataset, folder, resume=True)
    assert_same_training(whole, folder)


def test_a_lengthened_schedule_is_the_longer_one_from_the_first_step_on(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    decay = {"decay_from_epoch": 1, "n_epochs_warmup": 0}
    rates: list[float] = []

    def rated(**options: Any) -> SedModule:
        module = make_module(objective, **OFTEN | decay | options)
        original = module.training_step

        def step(batch: Batch, batch_idx: int) -> torch.Tensor:
            rates.append(module.trainer.optimizers[0].param_groups[0]["lr"])
            return original(batch, batch_idx)

        module.training_step = step  # type: ignore[method-assign]
        return module

    run(rated(n_epochs=2), dataset, tmp_path / "short")
    run(rated(n_epochs=4), dataset, tmp_path / "short", resume=True)
    assert rates[9] == pytest.approx(0.01 * math.cos(math.pi / 2 * 4 / 5))  # falls from step 5 to 10
    assert rates[10] == pytest.approx(0.01 * math.cos(math.pi / 2 * 5 / 15))  # falls from step 5 to 20
    assert rates[19] == pytest.approx(0.01 * math.cos(math.pi / 2 * 14 / 15))


def test_a_sampler_goes_on_in_its_first_epoch_alone(dataset: BatchDataset) -> None:
    sampler = EpochSampler(dataset, first_epoch=2, first_step=3)
    iterator = iter(sampler)  # the trainer makes it before it names the epoch
    sampler.set_epoch(2)
    assert list(iterator) == [(2, 3), (2, 4)]
    sampler.set_epoch(3)
    assert list(sampler) == [(3, step) for step in range(5)]


def test_a_checkpoint_without_its_progress_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not say how far its training had come, so it cannot be resumed"):
        progress_of({"state_dict": {}}, tmp_path / "old.ckpt")


def test_a_disk_that_refuses_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    write_checkpoint({"step": 1}, path)
    (tmp_path / "last.ckpt.partial").mkdir()
    with pytest.raises(CheckpointError, match=r"last.ckpt: the checkpoint cannot be written \(Is a directory\)"):
        write_checkpoint({"step": 2}, path)
    assert read_checkpoint(path) == {"step": 1}


def test_a_refused_checkpoint_ends_the_training_in_one_sentence(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "last.ckpt.partial").mkdir()
    with pytest.raises(CheckpointError, match="make room, then go on with --resume_from_checkpoint"):
        run(make_module(), dataset, folder)
