"""The optimisers of the published taggers, and what of a model they move at which rate.

The head (what depends on the number of classes, `Tagger.HEAD`) may learn faster than the trunk, or alone. Without
further options all parameters are one group, as published.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from desed_task.errors import OptionsError
from desed_task.options import Options


class AdamOptions(Options):
    """Adam, its weight decay being part of the gradient."""

    name: Literal["adam"] = "adam"
    betas: tuple[float, float] = Field((0.9, 0.999), description="Memory of gradients and of their squares.")
    weight_decay: float = Field(0.0, ge=0, description="Share of a weight that is added to its gradient.")
    amsgrad: bool = Field(False, description="Whether the squares' memory never falls (PANNs).")
    decay_norms: bool = Field(True, description="Whether norms and biases decay, too, as in all published recipes.")


class AdamWOptions(Options):
    """Adam with weight decay beside the gradient."""

    name: Literal["adamw"] = "adamw"
    betas: tuple[float, float] = Field((0.9, 0.999), description="Memory of gradients and of their squares.")
    weight_decay: float = Field(0.01, ge=0, description="Share of a weight, times the learning rate, lost each step.")
    decay_norms: bool = Field(True, description="Whether norms and biases decay, too.")


class SgdOptions(Options):
    """Stochastic gradient descent."""

    name: Literal["sgd"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1, description="Memory of gradients.")
    nesterov: bool = Field(True, description="Whether the gradient is that of a step ahead.")
    weight_decay: float = Field(0.0, ge=0, description="Share of a weight that is added to its gradient.")
    decay_norms: bool = Field(True, description="Whether norms and biases decay, too.")

    @model_validator(mode="after")
    def _consistent(self) -> SgdOptions:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead along the momentum, which is 0; set nesterov to false")
        return self


OptimizerOptions = Annotated[AdamOptions | AdamWOptions | SgdOptions, Field(discriminator="name")]


def freeze_trunk(model: nn.Module, head: Sequence[str]) -> None:
    """Only parameters whose names begin with one of `head` learn from here on; OptionsError when there are none."""
    names = [name for name, _ in model.named_parameters()]
    if not any(_is_of(name, head) for name in names):
        raise OptionsError(f"training.freeze_trunk: no parameter of the model is one of its head ({', '.join(head)})")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_is_of(name, head))


def hear_with_frozen_trunk(model: nn.Module) -> None:
    """Parts in which nothing learns hear as in a test: no dropout, and batch norm keeps its statistics.

    To be called after each `model.train()`, which would undo it. Published fine-tuning lets statistics go on.
    """
    for part in model.modules():
        parameters = list(part.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            part.eval()


def build_optimizer(
    model: nn.Module,
    options: AdamOptions | AdamWOptions | SgdOptions,
    learning_rate: float,
    head: Sequence[str] = (),
    head_scale: float = 1.0,
    fused: bool = False,
) -> torch.optim.Optimizer:
    """What moves the parameters that learn. learning_rate: the highest; times head_scale for those of the head.

    head: beginnings of parameter names. fused: one kernel per step, which float16's scaler and clipping do not allow.
    """
    groups = list(_groups(model, options.weight_decay, options.decay_norms, learning_rate, head, head_scale))
    shared: dict[str, Any] = {"lr": learning_rate, "weight_decay": options.weight_decay, "fused": fused}
    if isinstance(options, SgdOptions):
        return torch.optim.SGD(groups, momentum=options.momentum, nesterov=options.nesterov, **shared)
    if isinstance(options, AdamWOptions):
        return torch.optim.AdamW(groups, betas=options.betas, **shared)
    return torch.optim.Adam(groups, betas=options.betas, amsgrad=options.amsgrad, **shared)


def _groups(
    model: nn.Module, weight_decay: float, decay_norms: bool, learning_rate: float, head: Sequence[str], scale: float
) -> Iterator[dict[str, Any]]:
    """Parameters in the order of the model, by (of the head, decays); groups that would be alike are one."""
    by_kind: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = decay_norms or parameter.dim() > 1
            by_kind.setdefault((scale != 1.0 and _is_of(name, head), decays), []).append(parameter)
    for (is_head, decays), parameters in by_kind.items():
        rate = learning_rate * (scale if is_head else 1.0)
        yield {"params": parameters, "lr": rate, "weight_decay": weight_decay if decays else 0.0}


def _is_of(name: str, head: Sequence[str]) -> bool:
    return name.startswith(tuple(head))
