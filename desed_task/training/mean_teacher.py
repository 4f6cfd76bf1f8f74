"""The mean teacher: a second model whose parameters follow the student's (Tarvainen, Valpola 2017, arXiv 1703.01780).

After step s, teacher = a * teacher + (1 - a) * student with a = min(1 - 1 / (s + 1), decay). As published, the teacher
hears the student's batch in training mode (dropout on, noise on both sides as in the paper) and keeps batch-norm
statistics of its own; both are options. The published code moves the teacher before the optimiser's step instead of
after it, so that it lags by one step and never sees the last (`follows: before_step`).
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from desed_task.options import Options


class MeanTeacherOptions(Options):
    """How the teacher follows and how strongly the student must agree with it."""

    ema_decay: float = Field(0.999, ge=0, lt=1, description="Largest share of the old teacher in the new.")
    consistency_weight: float = Field(2.0, ge=0, description="Weight of the consistency loss after its ramp.")
    consistency_loss: Literal["mse", "bce"] = Field(
        "mse", description="Student against teacher probabilities: squared difference, or binary cross-entropy."
    )
    mode: Literal["train", "eval"] = Field(
        "train", description="Whether the teacher hears with dropout and batch statistics (train) or without (eval)."
    )
    statistics: Literal["own", "averaged"] = Field(
        "own", description="The teacher's batch-norm statistics: of its own forward passes, or following the student's."
    )
    follows: Literal["after_step", "before_step"] = Field(
        "after_step", description="When the teacher follows; before the optimiser's step, as published, it lags by one."
    )

    @model_validator(mode="after")
    def _consistent(self) -> MeanTeacherOptions:
        if self.mode == "eval" and self.statistics == "own":
            raise ValueError("mode eval never updates the teacher's own statistics; set statistics to averaged")
        return self


def build_teacher(student: nn.Module, options: MeanTeacherOptions) -> nn.Module:
    """A copy of the student that gets no gradient."""
    teacher = copy.deepcopy(student).requires_grad_(False)
    if options.statistics == "averaged":
        for module in teacher.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = 0.0  # its statistics move with the student's, not with its own batches
    return teacher


@torch.no_grad()
def update_teacher(
    teacher: nn.Module, student: nn.Module, step: int, decay: float, average_statistics: bool = False
) -> None:
    """Move the teacher's parameters towards the student's, in place, after optimiser step `step` (from 1)."""
    weight = 1.0 - min(1.0 - 1.0 / (step + 1), decay)
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), weight)
    if average_statistics:
        for mine, its in zip(teacher.buffers(), student.buffers(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(its, weight)
            else:
                mine.copy_(its)
