"""Which parameters learn, at which rate, and what decays."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from desed_task.errors import OptionsError
from desed_task.training.tagging_losses import FocalOptions
from desed_task.training.tagging_optimizers import (
    AdamOptions,
    AdamWOptions,
    SgdOptions,
    build_optimizer,
    freeze_trunk,
    hear_with_frozen_trunk,
)
from desed_task.training.tagging_options import EnsembleOptions, TaggingTrainingOptions, WeightAveragingOptions


class Small(nn.Module):
    """trunk: convolution, norm, dropout; head: a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.head = nn.Linear(3, 4)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.head(self.trunk(values).mean(dim=2)))


def rates(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, tuple[float, float]]:
    """Parameter -> (learning rate, weight decay)."""
    of = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    return {name: of[id(parameter)] for name, parameter in model.named_parameters() if id(parameter) in of}


def test_by_default_all_parameters_are_one_group_as_published() -> None:
    model = Small()
    optimizer = build_optimizer(model, AdamOptions(betas=(0.95, 0.999), weight_decay=5e-7), 1e-3, head=("head.",))
    assert isinstance(optimizer, torch.optim.Adam)
    assert len(optimizer.param_groups) == 1
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(p) for p in model.parameters()]
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.999)
    assert set(rates(optimizer, model).values()) == {(1e-3, 5e-7)}


def test_the_head_may_learn_faster_and_norms_and_biases_need_not_decay() -> None:
    model = Small()
    options = AdamWOptions(weight_decay=0.1, decay_norms=False)
    optimizer = build_optimizer(model, options, 0.01, head=("head.",), head_scale=10.0)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert rates(optimizer, model) == {
        "trunk.0.weight": (0.01, 0.1),
        "trunk.0.bias": (0.01, 0.0),
        "trunk.1.weight": (0.01, 0.0),
        "trunk.1.bias": (0.01, 0.0),
        "head.weight": (0.1, 0.1),
        "head.bias": (0.1, 0.0),
    }


def test_sgd_and_amsgrad() -> None:
    model = Small()
    group = build_optimizer(model, SgdOptions(momentum=0.9), 0.1).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (0.9, True)
    assert build_optimizer(model, AdamOptions(amsgrad=True), 0.1).param_groups[0]["amsgrad"]
    with pytest.raises(ValidationError, match="nesterov looks ahead"):
        SgdOptions(momentum=0.0)


def test_a_frozen_trunk_neither_learns_nor_moves_its_statistics() -> None:
    torch.manual_seed(0)
    model = Small()
    freeze_trunk(model, ("head.",))
    optimizer = build_optimizer(model, AdamOptions(), 0.1, head=("head.",))
    assert rates(optimizer, model).keys() == {"head.weight", "head.bias"}
    before = {name: values.clone() for name, values in model.state_dict().items()}
    model.train()
    hear_with_frozen_trunk(model)
    assert model.head.training
    for _ in range(2):
        model(torch.randn(8, 2, 5)).square().sum().backward()
        optimizer.step()
    changed = {name for name, values in model.state_dict().items() if not torch.equal(values, before[name])}
    assert changed == {"head.weight", "head.bias"}
    heard = torch.randn(2, 2, 5)
    assert torch.equal(model(heard), model(heard)), "dropout of the trunk is off"


def test_a_model_without_that_head_is_refused() -> None:
    with pytest.raises(OptionsError, match="no parameter of the model is one of its head"):
        freeze_trunk(Small(), ("fc_audioset.",))


def test_options_that_contradict_one_another_are_refused() -> None:
    for faulty, sentence in (
        ({"loss": FocalOptions(), "class_weights": "weights.pth"}, "for the loss bce, not for focal"),
        ({"freeze_trunk": True}, "random without init_from"),
        ({"freeze_trunk": True, "init_from": "a.pth", "head_learning_rate_scale": 2.0}, "only the head learns"),
        (
            {"n_epochs": 20, "weight_averaging": {"first_epoch": 16, "last_epoch": 30}},
            "last_epoch 30 exceeds n_epochs 20",
        ),
        ({"n_epochs": 20, "ensemble": {"first_epoch": 21}}, "ensemble.first_epoch 21 exceeds"),
        ({"weight_averaging": {"first_epoch": 3, "last_epoch": 2}}, "is before first_epoch"),
        ({"loss": {"name": "hinge"}}, "hinge"),
    ):
        with pytest.raises(ValidationError, match=sentence):
            TaggingTrainingOptions.model_validate(faulty)


def test_epochs_are_counted_from_1_and_hold_both_ends() -> None:
    averaging = WeightAveragingOptions(first_epoch=16, last_epoch=30)
    assert [epoch for epoch in range(1, 41) if averaging.holds(epoch)] == list(range(16, 31))
    assert all(EnsembleOptions().holds(epoch) for epoch in range(1, 41))
