from __future__ import annotations

import numpy as np
import pytest

from desed_task.soundscapes.variation import Variation, VariationOptions, apply_variation, draw_variation

RATE = 16_000
TONE = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE).astype(np.float32)


def peak_hertz(waveform: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(waveform))) * RATE / len(waveform))


def level_db(waveform: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(waveform**2)))


def test_nothing_drawn_changes_nothing() -> None:
    variation = draw_variation(np.random.default_rng(0), VariationOptions())
    assert apply_variation(TONE, variation) is TONE


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_speed_changes_length_and_pitch_together(speed: float) -> None:
    played = apply_variation(TONE, Variation(speed=speed))
    assert len(played) == round(RATE / speed) == Variation(speed=speed).num_samples(RATE)
    assert peak_hertz(played) == pytest.approx(500 * speed, abs=2)


def test_tilt_is_so_many_decibels_per_octave_from_1_khz() -> None:
    assert level_db(apply_variation(TONE, Variation(tilt_db_per_octave=6.0))) == pytest.approx(
        level_db(TONE) - 6, abs=0.1
    )


def test_band_gain_acts_at_its_center() -> None:
    raised = apply_variation(TONE, Variation(band_hertz=500.0, band_db=5.0))
    assert level_db(raised) == pytest.approx(level_db(TONE) + 5, abs=0.1)


def test_ramp_runs_from_minus_half_to_plus_half() -> None:
    ramped = apply_variation(TONE, Variation(ramp_db=12.0))
    assert level_db(ramped[-320:]) - level_db(ramped[:320]) == pytest.approx(12, abs=0.4)


def test_draws_stay_in_their_ranges() -> None:
    options = VariationOptions(speed=(0.8, 1.25), tilt_db_per_octave=(-2, 2), band_db=(-6, 6), ramp_db=(-6, 6))
    for seed in range(100):
        drawn = draw_variation(np.random.default_rng(seed), options)
        assert 0.8 <= drawn.speed <= 1.25
        assert abs(drawn.tilt_db_per_octave) <= 2
        assert max(abs(drawn.band_db), abs(drawn.ramp_db)) <= 6
