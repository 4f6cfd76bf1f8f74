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
    assert apply_variation(TONE, variation, RATE) is TONE


@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_speed_changes_length_and_pitch_together(speed: float) -> None:
    played = apply_variation(TONE, Variation(speed=speed), RATE)
    assert len(played) == round(RATE / speed) == Variation(speed=speed).num_samples(RATE)
    assert peak_hertz(played) == pytest.approx(500 * speed, abs=2)


def test_tilt_is_so_many_decibels_per_octave_from_1_khz() -> None:
    assert level_db(apply_variation(TONE, Variation(tilt_db_per_octave=6.0), RATE)) == pytest.approx(
        level_db(TONE) - 6, abs=0.1
    )


def test_band_gain_acts_at_its_center() -> None:
    raised = apply_variation(TONE, Variation(band_hertz=500.0, band_db=5.0), RATE)
    assert level_db(raised) == pytest.approx(level_db(TONE) + 5, abs=0.1)


def test_ramp_runs_from_minus_half_to_plus_half() -> None:
    ramped = apply_variation(TONE, Variation(ramp_db=12.0), RATE)
    assert level_db(ramped[-320:]) - level_db(ramped[:320]) == pytest.approx(12, abs=0.4)


def test_stretch_and_pitch_are_independent() -> None:
    varied = apply_variation(TONE, Variation(speed=0.8, time_stretch=0.9, pitch_semitones=12.0), RATE)
    # A tape at 0.8 of its speed is 1.25 s of 400 Hz; then 0.9 times as long, and an octave up.
    assert len(varied) == round(RATE * 1.25 * 0.9) == Variation(speed=0.8, time_stretch=0.9).num_samples(RATE)
    assert peak_hertz(varied) == pytest.approx(800, rel=0.01)


def test_further_ranges_leave_the_draws_of_the_first_as_they_are() -> None:
    first = {"speed": (0.8, 1.25), "ramp_db": (-6.0, 6.0)}
    rng, other_rng = np.random.default_rng(5), np.random.default_rng(5)
    alone = draw_variation(rng, VariationOptions(**first))
    further = draw_variation(other_rng, VariationOptions(**first, time_stretch=(0.9, 1.1), pitch_semitones=(-2, 2)))
    assert (further.speed, further.band_hertz, further.ramp_db) == (alone.speed, alone.band_hertz, alone.ramp_db)
    assert (further.time_stretch, further.pitch_semitones) != (1.0, 0.0)
    assert rng.random() == other_rng.random()


def test_draws_stay_in_their_ranges() -> None:
    options = VariationOptions(speed=(0.8, 1.25), tilt_db_per_octave=(-2, 2), band_db=(-6, 6), ramp_db=(-6, 6))
    stretches = VariationOptions(time_stretch=(0.9, 1.2), pitch_semitones=(-3, 1))
    for seed in range(100):
        drawn = draw_variation(np.random.default_rng(seed), options)
        assert 0.8 <= drawn.speed <= 1.25
        assert abs(drawn.tilt_db_per_octave) <= 2
        assert max(abs(drawn.band_db), abs(drawn.ramp_db)) <= 6
        stretched = draw_variation(np.random.default_rng(seed), stretches)
        assert 0.9 <= stretched.time_stretch <= 1.2
        assert -3 <= stretched.pitch_semitones <= 1
