"""Targets of a batch from what its sources drew, encoded on the device on which the batch is made.

The host sends a few rows of whole numbers (which frames of which class of which clip); the device makes tensors of
them, whatever the number of events in no more operations, and the same numbers on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desed_task.batch import Targets
from desed_task.data.source import Draw


def encode_targets(draws: Sequence[Draw], num_frames: int, num_classes: int, device: torch.device) -> Targets:
    """Draws, one after another -> Targets of all their clips."""
    lengths = [len(draw) for draw in draws]
    first_rows = np.cumsum([0, *lengths])[:-1]
    strong = np.concatenate([_moved(draw.strong, first) for draw, first in zip(draws, first_rows, strict=True)])
    weak = np.concatenate([_moved(draw.weak, first) for draw, first in zip(draws, first_rows, strict=True)])
    supervision = np.repeat([draw.supervision for draw in draws], lengths)
    return Targets(
        _strong_on(_sent(strong, device), sum(lengths), num_frames, num_classes),
        _weak_on(_sent(weak, device), sum(lengths), num_classes),
        _sent(supervision == "strong", device),
        _sent(supervision == "weak", device),
    )


def _strong_on(rows: Tensor, num_clips: int, num_frames: int, num_classes: int) -> Tensor:
    """How many events begin minus how many end, summed over time: above 0 where any is active. Whole numbers, exact."""
    clip, first, last, label = rows.unbind(1)
    steps = torch.zeros(num_clips * (num_frames + 1) * num_classes, dtype=torch.int32, device=rows.device)
    ones = torch.ones_like(label, dtype=torch.int32)
    begins = (clip * (num_frames + 1) + first) * num_classes + label
    ends = (clip * (num_frames + 1) + last) * num_classes + label
    steps.index_add_(0, begins, ones).index_add_(0, ends, -ones)
    active = steps.view(num_clips, num_frames + 1, num_classes).cumsum(1, dtype=torch.int32)
    return (active[:, :num_frames] > 0).float()


def _weak_on(rows: Tensor, num_clips: int, num_classes: int) -> Tensor:
    clip, label = rows.unbind(1)
    counts = torch.zeros(num_clips * num_classes, dtype=torch.int32, device=rows.device)
    counts.index_add_(0, clip * num_classes + label, torch.ones_like(label, dtype=torch.int32))
    return (counts.view(num_clips, num_classes) > 0).float()


def _moved(rows: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """Rows of a draw as rows of the batch in which its clips begin at `first`."""
    moved = rows.copy()
    moved[:, 0] += first
    return moved


def _sent(values: NDArray[Any], device: torch.device) -> Tensor:
    """To the device, without waiting for it."""
    on_host = torch.from_numpy(np.ascontiguousarray(values))
    return on_host if device.type == "cpu" else on_host.pin_memory().to(device, non_blocking=True)
