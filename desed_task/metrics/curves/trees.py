"""Every detection that a score curve can give, at any threshold.

Where the threshold falls, runs of frames with `score >= threshold` appear, grow and join. Each distinct run exists from
the threshold at which it appears (its smallest score) down to the one at which it becomes part of a longer run, its
parent. So the runs form a tree with at most as many nodes as there are frames, which one pass with a stack lists.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.kernels import kernel

Array = NDArray[Any]


@kernel
def list_runs(values: Array, first_frame: Array, edges: Array) -> tuple[Array, Array, Array, Array, Array]:
    """values (classes, frames) of several clips end to end; first_frame (clips + 1,); edges (frames + clips,) times.

    Returns first_node (classes * clips + 1,), and of every node: onset, offset, the threshold from which down it
    exists, and parent (-1 for the run of all frames). Nodes are listed class by class, clip by clip.
    """
    num_classes, num_frames = values.shape
    num_clips = len(first_frame) - 1
    capacity = num_classes * num_frames
    onset, offset = np.empty(capacity, edges.dtype), np.empty(capacity, edges.dtype)
    threshold, parent = np.empty(capacity, values.dtype), np.empty(capacity, np.int64)
    first_node = np.zeros(num_classes * num_clips + 1, np.int64)
    stack = np.empty(num_frames + 1, np.int64)
    count = 0
    for label in range(num_classes):
        curve = values[label]
        for clip in range(num_clips):
            # clip k's edges begin k places further on: every clip has one edge more than frames
            start, stop, shift = first_frame[clip], first_frame[clip + 1], clip
            depth = 0
            for frame in range(start, stop):
                value = curve[frame]
                begin = edges[frame + shift]
                closed = -1
                while depth and threshold[stack[depth - 1]] > value:
                    depth -= 1
                    if closed >= 0:
                        parent[closed] = stack[depth]
                    closed = stack[depth]
                    offset[closed] = edges[frame + shift]
                    begin = onset[closed]
                if depth and threshold[stack[depth - 1]] == value:
                    if closed >= 0:
                        parent[closed] = stack[depth - 1]
                else:
                    onset[count] = begin
                    threshold[count] = value
                    if closed >= 0:
                        parent[closed] = count
                    stack[depth] = count
                    depth += 1
                    count += 1
            while depth:
                depth -= 1
                offset[stack[depth]] = edges[stop + shift]
                parent[stack[depth]] = stack[depth - 1] if depth else -1
            first_node[label * num_clips + clip + 1] = count
    return first_node, onset[:count].copy(), offset[:count].copy(), threshold[:count].copy(), parent[:count].copy()
