"""PSLA's heads: a linear map scores each frame, others weigh the frames of a clip (Gong et al. 2021, arXiv 2102.01243).

Parameters bear the published names. The frame probabilities are those that the clip probabilities average: of several
heads the sum over heads, with the learned head weights. These weights sum to 1 at the start but are free, as published,
so that a probability can leave [0, 1]; the clamp of its logit brings it back. `softmax_heads` forbids that instead.
Published code has four heads whenever att_head is above 1; here there are as many as it says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from desed_task.batch import Predictions
from desed_task.models.pooling import PROBABILITY_FLOOR, logit_of
from desed_task.models.precision import dtype_of
from desed_task.options import Options

Activation = Literal["sigmoid", "softmax", "relu", "linear"]


class PslaHeadOptions(Options):
    """What scores the frames and how their scores become those of the clip."""

    att_head: int = Field(4, ge=0, description="Attention heads; 0 takes the mean of frame probabilities.")
    att_activation: Activation = Field(
        "sigmoid", description="What turns attention logits into weights of frames; softmax is one over classes."
    )
    cla_activation: Activation = Field(
        "sigmoid",
        description="What turns class logits into probabilities; AudioTagging Done Right sets both activations alike.",
    )
    softmax_heads: bool = Field(
        False, description="Weights of several heads sum to 1, by a softmax; they are free as published."
    )

    def build_psla_head(self, channels: int, num_classes: int) -> PslaHead:
        """The head for features (batch, channels, frames)."""
        if self.att_head == 0:
            return MeanHead(channels, num_classes)
        if self.att_head == 1:
            return AttentionHead(self, channels, num_classes)
        return MultiHeadAttention(self, channels, num_classes)


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

    def __init__(self, options: PslaHeadOptions, channels: int, num_classes: int) -> None:
        super().__init__()
        self.options = options
        self.att = _pointwise(channels, num_classes)
        self.cla = _pointwise(channels, num_classes)

    def forward(self, features: Tensor) -> Predictions:
        """Features -> Predictions, see the class."""
        with torch.autocast(features.device.type, enabled=False):
            logits = _at_frames(self.cla, features)
            probs = _ACTIVATIONS[self.options.cla_activation](logits)
            weights = _weights(self.options.att_activation, _at_frames(self.att, features))
            # The logit of a sigmoid is what went in, however far from 0.
            strong = logits if self.options.cla_activation == "sigmoid" else logit_of(probs)
            return Predictions(strong, logit_of((weights * probs).sum(dim=1)))


class MultiHeadAttention(nn.Module):
    """The sum of several attention heads, each times its learned weight. (batch, channels, frames) -> Predictions."""

    def __init__(self, options: PslaHeadOptions, channels: int, num_classes: int) -> None:
        super().__init__()
        self.options = options
        self.att = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in range(options.att_head))
        self.cla = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in range(options.att_head))
        self.head_weight = nn.Parameter(torch.full((options.att_head,), 1.0 / options.att_head))

    def forward(self, features: Tensor) -> Predictions:
        """Features -> Predictions, see the class."""
        with torch.autocast(features.device.type, enabled=False):
            head_weights = self.head_weight.softmax(dim=0) if self.options.softmax_heads else self.head_weight
            strong, weak = [], []
            for head in range(self.options.att_head):
                probs = _ACTIVATIONS[self.options.cla_activation](_at_frames(self.cla[head], features))
                weights = _weights(self.options.att_activation, _at_frames(self.att[head], features))
                strong.append(head_weights[head] * probs)
                weak.append(head_weights[head] * (weights * probs).sum(dim=1))
            return Predictions(logit_of(torch.stack(strong).sum(dim=0)), logit_of(torch.stack(weak).sum(dim=0)))


PslaHead = MeanHead | AttentionHead | MultiHeadAttention


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
    mapped: Tensor = pointwise(features.to(dtype_of(pointwise)).unsqueeze(-1))
    return mapped.squeeze(-1).transpose(1, 2)


def _weights(activation: Activation, attention_logits: Tensor) -> Tensor:
    """Weights that sum to 1 over time, (batch, frames, classes)."""
    activated = _ACTIVATIONS[activation](attention_logits)
    clamped = activated.clamp(PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
    return clamped / clamped.sum(dim=1, keepdim=True)


def _over_classes(logits: Tensor) -> Tensor:
    return logits.softmax(dim=-1)


def _unchanged(logits: Tensor) -> Tensor:
    return logits


_ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": _over_classes,
    "relu": torch.relu,
    "linear": _unchanged,
}
