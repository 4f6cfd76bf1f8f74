"""Trimming of hand-made signals: blocks are 10 ms, so every boundary below is a whole block."""

from __future__ import annotations

import numpy as np
import pytest

from desed_task.soundscapes.silence import IsolationOptions, draw_excerpt, isolated_events, outline_of

RATE = 16_000
OPTIONS = IsolationOptions(below_peak_db=30.0, max_gap_seconds=0.3, min_event_seconds=0.1)


def sketch(*pieces: tuple[float, float]) -> np.ndarray:
    """A square wave of (seconds, level) pieces."""
    parts = [np.full(round(seconds * RATE), level) for seconds, level in pieces]
    waveform = np.concatenate(parts).astype(np.float32)
    return waveform * np.where(np.arange(len(waveform)) % 2, 1.0, -1.0).astype(np.float32)


def seconds(waveform: np.ndarray, options: IsolationOptions = OPTIONS) -> list[tuple[float, float]]:
    return [(first / RATE, last / RATE) for first, last in isolated_events(waveform, RATE, options)]


def test_silence_around_a_sound_is_trimmed() -> None:
    assert seconds(sketch((0.5, 0), (0.4, 0.2), (1.0, 0))) == [(0.5, 0.9)]


def test_audible_is_relative_to_the_peak_so_gain_changes_nothing() -> None:
    # 0.01 is 26 dB below 0.2 (audible), 0.004 is 34 dB below (silent).
    waveform = sketch((0.5, 0.004), (0.4, 0.2), (0.2, 0.01), (0.5, 0.004))
    assert seconds(waveform) == [(0.5, 1.1)] == seconds(waveform * 1e-3)


def test_short_gaps_stay_inside_one_event_and_long_ones_divide() -> None:
    # seconds   0.2 on  0.29 off  0.2 on  0.3 off  0.2 on
    waveform = sketch((0.2, 0.5), (0.29, 0), (0.2, 0.5), (0.3, 0), (0.2, 0.5))
    assert seconds(waveform) == [(0.0, 0.69), (0.99, 1.19)]


def test_a_gap_limit_of_zero_does_not_divide_what_has_no_gap() -> None:
    options = OPTIONS.model_copy(update={"max_gap_seconds": 0.0})
    assert seconds(sketch((0.2, 0.5), (0.1, 0), (0.2, 0.5)), options) == [(0.0, 0.2), (0.3, 0.5)]


def test_specks_beside_a_real_event_are_dropped() -> None:
    assert seconds(sketch((0.5, 0.5), (0.5, 0), (0.02, 0.5), (0.5, 0))) == [(0.0, 0.5)]


def test_a_lone_click_is_lengthened_around_its_middle() -> None:
    assert seconds(sketch((0.5, 0), (0.02, 0.5), (0.5, 0))) == [(0.46, 0.56)]


def test_a_lone_click_at_the_beginning_is_lengthened_to_the_right() -> None:
    assert seconds(sketch((0.02, 0.5), (0.5, 0))) == [(0.0, 0.1)]


def test_digital_silence_has_no_event() -> None:
    assert seconds(np.zeros(RATE, dtype=np.float32)) == []


def test_a_recording_shorter_than_the_minimum_is_one_event() -> None:
    assert seconds(sketch((0.03, 0.5))) == [(0.0, 0.03)]


def test_an_excerpt_begins_and_ends_audibly() -> None:
    waveform = sketch(*[(0.1, 0.5), (0.2, 0)] * 10, (0.1, 0.5))
    for seed in range(50):
        first, last = draw_excerpt(np.random.default_rng(seed), outline_of(waveform, RATE, 30.0), RATE)
        assert last - first <= RATE
        assert np.abs(waveform[first:last][:160]).min() > 0 < np.abs(waveform[first:last][-160:]).min()


def test_a_sound_within_the_limit_is_taken_whole() -> None:
    assert draw_excerpt(np.random.default_rng(0), outline_of(sketch((1.0, 0.5)), RATE, 30.0), RATE) == (0, RATE)


@pytest.mark.parametrize("limit", [80, 160, 1000])
def test_an_excerpt_shorter_than_a_gap_is_still_found(limit: int) -> None:
    waveform = sketch((0.1, 0.5), (0.4, 0), (0.1, 0.5))
    first, last = draw_excerpt(np.random.default_rng(3), outline_of(waveform, RATE, 30.0), limit)
    assert 0 <= first < last <= len(waveform)
    assert last - first <= limit
