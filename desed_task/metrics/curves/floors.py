"""How few false alarms are left, whatever clips are drawn.

How few a clip can still have at or below a row is known beforehand and only rises. Weighed and summed over the clips
this bounds the false alarms of any sample from there on, so a walk through the rows may end once the bound is too high.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.kernels import kernel

Array = NDArray[Any]


@kernel
def list_floors(
    first_row: Array, threshold: Array, clip: Array, failed: Array, num_clips: int
) -> tuple[Array, Array, Array, Array]:
    """Where the least number of false alarms that a clip has from a row on rises.

    Rows sorted by class (first_row: (classes + 1,)) and falling threshold. Returns first_step (classes + 1,) and, of
    each step: the first row with its threshold, its clip, and by how much the clip's least number rises.
    """
    num_classes, num_rows = len(first_row) - 1, len(clip)
    rise = np.zeros(num_rows, np.int32)
    count, floor = np.zeros(num_clips, np.int64), np.zeros(num_clips, np.int64)
    later = np.zeros(num_clips, np.int64)
    steps = 0
    for label in range(num_classes):
        count[:] = 0
        for row in range(first_row[label], first_row[label + 1]):
            count[clip[row]] += failed[row]
        floor[:] = count
        later[:] = -1
        for row in range(first_row[label + 1] - 1, first_row[label] - 1, -1):
            here = clip[row]
            floor[here] = min(floor[here], count[here])
            if later[here] >= 0:
                rise[later[here]] -= floor[here]
                steps += rise[later[here]] > 0
            rise[row] = floor[here]
            later[here] = row
            count[here] -= failed[row]
        for here in range(num_clips):
            steps += later[here] >= 0 and rise[later[here]] > 0
    first_step = np.zeros(num_classes + 1, np.int64)
    step_row, step_clip = np.empty(steps, np.int64), np.empty(steps, clip.dtype)
    step_rise = np.empty(steps, np.int32)
    step = 0
    for label in range(num_classes):
        first = first_row[label]
        for row in range(first_row[label], first_row[label + 1]):
            if threshold[row] != threshold[first]:
                first = row
            if rise[row] > 0:
                step_row[step], step_clip[step], step_rise[step] = first, clip[row], rise[row]
                step += 1
        first_step[label + 1] = step
    return first_step, step_row, step_clip, step_rise
