"""Dropout whose masks are cheap to draw on a CPU.

torch draws one Bernoulli number per element there, one after another, which takes a third of the baseline's training
step. Here each 64-bit draw gives eight elements one byte each, so the share that is dropped is a multiple of 1/256 (.5
is exact, .3 becomes 77/256); survivors are scaled by the share really kept. Elsewhere, and in eval mode, this is
nn.Dropout. Reproducible from torch's seed as any layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 256


class Dropout(nn.Module):
    """Zero elements with `probability` in training, scale the others so that the mean stays."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        if not self.training or self.probability == 0.0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.probability, training=True)
        dropped = min(round(self.probability * _LEVELS), _LEVELS - 1)
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        keep = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
        return x * (keep.to(x.dtype) * (_LEVELS / (_LEVELS - dropped)))

    def extra_repr(self) -> str:
        """What print shows."""
        return f"probability={self.probability}"
