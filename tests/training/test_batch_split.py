"""A batch in parts: the same step, the same training after a cut, and an end in one sentence when nothing helps."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from same_training import assert_same_training
from torch import Tensor, nn

from desed_task.batch import Batch, Inputs, Predictions, Targets
from desed_task.data.dataset import BatchDataset
from desed_task.errors import DesedTaskError
from desed_task.training import fit as fitting
from desed_task.training.batch_split import (
    BatchSplit,
    Step,
    is_out_of_memory,
    part_of_targets,
    require_memory,
    shares_of,
)
from desed_task.training.checkpointing import read_checkpoint
from desed_task.training.fit import fit
from desed_task.training.module import PARTS_KEY
from desed_task.training.ranks import Ranks
from desed_task.training.sed_module import SedModule
from desed_task.training.step import Shares, compute_losses

MakeModule = Callable[..., SedModule]
CPU = torch.device("cpu")
ENDLESS = 10**9


class Wide(nn.Module):
    """A student without batch norm, so that no clip knows of the others."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.hidden = nn.Linear(8, 16)
        self.dense = nn.Linear(16, 2)

    def forward(self, inputs: Inputs) -> Predictions:
        strong = self.dense(torch.tanh(self.hidden(inputs.mel)))
        return Predictions(strong, strong.mean(dim=1))


class Short(nn.Module):
    """Has memory for so many clips; `only` names the calls, from 0, in which it is that short."""

    def __init__(self, inner: nn.Module, most: int, only: range = range(ENDLESS)) -> None:
        super().__init__()
        self.inner, self.most, self.only, self.calls = inner, most, only, 0

    def forward(self, inputs: Inputs) -> Predictions:
        predicted: Predictions = self.inner(inputs)
        self.calls += 1
        if len(inputs.mel) > self.most and self.calls - 1 in self.only:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return predicted


def batch_of(strong: int, weak: int, unlabeled: int) -> tuple[Inputs, Targets]:
    num_clips, rng = strong + weak + unlabeled, torch.Generator().manual_seed(5)
    kind = torch.tensor([0] * strong + [1] * weak + [2] * unlabeled)
    targets = Targets(
        (torch.rand(num_clips, 6, 2, generator=rng) > 0.5).float(),
        (torch.rand(num_clips, 2, generator=rng) > 0.5).float(),
        kind == 0,
        kind == 1,
    )
    return Inputs(torch.randn(num_clips, 6, 8, generator=rng)), targets


def step_of(
    module: SedModule, inputs: Inputs, targets: Targets, student: nn.Module, reports: list[Any], teacher: nn.Module
) -> Step:
    names = tuple(f"clip{number}" for number in range(len(inputs.mel)))

    def compute(part: Inputs, known: Targets, shares: Shares) -> Any:
        return compute_losses(student, teacher, part, known, module.options, 1.5, shares)

    return Step(
        Batch(torch.zeros(len(names), 4), targets, names),
        lambda portions: (inputs, targets),
        compute,
        lambda heard, losses: reports.append(losses),
    )


def gradients_of(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None])


@pytest.mark.parametrize("kinds", [(12, 12, 24), (3, 2, 5), (1, 0, 2)], ids=str)
@pytest.mark.parametrize("parts", [2, 3, 4])
def test_gradient_and_losses_of_the_parts_are_those_of_the_whole(
    make_module: MakeModule, kinds: tuple[int, int, int], parts: int
) -> None:
    inputs, targets = batch_of(*kinds)
    parts = min(parts, sum(kinds))
    module, teacher = make_module(strong_weight=0.7, weak_weight=1.3), Wide()
    with torch.no_grad():
        teacher.dense.bias += 0.5
    found = []
    for count in (1, parts):
        student, reports = Wide(), []
        split = BatchSplit([student], count)
        loss = split.begin(step_of(module, inputs, targets, student, reports, teacher))
        split.backward(loss / 4 * 65536)  # as a trainer that accumulates four batches in half precision
        found.append((gradients_of(student) / 65536, reports[0]))
    (whole, told), (in_parts, told_of_parts) = found
    torch.testing.assert_close(in_parts, whole, rtol=1e-6, atol=1e-6 * float(whole.abs().max()))
    torch.testing.assert_close(told_of_parts.total, told.total.detach(), rtol=1e-6, atol=0)
    assert told_of_parts.terms.keys() == told.terms.keys()
    for name, term in told.terms.items():
        torch.testing.assert_close(told_of_parts.terms[name], term, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(told_of_parts.student.strong_logits, told.student.strong_logits.detach())


def test_each_part_holds_every_kind_of_clip_in_proportion() -> None:
    _, targets = batch_of(12, 12, 24)
    for part in range(4):
        kinds = part_of_targets(targets, part, 4)
        assert (int(kinds.has_strong.sum()), int(kinds.has_weak.sum()), len(kinds.weak)) == (3, 3, 12)
    _, uneven = batch_of(3, 2, 5)
    shares = [shares_of(uneven, part, 4) for part in range(4)]
    assert [share.clips for share in shares] == [0.3, 0.3, 0.2, 0.2]
    assert [float(share.strong) for share in shares] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert [float(share.weak) for share in shares] == [0.5, 0, 0, 0.5]


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_failed_attempt_leaves_nothing_behind(make_module: MakeModule, batch: Batch, where: str) -> None:
    """Running statistics and accumulated gradients are those of a step in two parts from the start."""
    found = []
    inputs, targets = Inputs(torch.randn(4, 11, 8, generator=torch.Generator().manual_seed(0))), batch.targets

    def prepare(portions: int) -> tuple[Inputs, Targets]:
        torch.manual_seed(1)
        return inputs, targets

    for short in (False, True):
        module = make_module()
        module.log, module.log_dict = (lambda *_, **__: None), (lambda *_, **__: None)  # type: ignore[method-assign]
        assert module.sed_teacher is not None
        split = BatchSplit([module.sed_student, module.sed_teacher], 1 if short else 2)
        for parameter in module.sed_student.parameters():
            parameter.grad = torch.full_like(parameter, 0.25)
        failing = [short and where == "forward"]

        def compute(part: Inputs, known: Targets, shares: Shares, module: Any = module, failing: Any = failing) -> Any:
            losses = compute_losses(
                module.sed_student, module.sed_teacher, part, known, module.options, 1.0, shares
            )  # fmt: skip
            if failing[0]:
                failing[0] = False
                raise MemoryError
            return losses

        step = Step(batch, prepare, compute, lambda *_: None)
        loss = split.begin(step)
        if short and where == "backward":
            _fail_late(split)
        split.backward(loss)
        assert split.parts == 2
        found.append((gradients_of(module.sed_student), dict(module.named_buffers())))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(found[0][1][name], buffer) for name, buffer in found[1][1].items())


def _fail_late(split: BatchSplit) -> None:
    """Memory runs out when part of the gradients has been added."""
    assert split._whole is not None

    def fail(gradient: Tensor) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    first = next(parameter for model in split._models for parameter in model.parameters())
    first.register_post_accumulate_grad_hook(_once(fail))


def _once(work: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
    left = [work]
    return lambda gradient: left.pop()(gradient) if left else None


def objective(model: nn.Module) -> dict[str, float]:
    return {"objective": float(sum(weights.double().sum() for weights in model.state_dict().values()).sin())}


def trained(module: SedModule, dataset: BatchDataset, folder: Path, resume: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    fit(module, dataset, folder, CPU, False, folder / "last.ckpt" if resume else None)
    return folder


OPTIONS: dict[str, Any] = {"n_epochs": 3, "checkpoint_minutes": 1e-9, "learning_rate": 0.01}
MODES: list[dict[str, Any]] = [
    {},
    {"accumulate_batches": 2},
    {"mean_teacher": {"follows": "before_step"}},
    {"precision": "bf16-mixed"},
]


@pytest.mark.parametrize("options", MODES, ids=str)
def test_a_training_that_was_split_and_cut_ends_as_if_it_never_was(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, options: dict[str, Any]
) -> None:
    def short(calls: range) -> SedModule:
        """Memory is short in some of the student's calls."""
        module = make_module(objective, **OPTIONS | options)
        module.sed_student = Short(module.sed_student, 3, calls)
        return module

    whole = trained(short(range(6, ENDLESS)), dataset, tmp_path / "whole")
    checkpoint = read_checkpoint(whole / "last.ckpt")
    assert checkpoint[PARTS_KEY] == 2
    cut = short(range(6, ENDLESS))
    step = cut.training_step
    seen: list[int] = []

    def ends(batch: Batch, batch_idx: int) -> Tensor:
        seen.append(batch_idx)
        if len(seen) == 9:
            raise KeyError
        return step(batch, batch_idx)

    cut.training_step = ends  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        trained(cut, dataset, tmp_path / "cut")
    # Where it goes on there is memory enough; the parts stay, for batch norm hears them.
    trained(short(range(0)), dataset, tmp_path / "cut", resume=True)
    assert_same_training(whole, tmp_path / "cut")


def test_it_is_said_once_what_happens(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = make_module()
    module.sed_student = Short(module.sed_student, 2)
    trained(module, dataset, tmp_path / "run")
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "out of memory: batches of 4 clips are made in 2 parts from here on" in said
    assert "batch_size" in said


def test_one_clip_that_does_not_fit_ends_the_training_in_one_sentence(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    module = make_module()
    module.sed_student = Short(module.sed_student, 0)
    with pytest.raises(DesedTaskError, match=r"with a single clip of a batch of 4 \(CUDA out of.*: take shorter clips"):
        trained(module, dataset, tmp_path / "run")


def test_several_processes_split_nothing_and_say_so(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "ALONE", Ranks())  # this training has ranks, though only one
    monkeypatch.setattr(fitting, "_processes", lambda *_: {"devices": 1})
    module = make_module()
    module.sed_student = Short(module.sed_student, 2)
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(DesedTaskError, match=r"out of memory \(CUDA out of memory.*several processes split no batches"):
        fit(module, dataset, folder, CPU, False, ranks=Ranks())


def test_a_part_that_is_not_finite_ends_the_training_before_its_step(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    module = make_module()
    with torch.no_grad():
        module.sed_student.dense.bias.fill_(math.nan)
    module.sed_student = Short(module.sed_student, 2)
    with pytest.raises(DesedTaskError, match=r"training diverged at step 0: the student's inner.dense.bias"):
        trained(module, dataset, tmp_path / "run")


def test_other_errors_are_none_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"))
    assert not is_out_of_memory(ValueError("out of memory"))
    require_memory(RuntimeError("shape mismatch"), is_split=True)
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), torch.OutOfMemoryError()):
        assert is_out_of_memory(error)
        with pytest.raises(DesedTaskError, match="lower batch_size"):
            require_memory(error, is_split=True)


@pytest.mark.slow
def test_a_process_with_too_little_memory_for_the_batch_trains_to_the_end(tmp_path: Path) -> None:
    tests = Path(__file__).resolve().parent.parent
    script = [sys.executable, str(tests / "training_short_of_memory.py"), str(tmp_path / "run")]
    one_arena = os.environ | {"MALLOC_ARENA_MAX": "1"}  # each further one reserves 128 MB of addresses
    ran = subprocess.run(script, capture_output=True, text=True, timeout=120, check=False, env=one_arena)
    assert ran.returncode == 0, ran.stderr
    assert "parts from here on" in ran.stderr
    checkpoint = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert checkpoint[PARTS_KEY] >= 2
    assert checkpoint["global_step"] == 2
