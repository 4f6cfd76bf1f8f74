"""Chunks: how a tagger with a short view (1 s) hears a recording of any length, in evaluation and in service alike.

A recording is cut into windows of `window_seconds`, `hop_seconds` apart; their clip scores are pooled into one. What
happens at the end of a recording, and to one that is shorter than a window, is a choice:

    tail   tile    windows start as long as there are samples; one that is not full repeats what it has (published)
           shift   only full windows, then one more that ends where the recording ends
           drop    only full windows; what is left is not heard
           zeros   as few windows as reach the end, the last padded with zeros
    short  tile    repeated until it fills one window (published)
           zeros   padded with zeros

    clip scores   mean_logit   sigmoid of the mean logit (published)
                  mean         mean probability
                  max          the largest
                  soft         logits averaged with the weights softmax(exponent * logit), per class: an exponent of 0
                               is mean_logit, a large one max; `fit_exponent` learns it

The published evaluation of FSD50K at 22.05 kHz (windows of 1 s, 0.5 s apart, tile, mean_logit) gives a recording of
33,075 samples three chunks, the last of which is its third half-second played twice. Ours pools the logits of
probabilities, which are those of the model from -69 to +34 when these are float64; float32 ones end at +16, and near
it are not sharp.

A hop need not be whole frames: each frame of the recording takes its score from the window in which its centre lies
farthest from an edge, and there from the frame that holds this moment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from desed_task.clip_pooling import ClipPool, MaxPool, MeanPool, SoftPool, logits_of, probabilities_of, soft_mean
from desed_task.frame_stitcher import stitch_whole
from desed_task.labels import LabelSet
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid
from desed_task.window_cutter import cut_whole

Tail = Literal["tile", "shift", "drop", "zeros"]
Short = Literal["tile", "zeros"]
ClipPooling = Literal["mean_logit", "mean", "max", "soft"]

_LARGEST_EXPONENT = 8.0
# A rest shorter than a frame and than this part of a window is left alone.
_NOT_WORTH_A_WINDOW = 20
_Float = TypeVar("_Float", np.float32, np.float64)


@dataclass(frozen=True)
class Chunking:
    """The view of one tagger: `window_seconds` at a time, `hop_seconds` apart; the rest is said above."""

    grid: FrameGrid
    window_seconds: float
    hop_seconds: float
    tail: Tail = "tile"
    short: Short = "tile"
    clip_scores: ClipPooling = "mean_logit"
    exponent: float = 1.0

    def __post_init__(self) -> None:
        if self.window_samples < 1:
            raise ValueError(f"a window of {self.window_seconds:g} s holds no sample at {self.grid.sample_rate} Hz")
        if not 1 <= self.hop_samples <= self.window_samples:
            raise ValueError(
                f"windows of {self.window_seconds:g} s, {self.hop_seconds:g} s apart, do not meet; "
                "the hop is at most a window, and at least a sample"
            )
        if not math.isfinite(self.exponent):
            raise ValueError(f"an exponent of {self.exponent} is no finite number")

    @cached_property
    def window_samples(self) -> int:
        """Samples per window."""
        return self.grid.num_samples(self.window_seconds)

    @cached_property
    def hop_samples(self) -> int:
        """Samples from one window's start to the next's; a tail that is shifted starts where it must."""
        return self.grid.num_samples(self.hop_seconds)

    @cached_property
    def window_frames(self) -> int:
        """Frames per window."""
        return self.grid.num_frames(self.window_samples)

    def starts(self, num_samples: int) -> NDArray[np.int64]:
        """The sample at which each window of a recording of `num_samples` starts: (windows,), ascending."""
        window, hop = self.window_samples, self.hop_samples
        if num_samples < window:
            return np.zeros(1, dtype=np.int64)
        if self.tail == "tile":
            return np.arange(0, num_samples, hop, dtype=np.int64)
        full = np.arange(0, num_samples - window + 1, hop, dtype=np.int64)
        # A few samples beyond the last window, which resampling leaves, are not worth another one.
        beyond = num_samples - window - int(full[-1])
        if self.tail == "drop" or beyond < min(self.grid.frame_samples, max(1, window // _NOT_WORTH_A_WINDOW)):
            return full
        return np.append(full, num_samples - window if self.tail == "shift" else full[-1] + hop)

    def cut(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """(samples,) -> (windows, window_samples), at least one window."""
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
        num_samples: of the recording. Frames that begin after its end, or in no window, are dropped.
        """
        starts = self.starts(num_samples).tolist()
        if frame_values is not None and len(starts) != len(frame_values):
            raise ValueError(
                f"{len(frame_values)} windows are not the {len(starts)} of a recording of {num_samples} samples"
            )
        frames = None if frame_values is None else stitch_whole(self, frame_values, starts, num_samples)
        pool = self.clip_pool()
        pool.add(clip_values)
        return Scores(frames, pool.pooled(), self.grid, labels, num_samples / self.grid.sample_rate)

    def clip_pool(self) -> ClipPool:
        """What makes the clip scores of one recording of those of its windows."""
        if self.clip_scores == "max":
            return MaxPool()
        return MeanPool() if self.clip_scores == "mean" else SoftPool(self._exponent)

    @property
    def _exponent(self) -> float:
        return self.exponent if self.clip_scores == "soft" else 0.0

    def read_until(self, start: int, next_start: int | None) -> int:
        """One past the last frame of the recording that is read from the window at `start`."""
        frame, window = self.grid.frame_samples, self.window_samples
        if next_start is None:
            return -(-(start + window) // frame)  # those that begin in it
        # A moment lies farthest from the edges of the window whose middle is nearest: centres up to the middle between
        # the two middles, (start + next_start + window) / 2.
        return (start + next_start + window + frame) // (2 * frame)

    def frames_within(self, start: int, first: int, last: int) -> NDArray[np.int64]:
        """Frames [first, last) of the recording, as the frames of the window at `start` that hold their centres."""
        frame = self.grid.frame_samples
        within = (np.arange(first, last, dtype=np.int64) * (2 * frame) + (frame - 2 * start)) // (2 * frame)
        return np.minimum(within, self.window_frames - 1)

    def pool(self, logits: NDArray[_Float]) -> NDArray[_Float]:
        """Logits of the windows of one recording (windows, classes) -> its own (classes,), of the same type."""
        exact = logits.astype(np.float64)
        if self.clip_scores == "mean":
            pooled = logits_of(probabilities_of(exact).mean(axis=0))
        elif self.clip_scores == "max":
            pooled = exact.max(axis=0)
        else:
            pooled = soft_mean(exact, self._exponent)
        return pooled.astype(logits.dtype)


def fit_exponent(logits: Sequence[NDArray[_Float]], targets: NDArray[np.float32]) -> float:
    """The exponent of `soft` with the least binary cross-entropy on held-out recordings, to 0.01, from 0 to 8.

    logits: of each recording (windows, classes); targets: (recordings, classes) in [0, 1].
    """
    exact = [windows.astype(np.float64) for windows in logits]

    def loss(exponent: float) -> float:
        pooled = np.stack([soft_mean(windows, exponent) for windows in exact])
        return float((np.logaddexp(0.0, pooled) - targets * pooled).mean())

    low, high, step = 0.0, _LARGEST_EXPONENT, 1.0
    while True:  # a grid, then a finer one around its best point: the loss need not have a single valley
        tried = np.arange(low, high + step / 2, step)
        best = float(tried[int(np.argmin([loss(float(exponent)) for exponent in tried]))])
        if step < 0.05:
            return round(best, 2)
        low, high, step = max(0.0, best - step), min(_LARGEST_EXPONENT, best + step), step / 10
