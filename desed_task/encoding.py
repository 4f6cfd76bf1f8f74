"""Events -> frames: what a model is trained on.

Encoding is the baseline's: an event is 1 on the frames from floor(onset) to ceil(offset). Decoding (`decoding`) an
encoded table gives every event back, widened to whole frames (at most one frame at each edge), with touching events of
one class joined.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from desed_task.events import Event
from desed_task.labels import LabelSet
from desed_task.timeline import FrameGrid


def encode_strong(events: Iterable[Event], labels: LabelSet, grid: FrameGrid, num_frames: int) -> NDArray[np.float32]:
    """Events -> strong targets: (frames, classes), 1 where an event is active.

    Events beyond the last frame are cut; classes outside `labels` are a KeyError (tables are checked where they enter).
    """
    targets = np.zeros((num_frames, len(labels)), dtype=np.float32)
    for event in events:
        first, last = grid.frame_at(event.onset), grid.frame_after(event.offset)
        targets[first:last, labels.index(event.event_label)] = 1.0
    return targets


def encode_weak(event_labels: Iterable[str], labels: LabelSet) -> NDArray[np.float32]:
    """Class names -> weak targets: (classes,), 1 where the class occurs in the clip."""
    targets = np.zeros(len(labels), dtype=np.float32)
    for label in event_labels:
        targets[labels.index(label)] = 1.0
    return targets


def active_runs(active: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The runs [first, last) of True in a (frames,) array."""
    steps = np.flatnonzero(np.diff(np.concatenate(([0], active.astype(np.int8), [0]))))
    return [(int(first), int(last)) for first, last in zip(steps[::2], steps[1::2], strict=True)]
