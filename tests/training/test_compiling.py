"""Compiled steps: the numbers of plain ones, names that stay, trainings that go on; and one warning where it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from desed_task.batch import Inputs, Predictions
from desed_task.data.dataset import BatchDataset
from desed_task.training import compiling
from desed_task.training.checkpointing import read_checkpoint
from desed_task.training.compiling import Execution
from desed_task.training.fit import fit
from desed_task.training.sed_module import SedModule
from desed_task.training.training_options import TrainingOptions

MakeModule = Callable[..., SedModule]
compile_with_torch = torch.compile


def weights(module: SedModule, dataset: BatchDataset, folder: Path, resume: bool = False) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    fit(module, dataset, folder, torch.device("cpu"), False, folder / "last.ckpt" if resume else None)
    checkpoint = read_checkpoint(folder / "last.ckpt")
    return {f"{model}.{name}": values for model in ("sed_student", "sed_teacher")
            for name, values in checkpoint[model].items()} | dict(checkpoint["state_dict"])  # fmt: skip


def without_idle_biases(module: SedModule) -> SedModule:
    """A bias before a batch norm moves nothing: its gradient is rounding, which Adam blows up to whole steps."""
    for name, parameter in module.sed_student.named_parameters():
        parameter.requires_grad_(not (".conv" in name and name.endswith("bias")))
    return module


def assert_same(found: dict[str, Any], wanted: dict[str, Any], tolerance: float = 0.0) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, rtol=tolerance, atol=tolerance, msg=name)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == compiling.__name__]


@pytest.fixture
def fails_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that notices its failure once the model has drawn masks and moved statistics."""

    def compile_badly(model: nn.Module, **_: object) -> Callable[[Inputs], Predictions]:
        def call(inputs: Inputs) -> Predictions:
            model(inputs)
            raise RuntimeError("no compiler\nand a long story")

        return call

    monkeypatch.setattr(torch, "compile", compile_badly)


@pytest.fixture
def traced_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[nn.Module]]:
    """torch.compile without its slow half, the C++ compiler; gives what was compiled."""
    compiled: list[nn.Module] = []

    def trace(model: nn.Module, **_: object) -> Any:
        compiled.append(model)
        return compile_with_torch(model, backend="eager", dynamic=False)

    monkeypatch.setattr(torch, "compile", trace)
    yield compiled
    torch._dynamo.reset()


@pytest.mark.usefixtures("fails_in_the_middle")
def test_a_failure_is_told_once_and_the_training_is_the_plain_one(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = weights(make_module(), dataset, tmp_path / "plain")
    with caplog.at_level(logging.WARNING):
        found = weights(make_module(compile="default"), dataset, tmp_path / "compiled")
    assert_same(found, plain)
    assert warnings_of(caplog) == [
        "training.compile default has no effect, the models run as they are: RuntimeError: no compiler"
    ]


def test_cuda_graphs_without_cuda_are_told_once_and_the_training_is_the_plain_one(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = weights(make_module(), dataset, tmp_path / "plain")
    with caplog.at_level(logging.WARNING):
        found = weights(make_module(cuda_graphs=True), dataset, tmp_path / "graphs")
    assert_same(found, plain)
    assert warnings_of(caplog) == [
        "training.cuda_graphs has no effect, the models run as they are: no CUDA device trains"
    ]


def test_a_compiled_training_keeps_names_and_goes_on(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, traced_only: list[nn.Module]
) -> None:
    plain = weights(without_idle_biases(make_module(dropout=0.0)), dataset, tmp_path / "plain")
    whole = without_idle_biases(make_module(dropout=0.0, compile="default"))
    found = weights(whole, dataset, tmp_path / "compiled")
    assert traced_only == [whole.sed_student, whole.sed_teacher]
    assert_same(found, plain, tolerance=1e-4)
    begun, goes_on = (
        without_idle_biases(make_module(dropout=0.0, compile="default", n_epochs=n_epochs)) for n_epochs in (1, 2)
    )
    weights(begun, dataset, tmp_path / "resumed")
    resumed = weights(goes_on, dataset, tmp_path / "resumed", resume=True)
    assert_same(resumed, found)


def test_errors_are_errors_once_a_model_has_worked(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Inputs] = []

    def compile_for_a_while(_: nn.Module, **__: object) -> Callable[[Inputs], Predictions]:
        def call(inputs: Inputs) -> Predictions:
            calls.append(inputs)
            if len(calls) == 4:
                raise RuntimeError("the GPU is gone")
            return Predictions(None, inputs.mel)

        return call

    monkeypatch.setattr(torch, "compile", compile_for_a_while)
    execution, model, inputs = Execution("default", False), nn.Linear(1, 1), Inputs(torch.rand(1, 1, 1))
    for _ in range(3):
        execution(model, inputs)
    with pytest.raises(RuntimeError, match="the GPU is gone"):
        execution(model, inputs)
    assert not execution.is_plain


def test_out_of_memory_is_no_failure_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_short(_: nn.Module, **__: object) -> Callable[[Inputs], Predictions]:
        def call(_: Inputs) -> Predictions:
            raise torch.OutOfMemoryError("CUDA out of memory")

        return call

    monkeypatch.setattr(torch, "compile", compile_short)
    execution = Execution("default", False)
    with pytest.raises(torch.OutOfMemoryError):
        execution(nn.Linear(1, 1), Inputs(torch.rand(1, 1, 1)))
    assert not execution.is_plain


def test_recorded_steps_cannot_add_up_gradients() -> None:
    with pytest.raises(ValidationError, match="cuda_graphs overwrite the gradients that accumulate_batches 2 adds up"):
        TrainingOptions(cuda_graphs=True, accumulate_batches=2)


@pytest.mark.slow
def test_really_compiled_steps_give_the_numbers_of_plain_ones(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = weights(without_idle_biases(make_module(dropout=0.0)), dataset, tmp_path / "plain")
    with caplog.at_level(logging.WARNING):
        module = without_idle_biases(make_module(dropout=0.0, compile="default"))
        found = weights(module, dataset, tmp_path / "compiled")
    assert warnings_of(caplog) == []
    assert_same(found, plain, tolerance=1e-4)


@pytest.mark.slow
def test_without_a_compiler_the_training_is_the_plain_one(
    make_module: MakeModule,
    dataset: BatchDataset,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/no/such/compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch._dynamo.reset()
    plain = weights(make_module(), dataset, tmp_path / "plain")
    with caplog.at_level(logging.WARNING):
        found = weights(make_module(compile="default"), dataset, tmp_path / "compiled")
    (sentence,) = warnings_of(caplog)
    assert "No working C++ compiler found" in sentence
    assert_same(found, plain)
