"""What every decoder offers, and how its blocks become one checked mono waveform.

A decoder gives (samples, channels) float32 in blocks of a bounded size. `damage` is the sentence on what is wrong with
a recording that is not whole: known when it is opened (its headers promise more than there is), or at its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from desed_task.audio.limits import DecodeLimits
from desed_task.audio.waveform import Waveform
from desed_task.errors import AudioError

Frames = NDArray[np.float32]
# Samples of a block over all channels: 1 MiB of float32.
BLOCK_SAMPLES = 1 << 18
# Floats that hold integers of 32 bits are below.
_LOUDEST = 1e10


class Decoder(Protocol):
    """An opened recording.

    container: one of containers.py; claimed_frames: what the header says, None if nothing; bounded: whether its samples
    are integers, which cannot but lie within full scale.
    """

    container: str
    sample_rate: int
    channels: int
    claimed_frames: int | None
    damage: str | None
    bounded: bool

    def read(self, max_frames: int) -> Frames:
        """The next samples, (at most max_frames, channels); empty at the end. AudioError when nothing is decodable."""

    def close(self) -> None:
        """Let go of what was opened here."""


def mono_blocks(
    decoder: Decoder, limits: DecodeLimits, name: str, max_samples: int = BLOCK_SAMPLES
) -> Iterator[Waveform]:
    """The channels' mean, block by block, at most `max_samples` over all channels.

    Length, channels and finiteness are checked of each block before it is given; AudioError for what is damaged,
    unless the limits are not strict, and for a recording that holds nothing.
    """
    num_samples = 0
    while True:
        block = decoder.read(max(1, max_samples // decoder.channels))
        if not len(block):
            break
        num_samples += len(block)
        limits.require_length(num_samples, block.shape[1], decoder.sample_rate, name)
        limits.require_channels(block.shape[1], name)
        mono = _mean_of_channels(block)
        if not decoder.bounded:
            _require_numbers(mono, name)
        yield mono
    if limits.strict or num_samples == 0:
        refuse_damaged(decoder, name)
    if num_samples == 0:
        raise AudioError(f"{name}: holds no samples")


def refuse_damaged(decoder: Decoder, name: str) -> None:
    """AudioError when the recording is known not to be whole."""
    if decoder.damage is not None:
        raise AudioError(f"{name}: {decoder.damage}")


def _require_numbers(mono: Waveform, name: str) -> None:
    """AudioError for NaN and infinity, and for what becomes infinite when a front-end squares it."""
    highest, lowest = mono.max(), mono.min()
    if not (highest <= _LOUDEST and lowest >= -_LOUDEST):
        if np.isfinite(mono).all():
            raise AudioError(f"{name}: holds samples of {max(highest, -lowest):.1g}, full scale is 1; export it as PCM")
        raise AudioError(f"{name}: holds NaN or infinite samples; export it again as PCM")


def _mean_of_channels(block: Frames) -> Waveform:
    if block.shape[1] == 1:
        return block[:, 0]
    with np.errstate(all="ignore"):
        if block.shape[1] == 2:
            return (block[:, 0] + block[:, 1]) * np.float32(0.5)
        mean: Waveform = block.mean(axis=1, dtype=np.float32)
        return mean
