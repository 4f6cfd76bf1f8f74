"""Clips that are shorter than a model can hear, prolonged without freezing a length in a trace."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least(mel: Tensor, num_frames: int) -> Tensor:
    """(batch, mel_frames, mel_bands) with at least `num_frames` mel frames, the last of which stands for the missing.

    The last frame rather than zeros: what silence is differs between front-ends.
    """
    missing = mel[:, -1:].expand(-1, num_frames - 1, -1)
    length = _at_least(mel.shape[1], num_frames)
    return torch.cat([mel, missing], dim=1)[:, :length]


def fitted_to(mel: Tensor, num_frames: int) -> Tensor:
    """(batch, mel_frames, mel_bands) cut or filled with zeros, which are the mean of normalised features."""
    missing = mel.new_zeros(()).expand(mel.shape[0], num_frames, mel.shape[2])
    return torch.cat([mel, missing], dim=1)[:, :num_frames]


def _at_least(length: int, num_frames: int) -> int:
    if torch._C._get_tracing_state() is not None:  # the length is a tensor then, and a comparison would freeze it
        longer: int = torch.clamp(torch.as_tensor(length), min=num_frames)  # type: ignore[assignment]
        return longer
    return max(length, num_frames)
