"""Training with a frozen trunk, of every network that GISE-51 begins others from: only the head learns, cheaply."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from desed_task.batch import Inputs
from desed_task.models.cifar_resnet import CifarResNet, CifarResNetOptions
from desed_task.models.densenet import DenseNet, DenseNetOptions
from desed_task.models.efficientnet import EfficientNet, EfficientNetOptions
from desed_task.models.resnet import ResNet, ResNetOptions
from desed_task.models.tagger import InputShape
from desed_task.training.tagging_optimizers import AdamOptions, build_optimizer, freeze_trunk, hear_with_frozen_trunk

SHAPE = InputShape(64, 64)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet": lambda: ResNet(ResNetOptions(depth=10, width=4), SHAPE, 3),
    "cifar_resnet": lambda: CifarResNet(CifarResNetOptions(depth=8, width=4), SHAPE, 3),
    "densenet": lambda: DenseNet(DenseNetOptions(blocks=(1, 1), growth_rate=4, width=8), SHAPE, 3),
    "efficientnet": lambda: EfficientNet(
        EfficientNetOptions(eff_b=0, width=0.1, depth=0.1, head="linear", image_size=221, drop_connect=0.5), SHAPE, 3
    ),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def frozen(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = NETWORKS[name]()
    freeze_trunk(model, model.HEAD)  # type: ignore[arg-type]
    model.train()
    hear_with_frozen_trunk(model)
    return model


def inputs() -> Inputs:
    return Inputs(torch.randn(4, 64, 64, generator=torch.Generator().manual_seed(1)))


@every_network
def test_a_step_moves_the_head_alone_and_no_statistics(name: str) -> None:
    model = frozen(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = build_optimizer(model, AdamOptions(), 0.1)
    model(inputs()).weak_logits.square().mean().backward()
    optimizer.step()
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    head: tuple[str, ...] = model.HEAD  # type: ignore[assignment]
    assert moved == {key for key in before if key.startswith(head)}
    assert all(value.grad is None for key, value in model.named_parameters() if not key.startswith(head))


@every_network
def test_nothing_is_kept_of_the_trunk_for_gradients(name: str) -> None:
    kept: list[Tensor] = []

    def keep(values: Tensor) -> Tensor:
        kept.append(values)
        return values

    model = frozen(name)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
        model(inputs())
    head = sum(value.numel() for key, value in model.named_parameters() if value.requires_grad)
    # The head's own input and weights, of a few hundred numbers; the stem's map alone has more.
    features = next(value for value in model.parameters() if value.requires_grad).shape[-1]
    assert 0 < sum(values.numel() for values in kept) <= head + 4 * 16 * features * 2


@every_network
def test_the_trunk_hears_as_in_a_test(name: str) -> None:
    model = frozen(name)
    together = model.embed(inputs(), "frame")  # type: ignore[operator]
    assert torch.equal(model.embed(inputs(), "frame"), together)  # type: ignore[operator]  # no block is skipped
    alone = model.embed(Inputs(inputs().mel[:1]), "frame")  # type: ignore[operator]
    torch.testing.assert_close(alone, together[:1], atol=1e-5, rtol=1e-4)  # no statistics of the batch
