from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from desed_task.errors import OptionsError
from desed_task.soundscapes import stretch as module
from desed_task.soundscapes.stretch import stretch

RATE = 16_000
TONE = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE).astype(np.float32)


def peak_hertz(waveform: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(waveform))) * RATE / len(waveform))


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_a_stretch_changes_length_and_leaves_pitch(factor: float) -> None:
    stretched = stretch(TONE, RATE, factor, 0.0, round(RATE * factor))
    assert stretched.shape == (round(RATE * factor),)
    assert stretched.dtype == np.float32
    assert peak_hertz(stretched) == pytest.approx(500, abs=2)


@pytest.mark.parametrize("semitones", [-12.0, -3.0, 4.0, 12.0])
def test_a_shift_changes_pitch_and_leaves_length(semitones: float) -> None:
    shifted = stretch(TONE, RATE, 1.0, semitones, RATE)
    assert shifted.shape == (RATE,)
    assert peak_hertz(shifted) == pytest.approx(500 * 2 ** (semitones / 12), rel=0.01)


def test_what_happens_in_the_middle_stays_in_the_middle() -> None:
    # seconds   0        0.5        1        stretched by 1.5:  0          0.75         1.5
    # click              |                                                 |
    click = np.zeros(RATE, dtype=np.float32)
    click[RATE // 2 : RATE // 2 + 40] = 1.0
    stretched = stretch(click, RATE, 1.5, 0.0, RATE * 3 // 2)
    assert np.argmax(np.abs(stretched)) / RATE == pytest.approx(0.75, abs=0.01)


def test_any_length_comes_out_exactly() -> None:
    for num_samples in (1, 50, 1999, 4001):
        for wanted in (round(num_samples * 0.77) or 1, round(num_samples * 1.31)):
            assert len(stretch(TONE[:num_samples], RATE, wanted / num_samples, 0.0, wanted)) == wanted


def test_the_same_samples_give_the_same_samples() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    noise.flags.writeable = False  # as soundbanks hand them out
    once, again = (stretch(noise, RATE, 0.9, 2.0, 14_400) for _ in range(2))
    assert np.array_equal(once, again)


def test_nothing_to_do_leaves_the_samples_and_imports_nothing() -> None:
    assert stretch(TONE, RATE, 1.0, 0.0, RATE) is TONE
    code = "import sys, recipes.generate_soundscapes; print('python_stretch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_without_the_package_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(OptionsError, match=r"need the package python-stretch; install it with"):
        stretch(TONE, RATE, 1.1, 0.0, 17_600)
