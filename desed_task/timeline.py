"""FrameGrid: the only place that turns seconds into frames and back.

Three clocks tick in a detector: samples, mel frames (one every `hop_length` samples) and frames (one every
`time_pooling` mel frames, the resolution of the scores). A grid knows all three.

Convention of the DESED baselines: frame j covers [j, j + 1) * `frame_seconds`, from the clip's first sample. So an
event is encoded from floor(onset) to ceil(offset), and a run of active frames [a, b) is decoded to
[a, b) * `frame_seconds`. With a centred STFT and a pooling of 4, the mel frames that frame j averages are centred at
(4 j + 1.5) * hop, 8 ms before the middle of that interval at 16 kHz; `first_frame_center` states where the middle of
frame 0 is taken to be.

The scores hold floor(mel_frames / time_pooling) frames, so for 10 s at 16 kHz, hop 256, pooling 4 there are 626 mel
frames and 156 frames of 64 ms, the last of which ends at 9.984 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A time that is a whole number of frames in exact arithmetic must not move to the next frame by a rounding error.
_FRAME_ROUNDING = 1e-6


@dataclass(frozen=True)
class FrameGrid:
    """The clocks of one model.

    sample_rate: samples per second; hop_length: samples per mel frame; time_pooling: mel frames per frame;
    first_frame_center: seconds from the first sample to the middle of frame 0 (half a frame when not given).
    """

    sample_rate: int
    hop_length: int
    time_pooling: int
    first_frame_center: float | None = None

    def __post_init__(self) -> None:
        if self.first_frame_center is not None and not math.isfinite(self.first_frame_center):
            raise ValueError(f"FrameGrid.first_frame_center must be finite, got {self.first_frame_center}")
        for name in ("sample_rate", "hop_length", "time_pooling"):
            if getattr(self, name) < 1:
                raise ValueError(f"FrameGrid.{name} must be at least 1, got {getattr(self, name)}")

    @property
    def frame_samples(self) -> int:
        """Samples per frame."""
        return self.hop_length * self.time_pooling

    @property
    def frame_seconds(self) -> float:
        """Seconds per frame."""
        return self.frame_samples / self.sample_rate

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.frame_samples

    @property
    def start(self) -> float:
        """Seconds at which frame 0 begins."""
        return 0.0 if self.first_frame_center is None else self.first_frame_center - self.frame_seconds / 2

    def num_mel_frames(self, num_samples: int) -> int:
        """Mel frames of a centred STFT over `num_samples` samples."""
        return num_samples // self.hop_length + 1

    def num_frames(self, num_samples: int) -> int:
        """Frames of the scores of `num_samples` samples."""
        return self.num_mel_frames(num_samples) // self.time_pooling

    def num_samples(self, seconds: float) -> int:
        """Samples in `seconds`, to the nearest."""
        return round(seconds * self.sample_rate)

    def frames_covering(self, seconds: float) -> int:
        """The fewest frames, counted from frame 0, that reach `seconds`."""
        return max(0, math.ceil((seconds - self.start) * self.frame_rate - _FRAME_ROUNDING))

    def frame_at(self, seconds: float) -> int:
        """The frame in which `seconds` lies (the earlier edge belongs to the frame); never negative."""
        return max(0, math.floor((seconds - self.start) * self.frame_rate + _FRAME_ROUNDING))

    def frame_after(self, seconds: float) -> int:
        """One past the last frame that something ending at `seconds` touches."""
        return self.frames_covering(seconds)

    def frames_at(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """`frame_at` of each: (times,)."""
        frames = np.floor((seconds - self.start) * self.frame_rate + _FRAME_ROUNDING)
        return np.asarray(np.maximum(frames, 0), dtype=np.int64)

    def frames_after(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        """`frame_after` of each: (times,)."""
        frames = np.ceil((seconds - self.start) * self.frame_rate - _FRAME_ROUNDING)
        return np.asarray(np.maximum(frames, 0), dtype=np.int64)

    def seconds_at(self, frame: int) -> float:
        """Seconds at which `frame` begins, which is where frame - 1 ends; never negative."""
        return max(0.0, self.start + frame * self.frame_samples / self.sample_rate)

    def frames_in(self, seconds: float) -> int:
        """A length in frames, to the nearest (a tie goes to the even number)."""
        return round(seconds * self.frame_rate)

    def odd_frames_in(self, seconds: float) -> int:
        """The odd number of frames nearest to `seconds`, at least 1: the window of a filter that has a middle frame."""
        return odd_frames(seconds, self.frame_rate)

    def timestamps(self, num_frames: int) -> NDArray[np.float64]:
        """The num_frames + 1 edges of the frames: (num_frames + 1,) in seconds."""
        # The operations of `seconds_at` in the same order, so that both give the same float.
        edges = self.start + np.arange(num_frames + 1) * self.frame_samples / self.sample_rate
        return np.asarray(np.maximum(edges, 0.0), dtype=np.float64)


def odd_frames(seconds: float, frame_rate: float) -> int:
    """The odd number of frames nearest to `seconds`, at least 1, where there are `frame_rate` frames per second."""
    return 2 * math.floor(seconds * frame_rate / 2 + _FRAME_ROUNDING) + 1
