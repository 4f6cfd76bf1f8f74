"""Targets of a batch from what its sources drew, encoded on the device on which the batch is made.

The host sends a few rows of whole numbers (which frames of which class of which clip); a GPU makes tensors of them,
whatever the number of events in no more operations. On the CPU the same numbers are painted row by row, by numpy and in
one thread: torch would share the work out to threads that wait for the cores on which a training step is running.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desed_task.batch import Targets, send
from desed_task.data.source import Draw


def encode_targets(draws: Sequence[Draw], num_frames: int, num_classes: int, device: torch.device) -> Targets:
    """Draws, one after another -> Targets of all their clips."""
    lengths = [len(draw) for draw in draws]
    first_rows = np.cumsum([0, *lengths])[:-1]
    strong = np.concatenate([_moved(draw.strong, first) for draw, first in zip(draws, first_rows, strict=True)])
    weak = np.concatenate([_moved(draw.weak, first) for draw, first in zip(draws, first_rows, strict=True)])
    supervision = np.repeat([draw.supervision for draw in draws], lengths)
    if device.type == "cpu":
        targets = paint(strong, weak, sum(lengths), num_frames, num_classes)
    else:
        targets = (
            strong_on(send(strong, device), sum(lengths), num_frames, num_classes),
            weak_on(send(weak, device), sum(lengths), num_classes),
        )
    for draw, first in zip(draws, first_rows, strict=True):
        if draw.weak_values is not None:
            targets[1][first : first + len(draw)] = send(draw.weak_values, device)
    return Targets(
        *targets,
        send(supervision == "strong", device),
        send(supervision == "weak", device),
    )


def paint(
    strong: NDArray[np.int64], weak: NDArray[np.int64], num_clips: int, num_frames: int, num_classes: int
) -> tuple[Tensor, Tensor]:
    """Rows as Draw.strong and Draw.weak -> (clips, frames, classes) and (clips, classes), 1.0 where active."""
    frames = np.zeros((num_clips, num_frames, num_classes), dtype=np.float32)
    for clip, first, last, label in strong.tolist():
        frames[clip, first:last, label] = 1.0
    tags = np.zeros((num_clips, num_classes), dtype=np.float32)
    tags[weak[:, 0], weak[:, 1]] = 1.0
    return torch.from_numpy(frames), torch.from_numpy(tags)


def strong_on(rows: Tensor, num_clips: int, num_frames: int, num_classes: int) -> Tensor:
    """How many events begin minus how many end, summed over time: above 0 where any is active. Whole numbers, exact."""
    clip, first, last, label = rows.unbind(1)
    steps = torch.zeros(num_clips * (num_frames + 1) * num_classes, dtype=torch.int32, device=rows.device)
    ones = torch.ones_like(label, dtype=torch.int32)
    begins = (clip * (num_frames + 1) + first) * num_classes + label
    ends = (clip * (num_frames + 1) + last) * num_classes + label
    steps.index_add_(0, begins, ones).index_add_(0, ends, -ones)
    active = steps.view(num_clips, num_frames + 1, num_classes).cumsum(1, dtype=torch.int32)
    return (active[:, :num_frames] > 0).float()


def weak_on(rows: Tensor, num_clips: int, num_classes: int) -> Tensor:
    """Rows as Draw.weak, on their device."""
    clip, label = rows.unbind(1)
    counts = torch.zeros(num_clips * num_classes, dtype=torch.int32, device=rows.device)
    counts.index_add_(0, clip * num_classes + label, torch.ones_like(label, dtype=torch.int32))
    return (counts.view(num_clips, num_classes) > 0).float()


def _moved(rows: NDArray[np.int64], first: int) -> NDArray[np.int64]:
    """Rows of a draw as rows of the batch in which its clips begin at `first`."""
    moved = rows.copy()
    moved[:, 0] += first
    return moved
