"""The lean step against a plain one written out here, what it costs the host, and what it is in mixed precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from desed_task.augment.filter_augment import FilterAugment, FilterAugmentOptions
from desed_task.augment.frequency_mask import FrequencyMask, FrequencyMaskOptions
from desed_task.augment.mixup import Mixup, MixupOptions
from desed_task.batch import Batch, Inputs, Predictions
from desed_task.data.dataset import BatchDataset
from desed_task.embeddings.ears import Ears
from desed_task.features.logmel import LogMel, LogMelOptions
from desed_task.training.checkpointing import read_checkpoint, write_checkpoint
from desed_task.training.divergence import DivergenceWatch
from desed_task.training.fit import fit
from desed_task.training.mean_teacher import update_teacher
from desed_task.training.sed_module import SedModule
from desed_task.training.step import Losses, compute_losses, prepare

MakeModule = Callable[..., SedModule]
STEPS, RATE, DECAY, WEIGHT = 5, 0.01, 0.999, 2.0
# Relative to the loss: bfloat16 keeps 8 bits, the network is four layers deep.
BFLOAT16_TOLERANCE = 0.02


class PlainGlu(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        linear = self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return linear * torch.sigmoid(x)


class PlainNet(nn.Module):
    """The network of `make_module` from torch's own layers; the names are those of its state dict."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.rnn = nn.Module(), nn.Module()
        layers: dict[str, nn.Module] = {}
        for block, (before, pool) in enumerate(((1, (2, 2)), (4, (1, 4)))):
            layers[f"conv{block}"] = nn.Conv2d(before, 4, 3, padding=1)
            layers[f"batchnorm{block}"] = nn.BatchNorm2d(4, eps=1e-3, momentum=0.1)
            layers[f"glu{block}"] = PlainGlu(4)
            layers[f"dropout{block}"] = nn.Dropout(0.0)
            layers[f"pooling{block}"] = nn.AvgPool2d(pool)
        self.cnn.cnn = nn.Sequential()
        for name, layer in layers.items():
            self.cnn.cnn.add_module(name, layer)
        self.rnn.rnn = nn.GRU(4, 4, num_layers=2, bidirectional=True, batch_first=True)
        self.dense, self.dense_softmax = nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Frame and clip probabilities."""
        cnn: Any = self.cnn
        x = cnn.cnn(mel.unsqueeze(1))
        rnn: Any = self.rnn
        x = rnn.rnn(x.permute(0, 2, 1, 3).flatten(2))[0]
        strong = torch.sigmoid(self.dense(x))
        attention = torch.softmax(self.dense_softmax(x), dim=-1).clamp(1e-7, 1.0)
        return strong, (strong * attention).sum(1) / attention.sum(1)


def plain_steps(student: PlainNet, mel: Tensor, batch: Batch, ramp: Sequence[float]) -> tuple[list[float], PlainNet]:
    """Losses of some steps, and the teacher after them: Adam as published, the average parameter by parameter."""
    teacher = copy.deepcopy(student)
    optimizer = torch.optim.Adam(student.parameters(), lr=RATE, betas=(0.9, 0.999), fused=False, foreach=False)
    losses, targets = [], batch.targets
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * ramp[step]
        strong, weak = student(mel)
        with torch.no_grad():
            teacher_strong, teacher_weak = teacher(mel)
        loss = functional.binary_cross_entropy(strong[targets.has_strong], targets.strong[targets.has_strong])
        loss = loss + functional.binary_cross_entropy(weak[targets.has_weak], targets.weak[targets.has_weak])
        differences = functional.mse_loss(strong, teacher_strong) + functional.mse_loss(weak, teacher_weak)
        loss = loss + WEIGHT * ramp[step] * differences
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        share = min(1 - 1 / (step + 3), DECAY)  # the published counter stands at 2 after the first step
        with torch.no_grad():
            for mine, its in zip(teacher.parameters(), student.parameters(), strict=True):
                mine.mul_(share).add_(its, alpha=1 - share)
    return losses, teacher


def test_without_dropout_it_is_the_plain_step(
    make_module: MakeModule, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SedModule, "log", lambda *_, **__: None)
    module = make_module(dropout=0.0, learning_rate=RATE).to(memory_format=torch.channels_last)
    assert module.sed_teacher is not None
    plain = PlainNet()
    plain.load_state_dict(module.sed_student.state_dict())
    for model in (module.sed_student, plain):
        for name, parameter in model.named_parameters():
            # A bias before a batch norm moves nothing: its gradient is rounding, which Adam blows up to whole steps.
            parameter.requires_grad_(not (".conv" in name and name.endswith("bias")))
    inputs, _ = prepare(batch, module.ears, (), np.random.default_rng(0))
    wanted, teacher = plain_steps(plain, inputs.mel, batch, [module._ramp(step + 1) for step in range(STEPS)])

    optimiser = module.configure_optimizers()["optimizer"]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, module.relative_rate)
    losses = []
    for step in range(STEPS):
        monkeypatch.setattr(SedModule, "global_step", step)
        optimiser.zero_grad()
        loss = module.training_step(batch, step)
        loss.backward()
        optimiser.step()
        scheduler.step()
        losses.append(loss.item())
        monkeypatch.setattr(SedModule, "global_step", step + 1)
        module.on_train_batch_end(None, None, step)
    assert losses == pytest.approx(wanted, abs=1e-4)
    assert losses[0] - losses[-1] > 0.01  # it has learnt something that could differ
    for mine, reference in ((module.sed_student, plain), (module.sed_teacher, teacher)):
        for name, values in reference.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], values, rtol=1e-4, atol=1e-4, msg=name)


class NoQuestions(TorchDispatchMode):
    """Refuses operations for which a GPU's host would wait: a number of a tensor, shapes that depend on values."""

    waits = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal", "bincount")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.strip("_").split(".")[0]
        by_mask = name == "index" and any(
            isinstance(index, Tensor) and index.dtype == torch.bool for index in args[1] if index is not None
        )
        if by_mask or any(name.startswith(waiting.strip("_")) for waiting in self.waits):
            raise AssertionError(f"the host waits for {func}")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "question", [lambda x: x.sum().item(), lambda x: bool((x > 0).all()), lambda x: x[x > 0], torch.nonzero]
)
def test_questions_are_noticed(question: Callable[[Tensor], object]) -> None:
    with NoQuestions(), pytest.raises(AssertionError, match="the host waits"):
        question(torch.ones(3))


def test_the_host_asks_the_device_nothing_in_a_step(make_module: MakeModule, batch: Batch) -> None:
    module = make_module(gradient_clip=1.0)
    assert module.sed_teacher is not None
    optimiser = module.configure_optimizers()["optimizer"]
    augmentations = (
        Mixup(MixupOptions(probability=1.0)),
        FilterAugment(FilterAugmentOptions()),
        FrequencyMask(FrequencyMaskOptions()),
    )
    watch = DivergenceWatch(look_every=50)
    with NoQuestions():
        watch._watched = 1  # the first look, which asks, is over
        inputs, targets = prepare(batch, module.ears, augmentations, np.random.default_rng(0))
        losses = compute_losses(module.sed_student, module.sed_teacher, inputs, targets, module.options, 1.0)
        watch.watch(0, batch, inputs, losses.student, losses.total, losses.terms, module.sed_student)
        losses.total.backward()
        nn.utils.clip_grad_norm_(module.sed_student.parameters(), 1.0)
        optimiser.step()
        update_teacher(module.sed_teacher, module.sed_student, 1, 0.999, average_statistics=True)


def losses_of(module: SedModule, batch: Batch, precision: torch.dtype) -> tuple[Losses, Inputs]:
    with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
        inputs, targets = prepare(batch, module.ears, (), np.random.default_rng(0))
        return compute_losses(module.sed_student, module.sed_teacher, inputs, targets, module.options, 1.0), inputs


def test_bfloat16_keeps_scores_and_losses_in_float32_and_near(make_module: MakeModule, batch: Batch) -> None:
    exact, _ = losses_of(make_module(dropout=0.0), batch, torch.float32)
    module = make_module(dropout=0.0)
    mixed, inputs = losses_of(module, batch, torch.bfloat16)
    assert inputs.mel.dtype == torch.float32
    assert mixed.total.dtype == torch.float32
    assert mixed.student.strong_logits is not None
    assert mixed.student.strong_logits.dtype == mixed.student.weak_logits.dtype == torch.float32
    assert mixed.total.item() == pytest.approx(exact.total.item(), rel=BFLOAT16_TOLERANCE)
    assert mixed.total.item() != exact.total.item()  # it was mixed
    for name, term in exact.terms.items():
        assert mixed.terms[name].item() == pytest.approx(term.item(), rel=BFLOAT16_TOLERANCE, abs=1e-4)
    mixed.total.backward()
    assert all(torch.isfinite(values.grad).all() for values in module.sed_student.parameters())


@pytest.mark.parametrize("samples", ["noise", "silence"])
def test_features_are_the_same_in_mixed_precision(batch: Batch, samples: str) -> None:
    ears = Ears(LogMel(LogMelOptions()))
    batch = batch if samples == "noise" else replace(batch, waveform=torch.zeros_like(batch.waveform))
    wanted, _ = prepare(batch, ears, (Mixup(MixupOptions(probability=1.0)),), np.random.default_rng(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = prepare(batch, ears, (Mixup(MixupOptions(probability=1.0)),), np.random.default_rng(0))
    assert torch.equal(found.mel, wanted.mel)
    assert torch.isfinite(found.mel).all()


def test_adam_is_fused_unless_mixed_precision_is_clipped(make_module: MakeModule) -> None:
    def fused(**options: Any) -> bool:
        return bool(make_module(**options).configure_optimizers()["optimizer"].param_groups[0]["fused"])

    assert fused()
    assert fused(gradient_clip=1.0)
    assert fused(precision="16-mixed")
    assert not fused(precision="bf16-mixed", gradient_clip=1.0)
    assert not fused(precision="16-mixed", gradient_clip=1.0)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_clipped_gradients_train_in_every_precision(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, precision: str
) -> None:
    module = make_module(precision=precision, gradient_clip=0.1, n_epochs=1, n_epochs_warmup=0)
    before = copy.deepcopy(module.sed_student.state_dict())
    fit(module, dataset, tmp_path, torch.device("cpu"), fast_dev_run=False)
    after = module.sed_student.state_dict()
    assert any(not torch.equal(values, after[name]) for name, values in before.items())


def test_a_checkpoint_of_an_adam_that_was_not_fused_goes_on_fused(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    fit(make_module(n_epochs=1), dataset, tmp_path, torch.device("cpu"), fast_dev_run=False)
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    checkpoint["optimizer_states"][0]["param_groups"][0]["fused"] = None
    write_checkpoint(checkpoint, tmp_path / "last.ckpt")
    module = make_module()
    fit(module, dataset, tmp_path, torch.device("cpu"), False, tmp_path / "last.ckpt")
    assert read_checkpoint(tmp_path / "last.ckpt")["optimizer_states"][0]["param_groups"][0]["fused"] is True


def test_heads_are_computed_in_float32(make_module: MakeModule) -> None:
    model = make_module(dropout=0.0).sed_student
    heard: list[torch.dtype] = []
    model.dense.register_forward_pre_hook(lambda _, arguments: heard.append(arguments[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions: Predictions = model(Inputs(torch.rand(2, 6, 8)))
    assert heard == [torch.float32]
    assert predictions.weak_logits.dtype == torch.float32
