"""Embedders that learn with the detector: gradients, rates of their own, where they begin, what is mixed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fused_systems import AST, CNN14, RATE, SECONDS, fused_options, write_weights
from torch import Tensor, nn

from desed_task.augment.mixup import Mixup, MixupOptions
from desed_task.batch import Batch, Embedding, Targets
from desed_task.embeddings.embedder import Network
from desed_task.embeddings.learning import Learning, parameter_groups
from desed_task.experiment import SedOptions
from desed_task.system import build_ears, build_grid, build_model, load_learning
from desed_task.training.batch_split import BatchSplit, Step
from desed_task.training.sed_module import SedModule
from desed_task.training.step import compute_losses, prepare

pytestmark = pytest.mark.usefixtures("one_thread")

RATES = {"a": 1e-3, "b": 1e-4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a Cnn14, a.pt, and of an AST, b.pt."""
    folder = tmp_path_factory.mktemp("weights")
    write_weights(folder / "a.pt", CNN14)
    write_weights(folder / "b.pt", AST)
    return folder


def options_of(folder: Path, mode: str = "learning", **training: Any) -> SedOptions:
    """A detector that listens to both."""
    a = {**CNN14, "mode": mode, "learning_rate": RATES["a"], "weights": str(folder / "a.pt")}
    b = {**AST, "mode": mode, "learning_rate": RATES["b"], "weights": str(folder / "b.pt")}
    sections = {"training": {"learning_rate": 1e-2, "num_threads": 1, **training}}
    return fused_options({"a": a, "b": b}, {"a": "aligned", "b": "pool1d"}, **sections)


def module_of(options: SedOptions) -> SedModule:
    torch.manual_seed(0)
    student = build_model(options)
    load_learning(student, options)
    rates = {name: one.learning_rate for name, one in options.embedders.items() if one.mode == "learning"}
    return SedModule(student, build_ears(options), options.training, (), 5, lambda _: {"objective": 0.0}, {}, rates)


def batch_of(options: SedOptions, clips: int = 4) -> Batch:
    """Noise of different loudness, half strongly, half weakly labelled."""
    grid, rng = build_grid(options), torch.Generator().manual_seed(3)
    waveform = torch.randn(clips, round(SECONDS * RATE), generator=rng) * torch.logspace(-3, -1, clips)[:, None]
    frames = grid.num_frames(waveform.shape[1])
    is_strong = torch.arange(clips) % 2 == 0
    strong = (torch.rand(clips, frames, 2, generator=rng) > 0.5).float()
    targets = Targets(strong, strong.amax(dim=1), is_strong, ~is_strong)
    return Batch(waveform, targets, tuple(f"clip{clip}" for clip in range(clips)))


def loss_of(module: SedModule, batch: Batch) -> Tensor:
    inputs, targets = prepare(batch, module.ears, (), np.random.default_rng(0))
    return compute_losses(module.sed_student, None, inputs, targets, module.options, 0.0).total


def test_an_embedders_first_step_is_its_rate_and_the_detectors_the_trainings(folder: Path) -> None:
    """Adam's first step is the learning rate, with the sign of the gradient."""
    module = module_of(options_of(folder))
    before = {name: values.detach().clone() for name, values in module.sed_student.named_parameters()}
    optimizer = module.build_optimizer()
    loss_of(module, batch_of(options_of(folder))).backward()
    optimizer.step()
    rates = {"embedders.a": 1e-3, "embedders.b": 1e-4, "detector": 1e-2}
    for name, parameter in module.sed_student.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name
        if parameter.grad is None:
            continue
        rate = next(rate for start, rate in rates.items() if name.startswith(start + "."))
        is_clear = parameter.grad.abs() > 1e-5  # beside Adam's epsilon of 1e-8
        moved = (before[name] - parameter.detach())[is_clear]
        torch.testing.assert_close(moved, rate * parameter.grad[is_clear].sign(), rtol=0.02, atol=1e-7)
    learned = {name.split(".")[1] for name, p in module.sed_student.named_parameters() if p.grad is not None and
               bool((p.grad.abs() > 1e-5).any()) and name.startswith("embedders.")}  # fmt: skip
    assert learned == {"a", "b"}


def test_the_schedule_scales_all_rates_alike(folder: Path) -> None:
    module = module_of(options_of(folder, n_epochs=4, n_epochs_warmup=2, decay_from_epoch=3))
    configured = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    shares = []
    for _ in range(20):
        detector, *embedders = [group["lr"] for group in optimizer.param_groups]
        assert embedders == pytest.approx([0.1 * detector, 0.01 * detector])
        shares.append(detector / 1e-2)
        optimizer.step()
        scheduler.step()
    assert shares[0] < 0.1 and max(shares) == pytest.approx(1.0) and shares[-1] < 0.5


def test_groups_have_names_where_there_are_several(folder: Path) -> None:
    names = [group["name"] for group in parameter_groups(build_model(options_of(folder)), RATES)]
    assert names == ["detector", "embedders.a", "embedders.b"]
    (only,) = parameter_groups(build_model(options_of(folder, "frozen")), {})
    assert only.keys() == {"params"}


def test_no_parameter_is_in_two_groups_or_in_none(folder: Path) -> None:
    model = build_model(options_of(folder))
    grouped = [id(parameter) for group in parameter_groups(model, RATES) for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters() if parameter.requires_grad)


def test_learning_begins_with_the_weights_of_the_files(folder: Path) -> None:
    options = options_of(folder)
    model = build_model(options)
    load_learning(model, options)
    assert isinstance(model, Learning)
    for name in ("a", "b"):
        file, mine = torch.load(folder / f"{name}.pt", weights_only=True), model.embedders[name].network.state_dict()
        assert mine
        assert all(torch.equal(values, file[key]) for key, values in mine.items())


def test_before_it_learns_it_says_what_a_frozen_one_says(folder: Path) -> None:
    answers = []
    waveform = batch_of(options_of(folder)).waveform
    for mode in ("frozen", "learning"):
        options = options_of(folder, mode)
        model = module_of(options).sed_student.eval()
        with torch.no_grad():
            answers.append(model(build_ears(options)(waveform)).strong_logits)
    torch.testing.assert_close(*answers)


def test_the_teacher_has_embedders_of_its_own_that_follow(folder: Path) -> None:
    module = module_of(options_of(folder))
    student, teacher = module.models["student"], module.models["teacher"]
    assert student.state_dict().keys() == teacher.state_dict().keys()
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    name = "embedders.a.network.conv_block1.conv1.weight"
    with torch.no_grad():
        student.state_dict()[name].add_(1.0)
    module._follow(1)  # by half
    moved = teacher.state_dict()[name] - student.state_dict()[name]
    torch.testing.assert_close(moved, torch.full_like(moved, -0.5))


def test_linear_mixup_mixes_what_an_embedder_hears_before_its_logarithm(folder: Path) -> None:
    options = options_of(folder)
    ears, batch = build_ears(options), batch_of(options)
    mixup = Mixup(MixupOptions(probability=1.0, alpha=1.0))
    with torch.no_grad():
        linear = ears.spectrum(batch.waveform)
        mixed, _ = mixup(linear, batch.targets, np.random.default_rng(5))
        expected = ears.normalise(ears.compress(mixed))
    inputs, _ = prepare(batch, ears, [mixup], np.random.default_rng(5))
    assert inputs.embedder_inputs.keys() == {"a", "b"}
    for name, heard in inputs.embedder_inputs.items():
        torch.testing.assert_close(heard, expected.embedder_inputs[name])
    partner = torch.tensor([2, 3, 0, 1])  # the other strong clip, the other weak one
    one, both = linear.embedder_inputs["a"], mixed.embedder_inputs["a"]
    share = ((both - one[partner]) / (one - one[partner])).flatten(1).median(dim=1).values
    torch.testing.assert_close(both, share[:, None, None] * one + (1 - share[:, None, None]) * one[partner])
    assert bool((share < 0.999).all())


def test_a_batch_in_parts_gives_the_gradients_of_the_whole(folder: Path) -> None:
    """Without batch norm's statistics and dropout, which are of each part: all hear in eval mode."""
    options = options_of(folder)
    batch = batch_of(options, clips=8)
    found = []
    for parts in (1, 3):
        module = module_of(options)
        module.sed_student.eval()
        step = Step(
            batch,
            lambda portions, ears=module.ears: prepare(batch, ears, (), np.random.default_rng(0), portions),
            lambda inputs, targets, shares, module=module: compute_losses(
                module.sed_student, None, inputs, targets, module.options, 0.0, shares
            ),
            lambda *_: None,
        )
        split = BatchSplit([module.sed_student], parts)
        split.backward(split.begin(step))
        found.append({name: p.grad for name, p in module.sed_student.named_parameters() if p.grad is not None})
    assert any(name.startswith("embedders.b") for name in found[0])
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_out_of_memory_in_an_embedder_the_step_is_made_in_parts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is memory for three clips: eight are made in two parts and then in four, embedders' statistics put back."""
    options = options_of(folder)
    module, batch, hear = module_of(options), batch_of(options, clips=8), Network.forward
    network = module.sed_student.embedders["a"]
    before, heard_clips = network.state_dict()["network.bn0.num_batches_tracked"].clone(), []

    def short(self: Network, heard: Tensor) -> Embedding:
        said = hear(self, heard)
        if len(heard) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        heard_clips.append(len(heard))
        return said

    monkeypatch.setattr(Network, "forward", short)
    step = Step(
        batch,
        lambda portions: prepare(batch, module.ears, (), np.random.default_rng(0), portions),
        lambda inputs, targets, shares: compute_losses(
            module.sed_student, None, inputs, targets, module.options, 0.0, shares
        ),
        lambda *_: None,
    )
    split = BatchSplit([module.sed_student])
    with caplog.at_level("WARNING"):
        split.backward(split.begin(step))
    assert split.parts == 4 and heard_clips == [2] * 8  # both embedders
    assert "batches of 8 clips are made in 4 parts" in caplog.text
    assert int(network.state_dict()["network.bn0.num_batches_tracked"] - before) == 4
    assert all(p.grad is not None for p in module.sed_student.parameters() if p.requires_grad)


def test_in_bfloat16_embedders_hear_in_half_and_the_detector_gets_whole_numbers(folder: Path) -> None:
    options = options_of(folder)
    module, seen = module_of(options), []
    hooks = [module.sed_student.embedders[name].register_forward_hook(
        lambda _, __, embedding: seen.append(embedding.values.dtype)) for name in ("a", "b")]  # fmt: skip
    inner = module.sed_student.embedders["b"].network.get_submodule("v.blocks.0.mlp.fc1")
    hooks.append(inner.register_forward_hook(lambda _, __, output: seen.append(output.dtype)))
    inputs, targets = prepare(batch_of(options), module.ears, (), np.random.default_rng(0))
    with torch.autocast("cpu", torch.bfloat16):
        loss = compute_losses(module.sed_student, None, inputs, targets, options.training, 0.0).total
    loss.backward()
    assert sorted(map(str, seen)) == ["torch.bfloat16", "torch.float32", "torch.float32"]
    gradients = [p.grad for p in module.sed_student.parameters() if p.requires_grad]
    assert all(gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients)
    for hook in hooks:
        hook.remove()


def test_an_ordinary_model_has_no_embedder_to_load(folder: Path) -> None:
    model = build_model(options_of(folder, "frozen"))
    assert not isinstance(model, Learning)
    load_learning(model, options_of(folder, "frozen"))
    assert isinstance(model, nn.Module)
