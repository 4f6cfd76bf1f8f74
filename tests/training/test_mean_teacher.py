"""The teacher's weights by hand over the first steps."""

from __future__ import annotations

import pytest
from torch import nn

from desed_task.training.mean_teacher import update_teacher


def one_weight(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def test_three_steps_by_hand() -> None:
    teacher, student = one_weight(0.0), one_weight(6.0)
    # a = 1 - 1 / (step + 1) = 1/2, 2/3, then 3/4, cut to the decay of .7
    expected = [3.0, 2 / 3 * 3.0 + 1 / 3 * 6.0, 0.7 * 4.0 + 0.3 * 6.0]
    for step, value in enumerate(expected, start=1):
        update_teacher(teacher, student, step, decay=0.7)
        assert teacher.weight.item() == pytest.approx(value)
    assert student.weight.item() == 6.0


def test_a_late_step_moves_by_one_minus_the_decay() -> None:
    teacher, student = one_weight(1.0), one_weight(0.0)
    update_teacher(teacher, student, 10_000, decay=0.999)
    assert teacher.weight.item() == pytest.approx(0.999)


def test_buffers_stay_the_teachers_own() -> None:
    teacher, student = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    student.running_mean.fill_(5.0)
    nn.init.constant_(student.weight, 3.0)
    update_teacher(teacher, student, 1, decay=0.999)
    assert teacher.running_mean.tolist() == [0.0, 0.0]
    assert teacher.weight.tolist() == [2.0, 2.0]


def test_no_graph_is_kept() -> None:
    teacher, student = one_weight(0.0), one_weight(1.0)
    update_teacher(teacher.requires_grad_(False), student, 1, decay=0.9)
    assert teacher.weight.grad_fn is None
    assert not teacher.weight.requires_grad
