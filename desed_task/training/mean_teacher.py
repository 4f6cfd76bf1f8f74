"""The mean teacher: a second model whose parameters follow the student's (Tarvainen, Valpola 2017, arXiv 1703.01780).

After step s, teacher = a * teacher + (1 - a) * student with a = min(1 - 1 / (s + 1), decay), over parameters only; the
teacher's batch-norm statistics come from its own forward passes in training mode, as published.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from desed_task.options import Options


class MeanTeacherOptions(Options):
    """How the teacher follows and how strongly the student must agree with it."""

    ema_decay: float = Field(0.999, ge=0, lt=1, description="Largest share of the old teacher in the new.")
    consistency_weight: float = Field(2.0, ge=0, description="Weight of the consistency loss after its ramp.")


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, step: int, decay: float) -> None:
    """Move the teacher's parameters towards the student's, in place, after optimiser step `step` (from 1)."""
    share = min(1.0 - 1.0 / (step + 1), decay)
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1.0 - share)
