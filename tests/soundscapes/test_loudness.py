from __future__ import annotations

import math

import numpy as np
import pytest

from desed_task.soundscapes.loudness import integrated_loudness

RATE = 48_000


def tone(seconds: float, hertz: float = 997.0, level_db: float = 0.0, rate: int = RATE) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    return (10 ** (level_db / 20) * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_the_standards_tone_of_full_scale_is_at_minus_three(rate: int) -> None:
    # BS.1770: a sine of 997 Hz at 0 dBFS in one channel gives -3.01 LKFS.
    assert integrated_loudness(tone(3.0, rate=rate), rate) == pytest.approx(-3.01, abs=0.08)


def test_a_decibel_is_a_loudness_unit() -> None:
    assert integrated_loudness(tone(3.0, level_db=-23.0), RATE) == pytest.approx(
        integrated_loudness(tone(3.0), RATE) - 23.0, abs=1e-3
    )


def test_high_sounds_weigh_four_decibels_more_and_rumble_weighs_less() -> None:
    middle = integrated_loudness(tone(3.0, 500.0), RATE)
    assert integrated_loudness(tone(3.0, 10_000.0), RATE) - middle == pytest.approx(4.0, abs=0.3)
    assert integrated_loudness(tone(3.0, 38.0), RATE) - middle == pytest.approx(-6.0, abs=0.2)


def test_what_is_far_below_the_rest_is_not_counted() -> None:
    # seconds  0          2          4    at 0 dB, then 30 dB lower: the second half falls to the relative gate.
    both = np.concatenate([tone(2.0), tone(2.0, level_db=-30.0)])
    assert integrated_loudness(both, RATE) == pytest.approx(integrated_loudness(tone(2.0), RATE), abs=0.4)
    nearer = np.concatenate([tone(2.0), tone(2.0, level_db=-6.0)])
    assert integrated_loudness(nearer, RATE) == pytest.approx(-3.01 + 10 * math.log10((1 + 0.25) / 2), abs=0.1)


def test_silence_has_no_loudness() -> None:
    assert integrated_loudness(np.zeros(RATE, dtype=np.float32), RATE) == -math.inf


@pytest.mark.parametrize(
    ("seed", "rate", "seconds", "lufs"),
    [(0, 16_000, 0.5, -1.1376293), (1, 16_000, 3.3, -6.3913770), (2, 22_050, 1.27, -5.0142667)],
)
def test_loudness_is_that_of_pyloudnorm(seed: int, rate: int, seconds: float, lufs: float) -> None:
    # What pyloudnorm 0.2.0 says of decaying noise.
    waveform = np.random.default_rng(seed).standard_normal(round(seconds * rate)).astype(np.float32)
    waveform *= np.exp(-2 * np.arange(len(waveform)) / rate).astype(np.float32)
    assert integrated_loudness(waveform, rate) == pytest.approx(lufs, abs=1e-5)
