"""Windows: how a model with a fixed view (10 s) hears a recording of any length, in evaluation and in service alike.

A recording is cut into windows of `window_seconds`, the last padded with zeros. Where it is longer than one window,
neighbours share `overlap_frames`; there, each frame takes its score from the window in which it lies farther from an
edge. Window starts are whole frames apart, so stitched frames keep their times. Clip scores are the largest over the
windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from desed_task.clip_pooling import ClipPool, MaxPool
from desed_task.frame_stitcher import stitch_whole
from desed_task.labels import LabelSet
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid
from desed_task.window_cutter import Rest, cut_whole


@dataclass(frozen=True)
class Windowing:
    """The view of one model: `window_seconds` at a time, neighbours sharing `overlap_frames`."""

    grid: FrameGrid
    window_seconds: float
    overlap_frames: int

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_frames < self.window_frames:
            raise ValueError(f"overlap of {self.overlap_frames} frames does not fit {self.window_frames} per window")

    @cached_property
    def window_samples(self) -> int:
        """Samples per window."""
        return self.grid.num_samples(self.window_seconds)

    @cached_property
    def window_frames(self) -> int:
        """Frames per window."""
        return self.grid.num_frames(self.window_samples)

    @property
    def hop_frames(self) -> int:
        """Frames from one window's start to the next's."""
        return self.window_frames - self.overlap_frames

    @cached_property
    def hop_samples(self) -> int:
        """Samples from one window's start to the next's."""
        return self.hop_frames * self.grid.frame_samples

    def starts(self, num_samples: int) -> NDArray[np.int64]:
        """The sample at which each window of a recording of `num_samples` starts: (windows,), ascending."""
        # Less than a frame beyond the window (resampling leaves a few samples) is not worth a second one.
        beyond_first = num_samples - self.window_samples
        num_windows = 1 if beyond_first < self.grid.frame_samples else 1 + -(-beyond_first // self.hop_samples)
        return np.arange(num_windows, dtype=np.int64) * self.hop_samples

    @property
    def short(self) -> Rest:
        """How a recording shorter than a window fills it."""
        return "zeros"

    @property
    def tail(self) -> Rest:
        """How the end of a recording fills the last window."""
        return "zeros"

    def cut(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """(samples,) -> (windows, window_samples), zero-padded at the end; at least one window."""
        return cut_whole(self, waveform)

    def stitch(
        self,
        frame_values: NDArray[np.float32] | None,
        clip_values: NDArray[np.float32] | NDArray[np.float64],
        labels: LabelSet,
        num_samples: int,
    ) -> Scores:
        """Scores of the windows of one recording -> its Scores.

        frame_values: (windows, frames, classes), None for a tagger without frames; clip_values: (windows, classes);
        num_samples: of the recording. Frames that begin after its end are dropped.
        """
        starts = [window * self.hop_samples for window in range(len(clip_values))]
        frames = None if frame_values is None else stitch_whole(self, frame_values, starts, num_samples)
        pool = self.clip_pool()
        pool.add(clip_values)
        return Scores(frames, pool.pooled(), self.grid, labels, num_samples / self.grid.sample_rate)

    def clip_pool(self) -> ClipPool:
        """What makes the clip scores of one recording of those of its windows."""
        return MaxPool()

    def read_until(self, start: int, next_start: int | None) -> int:
        """One past the last frame of the recording that is read from the window at `start`."""
        if next_start is None:
            return start // self.grid.frame_samples + self.window_frames
        return next_start // self.grid.frame_samples + self.overlap_frames // 2

    def frames_within(self, start: int, first: int, last: int) -> slice:
        """Frames [first, last) of the recording, as frames of the window at `start`."""
        before = start // self.grid.frame_samples
        return slice(first - before, last - before)

    def pool(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits of the windows of one recording (windows, classes) -> its own (classes,): the largest."""
        return np.asarray(logits.max(axis=0))
