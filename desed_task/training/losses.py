"""The losses of the mean-teacher recipe. Reductions are means over the clips with the supervision (0 when none has it).

strong: binary cross-entropy over frames and classes; weak: over classes; consistency: mean squared difference between
the student's and the teacher's probabilities, over all clips.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from desed_task.batch import Predictions, Targets


def strong_loss(predictions: Predictions, targets: Targets) -> Tensor:
    """Binary cross-entropy of the frame scores of the strongly labelled clips."""
    assert predictions.strong_logits is not None
    return _cross_entropy(predictions.strong_logits, targets.strong, targets.has_strong)


def weak_loss(predictions: Predictions, targets: Targets) -> Tensor:
    """Binary cross-entropy of the clip scores of the weakly labelled clips."""
    return _cross_entropy(predictions.weak_logits, targets.weak, targets.has_weak)


def consistency_loss(student: Predictions, teacher: Predictions) -> Tensor:
    """Mean squared difference of frame probabilities plus that of clip probabilities."""
    strong = functional.mse_loss(student.strong_probs.float(), teacher.strong_probs.float())
    weak = functional.mse_loss(student.weak_probs.float(), teacher.weak_probs.float())
    return strong + weak


def _cross_entropy(logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    per_value = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    per_clip = per_value.flatten(1).mean(dim=1)
    # Weighted by 0 and 1, not indexed: the shapes stay the same and the host is not asked how many there are.
    shares = known.to(per_clip.dtype)
    return (per_clip * shares).sum() / shares.sum().clamp(min=1.0)


def supervised_loss(predictions: Predictions, targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
    """strong + weak, and both by the names of the log."""
    strong, weak = strong_loss(predictions, targets), weak_loss(predictions, targets)
    return strong + weak, {"loss_strong": strong.detach(), "loss_weak": weak.detach()}


def is_finite(loss: Tensor) -> bool:
    """Whether a loss is a number."""
    return bool(torch.isfinite(loss))
