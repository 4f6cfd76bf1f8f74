"""Clips of another length than a model hears, prolonged or cut without freezing a length in a trace."""

from __future__ import annotations

import torch
from torch import Tensor

from desed_task.features.centred import at_least


def prolonged(mel: Tensor, num_frames: int) -> Tensor:
    """(batch, mel_frames, mel_bands) with at least `num_frames` mel frames, the last of which stands for the missing.

    The last frame rather than zeros: what silence is differs between front-ends.
    """
    missing = mel[:, -1:].expand(-1, num_frames - 1, -1)
    return torch.cat([mel, missing], dim=1)[:, : at_least(mel.shape[1], num_frames)]


def fitted_to(mel: Tensor, num_frames: int) -> Tensor:
    """(batch, mel_frames, mel_bands) cut or filled with zeros, which are the mean of normalised features."""
    missing = mel.new_zeros(()).expand(mel.shape[0], num_frames, mel.shape[2])
    return torch.cat([mel, missing], dim=1)[:, :num_frames]
