"""Resampling with soxr (HQ), of a whole waveform or block by block: the same samples, bit for bit.

Both ways keep state of the same filters and round the length alike, so a recording that is heard while it is decoded
gives the scores of one that was decoded first.
"""

from __future__ import annotations

import numpy as np
import soxr

from desed_task.audio.waveform import Waveform

_QUALITY = "HQ"


def resample(waveform: Waveform, from_rate: int, to_rate: int) -> Waveform:
    """(samples,) at `from_rate` -> (samples,) at `to_rate`, soxr HQ; unchanged when the rates are equal."""
    if from_rate == to_rate:
        return waveform
    return np.ascontiguousarray(soxr.resample(waveform, from_rate, to_rate, quality=_QUALITY), dtype=np.float32)


def resampled_length(num_samples: int, from_rate: int, to_rate: int) -> int:
    """How many samples `resample` makes of so many: soxr rounds, in double precision as here."""
    return int(num_samples / (from_rate / to_rate) + 0.5)


class BlockResampler:
    """As `resample`, of blocks that follow one another; what the filter holds back comes with a later block."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._stream = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality=_QUALITY)

    def feed(self, block: Waveform) -> Waveform:
        """(samples,) at the one rate -> those at the other that are known by now, perhaps none."""
        if self._stream is None:
            return block
        return np.ascontiguousarray(self._stream.resample_chunk(np.ascontiguousarray(block)), dtype=np.float32)

    def end(self) -> Waveform:
        """The samples that were held back; nothing is fed after this."""
        nothing = np.zeros(0, dtype=np.float32)
        if self._stream is None:
            return nothing
        return np.ascontiguousarray(self._stream.resample_chunk(nothing, last=True), dtype=np.float32)
