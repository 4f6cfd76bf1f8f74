"""Segments of equal length: the largest frame score of each, and whether an event touches it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.kernels import kernel

Array = NDArray[Any]


@kernel
def score_segments(
    values: Array,
    first_frame: Array,
    edges: Array,
    begins_in: Array,
    ends_in: Array,
    clips: Array,
    num_segments: Array,
    first_event: Array,
    event_label: Array,
    event_begins_in: Array,
    event_ends_in: Array,
) -> tuple[Array, Array, Array, Array, Array]:
    """values (classes, frames) of several clips end to end (see `trees.list_runs`) -> one row per segment and class.

    begins_in, ends_in: of each of the `edges`, the segment of a frame that begins there, and the one after the last
    segment of a frame that ends there; of events likewise. num_segments: of every clip of the truth. Returns label,
    score, clip, true positives, false alarms; neighbours of equal score share a row. A segment that no frame touches
    has score 0, or the lowest of the clip where that is negative.
    """
    num_classes = len(values)
    total = 0
    for clip in clips:
        total += num_segments[clip]
    row_label, row_clip = np.empty(num_classes * total, np.int32), np.empty(num_classes * total, np.int32)
    row_score = np.empty(num_classes * total, values.dtype)
    row_found, row_failed = np.empty(num_classes * total, np.int32), np.empty(num_classes * total, np.int32)
    rows = 0
    longest = max(1, num_segments.max()) if len(num_segments) else 1
    score, touched, active = np.empty(longest, values.dtype), np.empty(longest, np.bool_), np.empty(longest, np.bool_)
    for label in range(num_classes):
        curve = values[label]
        for position in range(len(clips)):
            clip = clips[position]
            count = num_segments[clip]
            touched[:count] = False
            active[:count] = False
            lowest = values.dtype.type(0)
            for frame in range(first_frame[position], first_frame[position + 1]):
                edge = frame + position
                value = curve[frame]
                lowest = min(lowest, value)
                if edges[edge] == edges[edge + 1]:
                    continue
                for segment in range(max(0, begins_in[edge]), min(count, ends_in[edge + 1])):
                    if not touched[segment] or score[segment] < value:
                        touched[segment], score[segment] = True, value
            for event in range(first_event[clip], first_event[clip + 1]):
                if event_label[event] == label:
                    active[event_begins_in[event] : event_ends_in[event]] = True
            first_row = rows
            for segment in range(count):
                value = score[segment] if touched[segment] else lowest
                if rows == first_row or row_score[rows - 1] != value:
                    row_label[rows], row_clip[rows], row_score[rows] = label, clip, value
                    row_found[rows], row_failed[rows] = 0, 0
                    rows += 1
                row_found[rows - 1] += active[segment]
                row_failed[rows - 1] += not active[segment]
    return (
        row_label[:rows].copy(),
        row_score[:rows].copy(),
        row_clip[:rows].copy(),
        row_found[:rows].copy(),
        row_failed[:rows].copy(),
    )
