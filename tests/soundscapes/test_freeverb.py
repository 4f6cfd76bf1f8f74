from __future__ import annotations

import numpy as np
import pytest

from desed_task.soundscapes.freeverb import add_reverb

RATE = 44_100


def click(seconds: float = 1.0) -> np.ndarray:
    waveform = np.zeros(round(seconds * RATE), dtype=np.float32)
    waveform[0] = 1.0
    return waveform


def test_the_direct_sound_stays_and_the_first_echo_is_that_of_the_shortest_line() -> None:
    heard = add_reverb(click(), RATE, 0.5)
    assert heard[0] == pytest.approx(1.0, abs=1e-6)
    assert np.abs(heard[1:1115]).max() < 1e-7
    # The shortest comb of one channel returns after 1116 samples, that of the other 12 later: each half of 0.015.
    assert heard[[1116, 1128]] == pytest.approx([0.0075, 0.0075], abs=1e-7)


def test_more_reverb_is_a_longer_tail() -> None:
    tails = [float(np.sum(add_reverb(click(), RATE, reverb)[RATE // 2 :] ** 2)) for reverb in (0.0, 0.5, 1.0)]
    assert tails[0] < 1e-12 < tails[1] < tails[2] / 30


def test_a_scene_keeps_its_length_and_does_not_wrap_around() -> None:
    late = np.zeros(20_000, dtype=np.float32)
    late[15_000] = 1.0
    heard = add_reverb(late, RATE, 1.0)
    assert heard.shape == (20_000,)
    assert np.abs(heard[:15_000]).max() < 1e-6
