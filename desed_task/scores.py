"""Scores: what a system says about one clip, before any decision.

One value in [0, 1] per frame and class, and one per class for the whole clip. Everything that is evaluated or served
comes from Scores: `postprocessing` turns them into events, `metrics` into figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desed_task.labels import LabelSet
from desed_task.timeline import FrameGrid


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one clip.

    frame_values: (frames, classes) float32 or None (a tagger); clip_values: (classes,) float32; duration: seconds of
    the clip, which the last frame may not reach or may pass (see `timeline`).
    """

    frame_values: NDArray[np.float32] | None
    clip_values: NDArray[np.float32]
    grid: FrameGrid
    labels: LabelSet
    duration: float

    def __post_init__(self) -> None:
        if self.clip_values.shape != (len(self.labels),):
            raise ValueError(f"clip_values {self.clip_values.shape} do not fit {len(self.labels)} classes")
        arrays = [self.clip_values]
        if self.frame_values is not None:
            if self.frame_values.ndim != 2 or self.frame_values.shape[1] != len(self.labels):
                raise ValueError(f"frame_values {self.frame_values.shape} are not (frames, {len(self.labels)})")
            arrays.append(self.frame_values)
        for array in arrays:
            # not (0 <= x <= 1) also catches NaN
            if array.size and not (float(array.min()) >= 0.0 and float(array.max()) <= 1.0):
                raise ValueError("scores must lie in [0, 1]")

    def with_frames(self, frame_values: NDArray[np.float32]) -> Scores:
        """The same clip with other frame values."""
        return Scores(frame_values, self.clip_values, self.grid, self.labels, self.duration)

    def table(self) -> ScoreTable:
        """The frames within the clip, with their times; ValueError when the scores have no frames."""
        if self.frame_values is None:
            raise ValueError("clip scores have no frames")
        values = self.frame_values[: self.grid.frames_covering(self.duration)]
        return ScoreTable(np.minimum(self.grid.timestamps(len(values)), self.duration), values, self.labels)


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Frame scores of one clip on windows of any length, the noun that evaluation looks at.

    edges: (frames + 1,) float64 seconds, ascending: frame j covers [edges[j], edges[j + 1]); values: (frames, classes)
    float32 or float64, any finite numbers (only their order counts).
    """

    edges: NDArray[np.float64]
    values: NDArray[np.float32] | NDArray[np.float64]
    labels: LabelSet

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.labels):
            raise ValueError(f"values {self.values.shape} are not (frames, {len(self.labels)})")
        if self.edges.shape != (len(self.values) + 1,):
            raise ValueError(f"{self.edges.shape} edges do not fit {len(self.values)} frames")
        if self.values.dtype not in (np.float32, np.float64):
            raise ValueError(f"values must be float32 or float64, got {self.values.dtype}")
        # the smallest or the largest is not finite where any is not
        if self.values.size and not np.isfinite([self.values.min(), self.values.max()]).all():
            raise ValueError("scores must be finite numbers")
        if not (np.diff(self.edges) >= 0).all():
            raise ValueError("edges must ascend")
