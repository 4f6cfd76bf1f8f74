"""What is done to waveforms of a batch before features: repetition, gain, mixup, background noise. All in place.

A row is (samples,) float32: a numpy array on the CPU, where torch would share the work out to threads that wait for the
training's, a tensor on a GPU, where nothing waits for the device. `length`: samples of a row that are heard; beyond
them are zeros, which stay zeros.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

# Far below the power of one least significant bit in a clip of minutes; a row that holds only zeros divides by it.
_LEAST_POWER = 1e-20
Row = Any


def rows_of(waveforms: Tensor) -> Any:
    """The rows of (clips, samples), to be written."""
    return waveforms.numpy() if waveforms.device.type == "cpu" else waveforms


def tile(row: Row, length: int) -> None:
    """Repeat the first `length` samples up to the end."""
    filled, end = length, len(row)
    while filled < end:
        step = min(filled, end - filled)
        row[filled : filled + step] = row[:step]
        filled += step


def remove_mean(row: Row, length: int) -> None:
    """Subtract the mean of the samples that are heard."""
    heard = row[:length]
    heard -= heard.mean()


def mix_in(row: Row, partner: Row, share: float, length: int) -> None:
    """share * row + (1 - share) * partner, which ends in zeros where it is shorter and is cut where it is longer.

    Alters the partner, too.
    """
    heard, other = row[:length], partner[:length]
    heard *= share
    other *= 1.0 - share
    heard += other


def add_noise(row: Row, noise: Row, snr_db: float, length: int) -> None:
    """Add noise, scaled so that the row's power is `snr_db` above it. Alters the noise, too; silence stays silent."""
    heard, beneath = row[:length], noise[:length]
    power, noise_power = (heard * heard).mean(), (beneath * beneath).mean()
    beneath *= (power / (noise_power * 10.0 ** (snr_db / 10.0) + _LEAST_POWER)) ** 0.5
    heard += beneath
