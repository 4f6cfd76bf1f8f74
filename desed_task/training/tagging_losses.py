"""What a tagger is trained by: how far its clip scores are from the clips' tags. Frames play no part in it.

A loss is of the clip logits: a value per clip, then the mean over the clips with `has_weak` (0 when none has it).
Published code averages over the clips of a batch, which is the same, since there all of them are tagged.

    bce             binary cross-entropy, mean over classes; optional weights of the positive part per class
    focal           the same, less for what is nearly right: alpha, gamma (Lin et al. 2017, arXiv 1708.02002)
    cross_entropy   softmax over classes, for sets in which each clip has one tag; sum over classes

Tags may be graded: label enhancement, mixup and teachers give values between 0 and 1. bce and cross_entropy are linear
in the tags, so knowledge distillation (EfficientAT: .1 of the label's loss and .9 of that on the teacher's
probabilities) needs no loss of its own: it is the loss on .1 label + .9 teacher. One difference: clips that the teacher
does not know count .1 in the published sum, and in full here.

PSLA trains on one tag per clip with the largest of the tags cut to whole numbers, which forgets what mixup has mixed;
here the mixed tags are the target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from desed_task.batch import Inputs, Predictions, Targets
from desed_task.options import Options
from desed_task.training.step import WHOLE, Losses, Shares, call_plainly

# (batch, classes) logits and tags -> (batch,)
ClipLoss = Callable[[Tensor, Tensor], Tensor]


class BceOptions(Options):
    """Binary cross-entropy of each class."""

    name: Literal["bce"] = "bce"


class FocalOptions(Options):
    """Binary cross-entropy in which what is nearly right counts little."""

    name: Literal["focal"] = "focal"
    alpha: float = Field(0.25, ge=0, le=1, description="Weight of positives; negatives have the rest.")
    gamma: float = Field(2.0, ge=0, description="The higher, the less counts what is nearly right; 0 is bce.")


class CrossEntropyOptions(Options):
    """Cross-entropy over classes that exclude one another."""

    name: Literal["cross_entropy"] = "cross_entropy"


ClipLossOptions = Annotated[BceOptions | FocalOptions | CrossEntropyOptions, Field(discriminator="name")]


class BinaryCrossEntropy(nn.Module):
    """Mean over classes. class_weights: (classes,), of the positive part (torch's pos_weight), or None."""

    class_weights: Tensor | None

    def __init__(self, class_weights: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(self, logits: Tensor, tags: Tensor) -> Tensor:
        """(batch, classes) twice -> (batch,)."""
        per_class = functional.binary_cross_entropy_with_logits(
            logits, tags, reduction="none", pos_weight=self.class_weights
        )
        return per_class.mean(dim=1)


class Focal(nn.Module):
    """Mean over classes of alpha_t (1 - p_t)^gamma BCE, p_t being what the right answer got (as torchvision)."""

    def __init__(self, options: FocalOptions) -> None:
        super().__init__()
        self.options = options

    def forward(self, logits: Tensor, tags: Tensor) -> Tensor:
        """(batch, classes) twice -> (batch,)."""
        alpha, probs = self.options.alpha, torch.sigmoid(logits)
        missed = probs * (1 - tags) + (1 - probs) * tags
        entropy = functional.binary_cross_entropy_with_logits(logits, tags, reduction="none")
        return ((alpha * tags + (1 - alpha) * (1 - tags)) * missed**self.options.gamma * entropy).mean(dim=1)


class CrossEntropy(nn.Module):
    """-sum over classes of tag * log softmax."""

    def forward(self, logits: Tensor, tags: Tensor) -> Tensor:
        """(batch, classes) twice -> (batch,)."""
        return -(tags * functional.log_softmax(logits, dim=1)).sum(dim=1)


def build_clip_loss(options: ClipLossOptions, class_weights: Tensor | None = None) -> nn.Module:
    """The loss of the options, a module without state that is moved with the model. class_weights: only for bce."""
    if isinstance(options, BceOptions):
        return BinaryCrossEntropy(class_weights)
    assert class_weights is None, "refused by TaggingTrainingOptions"
    return Focal(options) if isinstance(options, FocalOptions) else CrossEntropy()


def clip_loss(predictions: Predictions, targets: Targets, loss: ClipLoss) -> Tensor:
    """Mean over the clips that are tagged, in single precision; a scalar that nothing waits for."""
    per_clip = loss(predictions.weak_logits.float(), targets.weak)
    # Weighted by 0 and 1, not indexed: the shapes stay the same and the host is not asked how many there are.
    tagged = targets.has_weak.to(per_clip.dtype)
    return (per_clip * tagged).sum() / tagged.sum().clamp(min=1.0)


def compute_tagging_losses(
    model: nn.Module,
    inputs: Inputs,
    targets: Targets,
    loss: ClipLoss,
    shares: Shares = WHOLE,
    call: Callable[[nn.Module, Inputs], Predictions] = call_plainly,
) -> Losses:
    """The model hears (`call` says how), and its clip loss, `loss_weak` in the log.

    With the `shares` of a part of a batch, losses of all its parts add up to those of the batch.
    """
    predicted = call(model, inputs)
    total = clip_loss(predicted, targets, loss) * shares.weak
    return Losses(total, {"loss_weak": total.detach()}, predicted)
