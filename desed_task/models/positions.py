"""Position embeddings: of sinusoids, for any length, and of patches, brought from one grid to another."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_LONGEST_PERIOD = 10_000.0


def add_sinusoids(x: Tensor) -> Tensor:
    """(batch, frames, features) + the sinusoids of Vaswani et al. 2017 (arXiv 1706.03762), sine and cosine in turn."""
    features = x.shape[-1]
    rates = torch.exp(torch.arange(0, features, 2, device=x.device) * (-math.log(_LONGEST_PERIOD) / features))
    angles = torch.arange(x.shape[1], device=x.device)[:, None] * rates
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :features]
    return x + waves.to(x.dtype)


def resize_positions(positions: Tensor, old: tuple[int, int], new: tuple[int, int], special_tokens: int) -> Tensor:
    """Position embeddings (1, tokens, dim) of patches on a grid `old` (rows, columns) for a grid `new`.

    As AST does: an axis that shrinks keeps its middle, one that grows is interpolated linearly. Special tokens stand in
    front and stay.
    """
    kept, of_patches = positions[:, :special_tokens], positions[:, special_tokens:]
    grid = of_patches.transpose(1, 2).reshape(1, -1, *old)
    for axis, length in ((3, new[1]), (2, new[0])):
        grid = _resize_axis(grid, axis, length)
    return torch.cat([kept, grid.flatten(2).transpose(1, 2)], dim=1)


def _resize_axis(grid: Tensor, axis: int, length: int) -> Tensor:
    old = grid.shape[axis]
    if length <= old:
        return grid.narrow(axis, old // 2 - length // 2, length)
    rows, columns = (grid.shape[2], length) if axis == 3 else (length, grid.shape[3])
    return functional.interpolate(grid, size=(rows, columns), mode="bilinear")
