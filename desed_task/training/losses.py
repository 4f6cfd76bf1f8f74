"""The losses of the mean-teacher recipe. Reductions are means over the clips with the supervision (0 when none has it).

strong: binary cross-entropy over frames and classes; weak: over classes; consistency: mean squared difference (or
binary cross-entropy) between the student's and the teacher's probabilities, over all clips.
"""

from __future__ import annotations

from typing import Literal

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


def consistency_loss(student: Predictions, teacher: Predictions, kind: Literal["mse", "bce"] = "mse") -> Tensor:
    """Difference of frame probabilities plus that of clip probabilities."""
    strong, weak = teacher.strong_probs.float(), teacher.weak_probs.float()
    if kind == "mse":
        squared = functional.mse_loss
        return squared(student.strong_probs.float(), strong) + squared(student.weak_probs.float(), weak)
    assert student.strong_logits is not None
    entropy = functional.binary_cross_entropy_with_logits
    return entropy(student.strong_logits.float(), strong) + entropy(student.weak_logits.float(), weak)


def _cross_entropy(logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    per_value = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    per_clip = per_value.flatten(1).mean(dim=1)
    # Weighted by 0 and 1, not indexed: the shapes stay the same and the host is not asked how many there are.
    shares = known.to(per_clip.dtype)
    return (per_clip * shares).sum() / shares.sum().clamp(min=1.0)


def supervised_loss(
    predictions: Predictions, targets: Targets, strong_weight: Tensor | float = 1.0, weak_weight: Tensor | float = 1.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of strong and weak loss, and both, unweighted, by the names of the log."""
    strong, weak = strong_loss(predictions, targets), weak_loss(predictions, targets)
    loss = strong_weight * strong + weak_weight * weak
    return loss, {"loss_strong": strong.detach(), "loss_weak": weak.detach()}
