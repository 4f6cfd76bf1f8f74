"""Resampling block by block gives what resampling of the whole gives, to the last sample."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from desed_task.audio.resampling import BlockResampler, resample, resampled_length

FROM_RATES = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 44_101, 48_000, 96_000, 192_000, 384_000]
TO_RATES = [16_000, 22_050, 32_000, 44_100]


def in_blocks(waveform: NDArray[np.float32], from_rate: int, to_rate: int, length: int) -> NDArray[np.float32]:
    resampler = BlockResampler(from_rate, to_rate)
    blocks = [resampler.feed(waveform[start : start + length]) for start in range(0, len(waveform), length)]
    return np.concatenate([*blocks, resampler.end()])


@pytest.mark.parametrize("to_rate", TO_RATES)
@pytest.mark.parametrize("from_rate", FROM_RATES)
def test_blocks_and_the_whole_give_the_same_samples(from_rate: int, to_rate: int) -> None:
    rng = np.random.default_rng(from_rate + to_rate)
    for num_samples, length in (
        (1, 1),
        (2, 1),
        (3, 7),
        (17, 5),
        (441, 100),
        (4_097, 7),
        (50_001, 999),
        (50_001, 1 << 15),
    ):
        waveform = rng.uniform(-0.5, 0.5, num_samples).astype(np.float32)
        whole = resample(waveform, from_rate, to_rate)
        blockwise = in_blocks(waveform, from_rate, to_rate, length)
        assert blockwise.dtype == np.float32
        assert blockwise.shape == whole.shape
        assert np.abs(blockwise - whole).max(initial=0.0) <= 1e-6


@pytest.mark.parametrize("to_rate", TO_RATES)
@pytest.mark.parametrize("from_rate", FROM_RATES)
def test_the_length_is_known_without_resampling(from_rate: int, to_rate: int) -> None:
    for num_samples in (1, 2, 3, 5, 100, 441, 1_000, 12_345):
        made = resample(np.zeros(num_samples, np.float32), from_rate, to_rate)
        assert len(made) == resampled_length(num_samples, from_rate, to_rate)
