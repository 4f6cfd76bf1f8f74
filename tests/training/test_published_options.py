"""The options that reproduce published oddities, and their counterparts: each by the recurrence it stands for."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from desed_task.batch import Batch, Predictions
from desed_task.data.dataset import BatchDataset
from desed_task.training.fit import fit
from desed_task.training.losses import consistency_loss
from desed_task.training.mean_teacher import MeanTeacherOptions, build_teacher, update_teacher
from desed_task.training.sed_module import SedModule
from desed_task.training.training_options import TrainingOptions

MakeModule = Callable[..., SedModule]


class Recorder:
    """The student's and the teacher's bias as a step's forward pass meets them."""

    def __init__(self, module: SedModule, monkeypatch: pytest.MonkeyPatch) -> None:
        self.student: list[Tensor] = []
        self.teacher: list[Tensor] = []
        original = SedModule.training_step

        def step(module: SedModule, batch: Batch, batch_idx: int) -> Tensor:
            assert module.sed_teacher is not None
            self.student.append(module.sed_student.dense.bias.detach().clone())
            self.teacher.append(module.sed_teacher.dense.bias.detach().clone())
            return original(module, batch, batch_idx)

        monkeypatch.setattr(SedModule, "training_step", step)


def shares(first: int, count: int, decay: float) -> list[float]:
    """1 - 1 / (s + 1) from s = first on, at most the decay."""
    return [min(1 - 1 / (step + 1), decay) for step in range(first, first + count)]


def test_the_teacher_follows_each_step_at_once(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = make_module(learning_rate=0.05, mean_teacher={"ema_decay": 0.7})
    heard = Recorder(module, monkeypatch)
    fit(module, dataset, tmp_path, torch.device("cpu"), fast_dev_run=False)
    expected = heard.student[0]
    # What the teacher is at step k has seen the student as it is at step k.
    for step, share in enumerate(shares(2, len(heard.student) - 1, 0.7), start=1):
        expected = share * expected + (1 - share) * heard.student[step]
        torch.testing.assert_close(heard.teacher[step], expected)


def test_the_published_teacher_lags_by_a_step(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = make_module(learning_rate=0.05, mean_teacher={"ema_decay": 0.7, "follows": "before_step"})
    heard = Recorder(module, monkeypatch)
    fit(module, dataset, tmp_path, torch.device("cpu"), fast_dev_run=False)
    expected = heard.student[0]
    assert torch.equal(heard.teacher[1], expected)  # one step was made, and the teacher has not heard of it
    for step, share in enumerate(shares(1, len(heard.student) - 1, 0.7), start=1):
        expected = share * expected + (1 - share) * heard.student[step - 1]
        torch.testing.assert_close(heard.teacher[step], expected)


def test_gradients_of_two_batches_make_one_step_and_move_the_teacher_once(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = make_module(learning_rate=0.05, accumulate_batches=2)
    heard = Recorder(module, monkeypatch)
    fit(module, dataset, tmp_path, torch.device("cpu"), fast_dev_run=False)
    moved = [not torch.equal(*pair) for pair in zip(heard.teacher, heard.teacher[1:], strict=False)]
    # Five batches an epoch: steps after the second, the fourth and the last.
    assert moved[:5] == [False, True, False, True, True]


def test_the_first_step_at_the_full_rate(make_module: MakeModule) -> None:
    fixed = make_module(n_epochs=6, n_epochs_warmup=2)
    published = make_module(n_epochs=6, n_epochs_warmup=2, full_rate_first_step=True)
    assert published.relative_rate(0) == 1.0
    assert fixed.relative_rate(0) == pytest.approx(math.exp(-5 * 0.9**2))
    rates = [[module.relative_rate(step) for step in range(1, 30)] for module in (published, fixed)]
    assert rates[0] == rates[1]


def test_the_decay_stops_at_the_lowest_rate(make_module: MakeModule) -> None:
    module = make_module(n_epochs=6, n_epochs_warmup=0, decay_from_epoch=2, learning_rate=0.01, min_learning_rate=0.002)
    assert module.relative_rate(30) == pytest.approx(0.2)
    assert module.relative_rate(20) == pytest.approx(math.cos(math.pi / 4))


def test_a_teacher_in_evaluation_mode_keeps_averaged_statistics(make_module: MakeModule, batch: Batch) -> None:
    options = {"mode": "eval", "statistics": "averaged", "ema_decay": 0.9}
    module = make_module(mean_teacher=options)
    module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    assert module.sed_teacher is not None
    before = module.sed_teacher.cnn.cnn.batchnorm0.running_mean.clone()
    module.training_step(batch, 0)
    assert not module.sed_teacher.training
    assert torch.equal(module.sed_teacher.cnn.cnn.batchnorm0.running_mean, before)
    module._follow(100)
    student = module.sed_student.cnn.cnn.batchnorm0.running_mean
    torch.testing.assert_close(module.sed_teacher.cnn.cnn.batchnorm0.running_mean, 0.9 * before + 0.1 * student)


def test_averaged_statistics_do_not_move_with_the_teachers_own_batches() -> None:
    student = nn.Sequential(nn.BatchNorm2d(1))
    teacher = build_teacher(student, MeanTeacherOptions(statistics="averaged"))
    teacher.train()(torch.randn(4, 1, 8, 8) + 5.0)
    assert teacher[0].running_mean.item() == 0.0  # type: ignore[index]
    student[0].running_mean.fill_(4.0)
    update_teacher(teacher, student, step=1, decay=0.75, average_statistics=True)
    assert teacher[0].running_mean.item() == pytest.approx(2.0)  # type: ignore[index]


def test_consistency_as_cross_entropy() -> None:
    def said(probability: float) -> Predictions:
        logits = torch.logit(torch.tensor([[[probability]]]))
        return Predictions(logits, logits[:, 0])

    expected = -2 * (0.8 * math.log(0.6) + 0.2 * math.log(0.4))
    assert consistency_loss(said(0.6), said(0.8), "bce").item() == pytest.approx(expected)
    assert consistency_loss(said(0.6), said(0.8)).item() == pytest.approx(2 * 0.2**2)


def test_selection_by_the_teacher(make_module: MakeModule, dataset: BatchDataset, tmp_path: Path) -> None:
    asked = []

    def validate(model: nn.Module) -> dict[str, float]:
        asked.append(model)
        return {"objective": 0.5}

    module = make_module(validate, selection_model="teacher")
    fit(module, dataset, tmp_path, torch.device("cpu"), fast_dev_run=False)
    assert asked
    assert all(model is module.sed_teacher for model in asked)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean_teacher": None, "selection_model": "teacher"}, "selection_model is teacher and mean_teacher is null"),
        ({"learning_rate": 0.001, "min_learning_rate": 0.01}, "min_learning_rate 0.01 exceeds learning_rate 0.001"),
        ({"mean_teacher": {"mode": "eval"}}, "mode eval never updates the teacher's own statistics"),
    ],
)
def test_contradictions_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingOptions(**options)  # type: ignore[arg-type]
