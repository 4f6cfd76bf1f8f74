"""Silence stripped: hand-made signals, and what SoX 14.4.2 itself kept of others.

SoX was asked for `silence 1 D 1% -1 D 1%` on 16-bit files of one channel. In 1,248 cases (noises of seven rates, a
third of ESC-10 as it is and 20 dB down, each with four durations) it kept the very samples that we keep.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from desed_task.options import check_options
from desed_task.soundscapes.stripping import StripOptions, repeated, sounding_parts

RATE = 16_000
SOUND, SILENCE = 0.3, 0.0


def square(*pieces: tuple[float, float]) -> np.ndarray:
    """(seconds, level) of a square wave: its RMS is its level."""
    parts = [np.full(round(seconds * RATE), level) for seconds, level in pieces]
    waveform = np.concatenate(parts).astype(np.float32)
    return waveform * np.where(np.arange(len(waveform)) % 2, 1.0, -1.0).astype(np.float32)


def options(**keys: object) -> StripOptions:
    return check_options({"name": "strip_silence", **keys}, StripOptions)


def test_silence_goes_from_both_ends_and_from_within() -> None:
    # seconds   0.5 off   0.4 on   0.3 off   0.4 on   0.5 off
    # The window of 20 ms notices a beginning at once, and an end when less than a thousandth of its energy is left.
    waveform = square((0.5, SILENCE), (0.4, SOUND), (0.3, SILENCE), (0.4, SOUND), (0.5, SILENCE))
    (first, second) = sounding_parts(waveform, RATE, 0.1)
    assert [first[0] / RATE, second[0] / RATE] == pytest.approx([0.5, 1.2], abs=0.001)
    assert [first[1] / RATE, second[1] / RATE] == pytest.approx([0.92, 1.62], abs=0.001)


def test_a_pause_shorter_than_a_run_stays() -> None:
    waveform = square((0.4, SOUND), (0.09, SILENCE), (0.4, SOUND))
    assert sounding_parts(waveform, RATE, 0.1) == [(pytest.approx(0, abs=16), len(waveform))]
    assert len(sounding_parts(waveform, RATE, 0.05)) == 2


def test_a_sound_shorter_than_a_run_goes_too() -> None:
    waveform = square((0.5, SILENCE), (0.05, SOUND), (0.5, SILENCE))
    assert sounding_parts(waveform, RATE, 0.1) == []
    assert len(sounding_parts(waveform, RATE, 0.05)) == 1


def test_silence_at_the_end_that_is_shorter_than_a_run_stays() -> None:
    waveform = square((0.5, SOUND), (0.09, SILENCE))
    assert sounding_parts(waveform, RATE, 0.1)[0][1] == len(waveform)


@pytest.mark.parametrize(("steps", "is_sound"), [(327, False), (328, True)])
def test_one_percent_is_328_steps_of_a_16_bit_file(steps: int, is_sound: bool) -> None:
    assert bool(sounding_parts(square((1.0, steps / 32768)), RATE, 0.1)) == is_sound


def test_the_threshold_is_an_option() -> None:
    assert sounding_parts(square((1.0, 0.02)), RATE, 0.1, threshold_percent=3.0) == []


@pytest.mark.parametrize(
    ("rate", "run_seconds", "num_kept", "digest"),
    [
        (16_000, 0.1, 31_365, "3bfb5c936af12e28"),
        (16_000, 0.025, 32_855, "48d976addbf5c6eb"),
        (22_050, 0.1, 59_914, "206bd80b3adb31ca"),
        (22_050, 0.05, 57_861, "3afdd817e1a273cd"),
        (22_050, 0.025, 57_969, "7b322a06bd7bdf4e"),
        (44_100, 0.1, 91_178, "7cc0dba7074faf11"),
        (44_100, 0.05, 94_881, "d566dbbeb6f21f6e"),
        (44_100, 0.025, 96_723, "9e272c0dddc5d776"),
        (11_025, 0.1, 12_247, "c67192b7831de0b2"),
        (11_025, 0.05, 13_426, "b4c1d19e312d205d"),
    ],
)
def test_the_same_samples_are_kept_as_by_sox(rate: int, run_seconds: float, num_kept: int, digest: str) -> None:
    samples = random_walk(rate)
    parts = sounding_parts(samples.astype(np.float32) / 32768, rate, run_seconds)
    kept = np.concatenate([samples[first:last] for first, last in parts])
    assert len(kept) == num_kept
    assert hashlib.sha256(kept.tobytes()).hexdigest()[:16] == digest


def random_walk(rate: int) -> np.ndarray:
    """Forty stretches of noise, some silent, some around the threshold: the 16-bit samples that SoX was given."""
    rng = np.random.Generator(np.random.PCG64(rate))
    parts = []
    for _ in range(40):
        num_samples, peak = int(rng.integers(1, rate // 4)), int(rng.choice([0, 3, 120, 400, 600, 1500, 20000]))
        parts.append(rng.integers(-peak, peak + 1, num_samples))
    return np.concatenate(parts).astype(np.int16)


def test_what_is_left_is_one_event_repeated_to_its_least_length() -> None:
    waveform = square((0.5, SILENCE), (0.4, SOUND), (0.5, SILENCE))
    ((first, event),) = options().isolate(waveform, RATE, "Dog")
    assert first == pytest.approx(0.5 * RATE, abs=16)
    ((_, short),) = options(min_clip_seconds=0).isolate(waveform, RATE, "Dog")
    assert len(event) == 1.25 * RATE
    assert np.array_equal(event[: len(short)], short)
    assert np.array_equal(event[len(short) : 2 * len(short)], short)


def test_too_little_is_dropped() -> None:
    waveform = square((0.5, SILENCE), (0.12, SOUND), (0.5, SILENCE))
    assert options().isolate(waveform, RATE, "Dog") != []
    assert options(shortest_samples=3000).isolate(waveform, RATE, "Dog") == []
    assert options().isolate(np.zeros(RATE, dtype=np.float32), RATE, "Dog") == []


def test_faint_classes_are_stripped_with_more_care() -> None:
    # A pause of 60 ms is cut out of a whisper and of glass, not of a dog.
    waveform = square((0.4, SOUND), (0.08, SILENCE), (0.4, SOUND))
    strip = options(min_clip_seconds=0)
    lengths = {label: len(strip.isolate(waveform, RATE, label)[0][1]) for label in ("Dog", "Glass", "Whispering")}
    assert lengths["Dog"] == pytest.approx(len(waveform), abs=16)
    assert lengths["Whispering"] == lengths["Glass"] < lengths["Dog"] - 0.05 * RATE


def test_a_long_enough_event_is_not_repeated() -> None:
    waveform = np.arange(5, dtype=np.float32)
    assert repeated(waveform, 5) is waveform
    assert repeated(waveform, 12).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
