"""What decoding yields: (samples,) float32 nominally in [-1, 1], and what the recording was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class AudioInfo:
    """What a recording was before decoding: duration in seconds, its own sample rate, channels, container."""

    duration: float
    sample_rate: int
    channels: int
    format: str
