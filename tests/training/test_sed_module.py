"""One step of a training, looked at closely; `test_fit.py` runs whole ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from desed_task.batch import Batch, Inputs, Targets
from desed_task.errors import DesedTaskError
from desed_task.training.losses import supervised_loss
from desed_task.training.sed_module import SedModule
from desed_task.training.step import prepare
from desed_task.training.training_options import TrainingOptions

MakeModule = Callable[..., SedModule]


@pytest.fixture(autouse=True)
def _without_a_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that stands alone logs nowhere; its steps are counted by a trainer it does not have."""
    monkeypatch.setattr(SedModule, "log", lambda *_, **__: None)
    monkeypatch.setattr(SedModule, "log_dict", lambda *_, **__: None)
    monkeypatch.setattr(SedModule, "global_step", 0)


class Times:
    """Multiplies what is heard in its domain, so that the order of the halves can be read off."""

    def __init__(self, domain: str, factor: float) -> None:
        self.domain, self.factor = domain, factor

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        return Inputs(inputs.mel * self.factor), targets


def test_augmentations_act_in_their_domain(make_module: MakeModule, batch: Batch) -> None:
    module = make_module(augmentations=(Times("normalised", 3.0), Times("linear", 10.0)))
    inputs, _ = prepare(batch, module.ears, module.augmentations, np.random.default_rng(0))
    spectrum = module.ears.frontend.spectrum(batch.waveform)
    torch.testing.assert_close(inputs.mel, 3.0 * torch.log10(10.0 * spectrum + 1e-3))
    assert not inputs.mel.requires_grad


def test_the_teacher_begins_as_the_student_and_gets_no_gradient(make_module: MakeModule, batch: Batch) -> None:
    module = make_module(dropout=0.0)
    assert module.sed_teacher is not None
    for mine, yours in zip(module.sed_teacher.parameters(), module.sed_student.parameters(), strict=True):
        assert torch.equal(mine, yours)
        assert mine is not yours
        assert not mine.requires_grad
    module.training_step(batch, 0).backward()
    assert all(parameter.grad is None for parameter in module.sed_teacher.parameters())
    assert all(parameter.grad is not None for parameter in module.sed_student.parameters())


def test_only_the_student_is_optimised(make_module: MakeModule) -> None:
    module = make_module()
    optimised = {id(p) for group in module.configure_optimizers()["optimizer"].param_groups for p in group["params"]}
    assert optimised == {id(parameter) for parameter in module.sed_student.parameters()}


def test_the_teacher_hears_in_training_mode(make_module: MakeModule, batch: Batch) -> None:
    module = make_module()
    assert module.sed_teacher is not None
    before = module.sed_teacher.cnn.cnn.batchnorm0.running_mean.clone()
    module.training_step(batch, 0)
    assert module.sed_teacher.training
    assert not torch.equal(before, module.sed_teacher.cnn.cnn.batchnorm0.running_mean)


def test_a_step_without_a_teacher_is_the_supervised_loss(make_module: MakeModule, batch: Batch) -> None:
    module = make_module(dropout=0.0, mean_teacher=None)
    assert module.sed_teacher is None
    inputs, targets = prepare(batch, module.ears, module.augmentations, np.random.default_rng(0))
    expected, _ = supervised_loss(module.sed_student(inputs), targets)
    torch.testing.assert_close(module.training_step(batch, 0), expected)


def test_a_step_with_a_teacher_adds_weight_times_ramp_times_the_difference(
    make_module: MakeModule, batch: Batch
) -> None:
    plain = make_module(dropout=0.0, mean_teacher=None).training_step(batch, 0)
    module = make_module(dropout=0.0, mean_teacher={"consistency_weight": 4.0}, n_epochs_warmup=2)
    assert module.sed_teacher is not None
    torch.testing.assert_close(module.training_step(batch, 0), plain)  # equal weights agree on every clip
    with torch.no_grad():
        module.sed_teacher.dense.bias += 1.0
        inputs, _ = prepare(batch, module.ears, module.augmentations, np.random.default_rng(0))
        student, teacher = module.sed_student(inputs), module.sed_teacher(inputs)
        strong = (student.strong_probs - teacher.strong_probs).square().mean()
        weak = (student.weak_probs - teacher.weak_probs).square().mean()
    ramp = math.exp(-5 * (1 - 1 / 10) ** 2)  # the first of 2 * 5 steps counts as 1
    torch.testing.assert_close(module.training_step(batch, 0), plain + 4.0 * ramp * (strong + weak))


def test_the_learning_rate_rises_with_the_ramp_and_falls_with_the_cosine(make_module: MakeModule) -> None:
    module = make_module(n_epochs=6, n_epochs_warmup=2, decay_from_epoch=4)  # 5 steps each: 10 up, from 20 to 30 down
    rates = [module.relative_rate(step) for step in range(31)]
    assert rates[0] == pytest.approx(math.exp(-5 * 0.9**2))
    assert rates[4] == pytest.approx(math.exp(-5 * 0.5**2))
    assert rates[9:21] == [1.0] * 12
    assert rates[25] == pytest.approx(math.sqrt(0.5))
    assert rates[30] == pytest.approx(0.0, abs=1e-9)


def test_without_a_decay_the_learning_rate_stays(make_module: MakeModule) -> None:
    module = make_module(n_epochs=6, n_epochs_warmup=0)
    assert {module.relative_rate(step) for step in range(40)} == {1.0}


def test_the_teacher_follows_after_each_step(make_module: MakeModule, monkeypatch: pytest.MonkeyPatch) -> None:
    module = make_module(mean_teacher={"ema_decay": 0.7})
    assert module.sed_teacher is not None
    teacher, student = module.sed_teacher.dense.bias, module.sed_student.dense.bias
    with torch.no_grad():
        teacher.fill_(0.0)
        student.fill_(9.0)
    # Steps done: 1, 2. a = 1 - 1/3, then 1 - 1/4 cut to .7
    for step, expected in ((1, 3.0), (2, 0.7 * 3.0 + 0.3 * 9.0)):
        monkeypatch.setattr(SedModule, "global_step", step)
        module.on_train_batch_end(None, None, 0)
        assert teacher[0].item() == pytest.approx(expected)


def test_a_loss_that_is_no_number_ends_the_training_with_a_sentence(make_module: MakeModule, batch: Batch) -> None:
    module = make_module()
    with torch.no_grad():
        module.sed_student.dense.bias.fill_(math.nan)
    with pytest.raises(DesedTaskError, match=r"training diverged at step 0: .* lower training\.learning_rate"):
        module.training_step(batch, 0)


def test_a_checkpoint_holds_plain_weights_and_the_description(make_module: MakeModule) -> None:
    for teacher in (True, False):
        checkpoint: dict[str, object] = {}
        module = make_module() if teacher else make_module(mean_teacher=None)
        module.on_save_checkpoint(checkpoint)
        assert checkpoint["desed_task"] == {"format": 1, "labels": ["hum"]}
        weights = checkpoint["sed_student"]
        assert isinstance(weights, dict)
        assert {"cnn.cnn.conv0.weight", "rnn.rnn.weight_ih_l0_reverse", "dense_softmax.bias"} <= weights.keys()
        assert ("sed_teacher" in checkpoint) is teacher


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_epochs": 10, "n_epochs_warmup": 11}, "n_epochs_warmup 11 exceeds n_epochs 10"),
        ({"n_epochs": 60, "decay_from_epoch": 60}, "decay_from_epoch 60 is not before n_epochs 60"),
        ({"n_epochs": 60, "validation_interval": 61}, "validation_interval 61 exceeds n_epochs 60"),
        ({"learning_rate": 0.0}, "greater than 0"),
        ({"precision": "16"}, "32-true"),
    ],
)
def test_contradictory_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainingOptions(**options)


def test_no_epochs_contradict_nothing() -> None:
    assert TrainingOptions(n_epochs=0, decay_from_epoch=8, validation_interval=4).n_epochs == 0
