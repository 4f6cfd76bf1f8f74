"""The losses by hand, on two clips of two classes: ln 2 is the cross-entropy of an undecided score."""

from __future__ import annotations

import math

import pytest
import torch

from desed_task.batch import Predictions, Targets
from desed_task.training.losses import consistency_loss, strong_loss, supervised_loss, weak_loss

# A logit of ln 3 is a probability of 3/4.
LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)
FIRST, NONE, BOTH = torch.tensor([True, False]), torch.tensor([False, False]), torch.tensor([True, True])


def predictions(strong: list[list[float]], weak: list[list[float]]) -> Predictions:
    """One frame per clip: strong and weak logits are (clips, classes) alike."""
    return Predictions(torch.tensor(strong).unsqueeze(1), torch.tensor(weak))


def targets(
    strong: list[list[float]], weak: list[list[float]], has_strong: torch.Tensor, has_weak: torch.Tensor
) -> Targets:
    return Targets(torch.tensor(strong).unsqueeze(1), torch.tensor(weak), has_strong, has_weak)


LOGITS = [[0.0, LN3], [LN3, 0.0]]
TRUTH = [[1.0, 0.0], [1.0, 0.0]]
# -ln(1/2) = ln 2, -ln(1 - 3/4) = ln 4; -ln(3/4) = ln 4 - ln 3, ln 2
CLIP_0, CLIP_1 = (LN2 + LN4) / 2, (LN4 - LN3 + LN2) / 2


def test_strong_loss_is_the_mean_over_the_clips_that_have_it() -> None:
    said = predictions(LOGITS, [[0.0, 0.0]] * 2)
    for has_strong, expected in ((FIRST, CLIP_0), (BOTH, (CLIP_0 + CLIP_1) / 2), (NONE, 0.0)):
        known = targets(TRUTH, [[0.0, 0.0]] * 2, has_strong, NONE)
        assert strong_loss(said, known).item() == pytest.approx(expected)


def test_weak_loss_is_the_mean_over_the_clips_that_have_it() -> None:
    said = predictions([[0.0, 0.0]] * 2, LOGITS)
    for has_weak, expected in ((FIRST, CLIP_0), (BOTH, (CLIP_0 + CLIP_1) / 2), (NONE, 0.0)):
        known = targets([[0.0, 0.0]] * 2, TRUTH, NONE, has_weak)
        assert weak_loss(said, known).item() == pytest.approx(expected)


def test_soft_targets() -> None:
    said = predictions([[LN3, LN3]] * 2, [[0.0, 0.0]] * 2)
    known = targets([[0.25, 0.25]] * 2, [[0.0, 0.0]] * 2, BOTH, NONE)
    assert strong_loss(said, known).item() == pytest.approx(0.25 * (LN4 - LN3) + 0.75 * LN4)


def test_supervised_loss_is_the_sum_and_names_its_parts() -> None:
    said = predictions(LOGITS, LOGITS)
    loss, figures = supervised_loss(said, targets(TRUTH, TRUTH, FIRST, torch.tensor([False, True])))
    assert loss.item() == pytest.approx(CLIP_0 + CLIP_1)
    assert {name: value.item() for name, value in figures.items()} == {
        "loss_strong": pytest.approx(CLIP_0),
        "loss_weak": pytest.approx(CLIP_1),
    }


def test_a_clip_without_labels_gets_no_gradient_from_them() -> None:
    logits = torch.tensor(LOGITS).unsqueeze(1).requires_grad_(True)
    strong_loss(Predictions(logits, torch.zeros(2, 2)), targets(TRUTH, TRUTH, FIRST, NONE)).backward()
    assert logits.grad is not None
    assert logits.grad[1].tolist() == [[0.0, 0.0]]
    # d BCE / d logit = p - y over two classes: (1/2 - 1) / 2, (3/4 - 0) / 2
    torch.testing.assert_close(logits.grad[0], torch.tensor([[-0.25, 0.375]]))


def test_consistency_is_the_squared_difference_of_probabilities_over_all_clips() -> None:
    student = predictions([[0.0, LN3], [0.0, 0.0]], [[LN3, 0.0], [0.0, 0.0]])
    teacher = predictions([[LN3, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    # strong: (1/4)^2 twice of four values; weak: once of four
    assert consistency_loss(student, teacher).item() == pytest.approx(2 / 16 / 4 + 1 / 16 / 4)


def test_losses_of_half_precision_logits_are_computed_in_single() -> None:
    said = predictions(LOGITS, LOGITS)
    half = Predictions(said.strong_logits.half() if said.strong_logits is not None else None, said.weak_logits.half())
    loss, _ = supervised_loss(half, targets(TRUTH, TRUTH, BOTH, BOTH))
    assert loss.dtype == torch.float32
    assert consistency_loss(half, said).dtype == torch.float32
