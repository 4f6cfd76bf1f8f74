"""The procedural soundbank: what can be said of synthetic sounds with a ruler."""

from __future__ import annotations

import time

import numpy as np
import pytest

from desed_task.audio.reading import resample
from desed_task.labels import DESED_LABELS
from desed_task.soundscapes.procedural.bank import SYNTHESISERS, ProceduralOptions, ProceduralSoundbank
from desed_task.soundscapes.silence import audible_blocks

# Shortest and longest event in seconds that a class may give after trimming.
DURATIONS = {
    "Alarm_bell_ringing": (0.3, 9.0),
    "Blender": (1.8, 10.5),
    "Cat": (0.2, 6.0),
    "Dishes": (0.1, 2.5),
    "Dog": (0.1, 5.0),
    "Electric_shaver_toothbrush": (1.8, 10.5),
    "Frying": (1.5, 10.5),
    "Running_water": (1.5, 10.5),
    "Speech": (0.3, 7.0),
    "Vacuum_cleaner": (2.5, 10.5),
}


def bank(split: str = "train", seed: int = 0) -> ProceduralSoundbank:
    return ProceduralSoundbank(ProceduralOptions(name="procedural"), split, seed)


def events(label: str, count: int) -> list[np.ndarray]:
    soundbank, rng = bank(), np.random.default_rng(1)
    return [soundbank.read_event(soundbank.draw_event(rng, label)) for _ in range(count)]


def test_it_has_the_ten_desed_classes() -> None:
    assert tuple(SYNTHESISERS) == DESED_LABELS


@pytest.mark.parametrize("label", DESED_LABELS)
def test_every_class_gives_finite_audible_events_of_a_fitting_length(label: str) -> None:
    shortest, longest = DURATIONS[label]
    for waveform in events(label, 30):
        assert waveform.dtype == np.float32
        assert np.isfinite(waveform).all()
        assert shortest <= len(waveform) / 16_000 <= longest
        audible = audible_blocks(waveform, 16_000, 35.0)
        assert audible[0]
        assert audible[-1]


@pytest.mark.parametrize("label", DESED_LABELS)
def test_a_sound_is_read_the_same_again_and_differs_from_the_next(label: str) -> None:
    sound = bank().draw_event(np.random.default_rng(3), label)
    other = bank().draw_event(np.random.default_rng(4), label)
    assert np.array_equal(bank().read_event(sound), bank().read_event(sound))
    assert not np.array_equal(bank().read_event(sound)[:1000], bank().read_event(other)[:1000])


def test_splits_share_no_voice_and_no_place() -> None:
    rng = np.random.default_rng(0)
    sources = {}
    for split in ("train", "test"):
        soundbank = bank(split)
        drawn = [soundbank.draw_event(rng, label).source for label in DESED_LABELS for _ in range(30)]
        sources[split] = {*drawn, *(soundbank.backgrounds.draw(rng, 100).source for _ in range(30))}
    assert not sources["train"] & sources["test"]


def test_the_same_draw_in_two_splits_sounds_different() -> None:
    first, second = bank("train"), bank("test")
    one = first.read_event(first.draw_event(np.random.default_rng(0), "Dog"))
    two = second.read_event(second.draw_event(np.random.default_rng(0), "Dog"))
    assert one.shape != two.shape or not np.allclose(one, two)


def test_another_seed_gives_other_voices() -> None:
    sound = bank(seed=0).draw_event(np.random.default_rng(0), "Speech")
    assert not np.array_equal(bank(seed=0).read_event(sound)[:500], bank(seed=1).read_event(sound)[:500])


def energy_above(waveform: np.ndarray, hertz: float) -> float:
    power = np.abs(np.fft.rfft(waveform)) ** 2
    frequencies = np.fft.rfftfreq(len(waveform), 1 / 16_000)
    return float(power[frequencies >= hertz].sum() / power.sum())


def test_the_motors_lie_in_their_own_regions() -> None:
    share = {
        label: np.median([energy_above(waveform, 1500) for waveform in events(label, 25)])
        for label in ("Vacuum_cleaner", "Blender", "Electric_shaver_toothbrush")
    }
    assert share["Vacuum_cleaner"] < share["Blender"] < share["Electric_shaver_toothbrush"]


def test_an_event_takes_less_than_20_ms_on_average() -> None:
    soundbank, rng = bank(), np.random.default_rng(2)
    sounds = [soundbank.draw_event(rng, label) for label in DESED_LABELS for _ in range(4)]
    start = time.process_time()
    for sound in sounds:
        soundbank.read_event(sound)
    assert (time.process_time() - start) / len(sounds) < 0.020


def test_at_another_rate_a_sound_is_the_resampled_one() -> None:
    at_16k, at_22k = bank(), ProceduralSoundbank(ProceduralOptions(name="procedural"), "train", 0, 22_050)
    sound = at_16k.draw_event(np.random.default_rng(3), "Dog")
    assert at_22k.draw_event(np.random.default_rng(3), "Dog") == sound
    expected = resample(at_16k.read_event(sound), 16_000, 22_050)
    assert np.array_equal(at_22k.read_event(sound), expected)
    room = at_22k.backgrounds.draw(np.random.default_rng(3), 22_050)
    background = at_22k.backgrounds.read(room, 22_051)
    assert (background.shape, background.dtype) == ((22_051,), np.float32)
    spectrum = np.abs(np.fft.rfft(background)) ** 2
    assert spectrum[8_200:].sum() < 1e-4 * spectrum.sum()
