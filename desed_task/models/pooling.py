"""From frames to the clip: poolings of frame scores, and heads that score frames and pool them.

Poolings of frame probabilities p_t (Wang et al. 2019, arXiv 1810.09050; names as AudioTagging Done Right has them) are
weighted means over time, all but `max`: ave with weights 1, lin with p_t, exp with exp(p_t), att with a softmax over
time of attention logits of the frame's class.

Heads turn the features of frames into Predictions: a linear layer, or those of PSLA (Gong et al. 2021, arXiv
2102.01243), whose parameters bear the published names. The frame probabilities of the latter are those that their clip
probabilities average: of several heads the sum over heads, with the learned head weights. These weights sum to 1 at the
start but are free, as published, so that a probability can leave [0, 1]; the clamp of its logit brings it back.
`softmax_heads` forbids that instead.
"""

from __future__ import annotations

import math
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
AttentionName = Literal["sigmoid", "softmax", "relu", "linear"]


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


class MeanHead(nn.Module):
    """Clip probability = mean of frame probabilities. (batch, channels, frames) -> Predictions."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.cla = _pointwise(channels, num_classes)

    def forward(self, features: Tensor) -> Predictions:
        """Features -> Predictions, see the class."""
        with torch.autocast(features.device.type, enabled=False):
            strong = _at_frames(self.cla, features)
            return Predictions(strong, logit_of(strong.sigmoid().mean(dim=1)))


class AttentionHead(nn.Module):
    """Clip probability = mean of frame probabilities, weighted by attention. (batch, channels, frames) -> Predictions.

    Weights of a frame are the activated attention logits, clamped and divided by their sum over time.
    """

    def __init__(self, channels: int, num_classes: int, activation: AttentionName = "sigmoid") -> None:
        super().__init__()
        self.att = _pointwise(channels, num_classes)
        self.cla = _pointwise(channels, num_classes)
        self.activation = _ACTIVATIONS[activation]

    def forward(self, features: Tensor) -> Predictions:
        """Features -> Predictions, see the class."""
        with torch.autocast(features.device.type, enabled=False):
            strong = _at_frames(self.cla, features)
            weights = _attention(self.activation(_at_frames(self.att, features)))
            return Predictions(strong, logit_of((weights * strong.sigmoid()).sum(dim=1)))


class MultiHeadAttention(nn.Module):
    """The sum of several attention heads, each times its learned weight. (batch, channels, frames) -> Predictions."""

    def __init__(
        self,
        channels: int,
        num_classes: int,
        num_heads: int = 4,
        activation: AttentionName = "sigmoid",
        softmax_heads: bool = False,
    ) -> None:
        super().__init__()
        self.att = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in range(num_heads))
        self.cla = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in range(num_heads))
        self.head_weight = nn.Parameter(torch.full((num_heads,), 1.0 / num_heads))
        self.activation = _ACTIVATIONS[activation]
        self.softmax_heads = softmax_heads

    def forward(self, features: Tensor) -> Predictions:
        """Features -> Predictions, see the class."""
        with torch.autocast(features.device.type, enabled=False):
            head_weights = self.head_weight.softmax(dim=0) if self.softmax_heads else self.head_weight
            strong, weak = [], []
            for head in range(len(self.cla)):
                probs = _at_frames(self.cla[head], features).sigmoid()
                weights = _attention(self.activation(_at_frames(self.att[head], features)))
                strong.append(head_weights[head] * probs)
                weak.append(head_weights[head] * (weights * probs).sum(dim=1))
            return Predictions(logit_of(torch.stack(strong).sum(dim=0)), logit_of(torch.stack(weak).sum(dim=0)))


PslaHead = MeanHead | AttentionHead | MultiHeadAttention


def build_head(
    num_heads: int,
    channels: int,
    num_classes: int,
    activation: AttentionName = "sigmoid",
    softmax_heads: bool = False,
) -> PslaHead:
    """PSLA's head: 0 takes the mean of frame probabilities, 1 and more are attention heads."""
    if num_heads == 0:
        return MeanHead(channels, num_classes)
    if num_heads == 1:
        return AttentionHead(channels, num_classes, activation)
    return MultiHeadAttention(channels, num_classes, num_heads, activation, softmax_heads)


def _pointwise(channels: int, num_classes: int) -> nn.Conv2d:
    """A linear map with the published shape of a 1 x 1 convolution and its published initial weights."""
    convolution = nn.Conv2d(channels, num_classes, 1)
    bound = math.sqrt(6.0 / channels)
    nn.init.uniform_(convolution.weight, -bound, bound)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution


def _at_frames(pointwise: nn.Module, features: Tensor) -> Tensor:
    """(batch, channels, frames) -> (batch, frames, classes) in the precision of the weights."""
    mapped: Tensor = pointwise(features.to(next(pointwise.parameters()).dtype).unsqueeze(-1))
    return mapped.squeeze(-1).transpose(1, 2)


def _attention(activated: Tensor) -> Tensor:
    """Weights that sum to 1 over time, (batch, frames, classes)."""
    clamped = activated.clamp(PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
    return clamped / clamped.sum(dim=1, keepdim=True)


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


def _over_classes(logits: Tensor) -> Tensor:
    return logits.softmax(dim=-1)


def _unchanged(logits: Tensor) -> Tensor:
    return logits


_ACTIVATIONS: Mapping[AttentionName, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": _over_classes,
    "relu": torch.relu,
    "linear": _unchanged,
}
