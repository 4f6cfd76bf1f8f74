"""From frames to the clip: poolings of frame scores, and the linear head.

Poolings of frame probabilities p_t (Wang et al. 2019, arXiv 1810.09050; names as AudioTagging Done Right has them) are
weighted means over time, all but `max`: ave with weights 1, lin with p_t, exp with exp(p_t), att with a softmax over
time of attention logits of the frame's class.

A head turns the features of frames into Predictions; here is the linear one, those of PSLA are in psla_heads.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from desed_task.batch import Predictions

# Probabilities are kept this far off 0 and 1 (the published clamp).
PROBABILITY_FLOOR = 1e-7

PoolingName = Literal["max", "ave", "lin", "exp", "att"]
# (batch, frames, classes) probabilities and, for `att` alone, attention logits -> (batch, classes) probabilities.
FramePooling = Callable[[Tensor, Tensor | None], Tensor]


def build_pooling(name: PoolingName) -> FramePooling:
    """The pooling of frame probabilities of that name; the attention logits of `att` have the shape of these."""
    return _POOLINGS[name]


def logit_of(probs: Tensor) -> Tensor:
    """The logit of probabilities that are first clamped to [1e-7, 1 - 1e-7]."""
    return torch.logit(probs, eps=PROBABILITY_FLOOR)


class LinearHead(nn.Linear):
    """A linear layer on each frame and, for the clip, on their mean. (batch, channels, frames) -> Predictions.

    Like every head it works in float32 also where the network is in mixed precision.
    """

    def __init__(self, channels: int, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__(channels, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Tensor) -> Predictions:  # type: ignore[override]  # (not a tensor)
        """Features -> Predictions, see the class."""
        with torch.autocast(features.device.type, enabled=False):
            strong = super().forward(self.dropout(features.to(self.weight.dtype).transpose(1, 2)))
            return Predictions(strong, strong.mean(dim=1))


def _weighted(weigh: Callable[[Tensor], Tensor]) -> FramePooling:
    def pool(probs: Tensor, _: Tensor | None = None) -> Tensor:
        weights = weigh(probs)
        return (weights * probs).sum(dim=1) / weights.sum(dim=1)

    return pool


def _maximum(probs: Tensor, _: Tensor | None = None) -> Tensor:
    return probs.amax(dim=1)


def _attended(probs: Tensor, attention_logits: Tensor | None) -> Tensor:
    assert attention_logits is not None, "attention pooling without attention logits"
    return (attention_logits.softmax(dim=1) * probs).sum(dim=1)


def _linear_weights(probs: Tensor) -> Tensor:
    """A clip whose frames are all 0 is 0, not 0 / 0."""
    return probs.clamp_min(PROBABILITY_FLOOR)


_POOLINGS: Mapping[PoolingName, FramePooling] = {
    "max": _maximum,
    "ave": _weighted(torch.ones_like),
    "lin": _weighted(_linear_weights),
    "exp": _weighted(torch.exp),
    "att": _attended,
}
