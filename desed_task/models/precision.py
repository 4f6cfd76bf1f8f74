"""In what precision a part of a network computes, trained or frozen (then its weights are buffers)."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn


def dtype_of(part: nn.Module) -> torch.dtype:
    """Of its weights."""
    return next(chain(part.parameters(), part.buffers())).dtype
