"""FrameStitcher: frame scores of overlapping windows -> those of the recording, as the windows come in.

A view says which frames of the recording are read from which window, and from which of its frames. Whether a window is
the last is known only when the next one comes or the recording ends, so one window is held back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from desed_task.timeline import FrameGrid

Frames = NDArray[np.float32]


class StitchView(Protocol):
    """What a view says about the frames of a window that starts at sample `start` of the recording."""

    @property
    def grid(self) -> FrameGrid:
        """The clocks of the model."""

    def read_until(self, start: int, next_start: int | None) -> int:
        """One past the last frame of the recording that is read from it; None: no window follows."""

    def frames_within(self, start: int, first: int, last: int) -> slice | NDArray[np.int64]:
        """Frames [first, last) of the recording, as frames of the window."""


class FrameStitcher:
    """The windows of one recording -> its frames, in order."""

    def __init__(self, view: StitchView) -> None:
        self._view = view
        self._held: tuple[int, Frames] | None = None
        self._next_frame = 0
        # Frames that are read, but may begin after the recording's end.
        self._waiting: list[Frames] = []
        self._num_given = 0

    def feed(self, frame_values: Frames, starts: Sequence[int], num_samples: int) -> Frames:
        """Frame scores of the next windows (windows, frames, classes) -> those of the recording that are certain.

        starts: the sample at which each begins; num_samples: of the recording, as far as it is known.
        """
        for values, start in zip(frame_values, starts, strict=True):
            if self._held is not None:
                self._read(start)
            self._held = start, values
        if not self._waiting:
            return np.zeros((0, frame_values.shape[2]), dtype=np.float32)
        return self._give(self._covering(num_samples))

    def end(self, num_samples: int) -> Frames:
        """What is left of a recording of `num_samples`: its frames that no other window holds, cut at its end."""
        self._read(None)
        return self._give(max(1, self._covering(num_samples)))

    def _read(self, next_start: int | None) -> None:
        """Read the window that was held back, which is followed by one at `next_start`."""
        assert self._held is not None
        start, values = self._held
        until = max(self._next_frame, self._view.read_until(start, next_start))
        self._waiting.append(values[self._view.frames_within(start, self._next_frame, until)])
        self._next_frame = until

    def _give(self, limit: int) -> Frames:
        """The waiting frames before frame `limit` of the recording."""
        joined = self._waiting[0] if len(self._waiting) == 1 else np.concatenate(self._waiting)
        given = joined[: max(0, limit - self._num_given)]
        self._num_given += len(given)
        self._waiting = [joined[len(given) :]] if len(given) < len(joined) else []
        return given

    def _covering(self, num_samples: int) -> int:
        return self._view.grid.frames_covering(num_samples / self._view.grid.sample_rate)


def stitch_whole(view: StitchView, frame_values: Frames, starts: Sequence[int], num_samples: int) -> Frames:
    """(windows, frames, classes) of a whole recording -> its frames (frames, classes)."""
    stitcher = FrameStitcher(view)
    certain = stitcher.feed(frame_values, starts, num_samples)
    return np.concatenate((certain, stitcher.end(num_samples)), dtype=np.float32)
