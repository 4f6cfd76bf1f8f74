from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from desed_task.options import check_options
from desed_task.soundscapes.folders import FoldersOptions, build_folders_soundbank
from desed_task.soundscapes.loudness import integrated_loudness, measured_loudness, sine_faded
from desed_task.soundscapes.render import PEAK_LIMIT, render_scene, render_stems
from desed_task.soundscapes.scene import Scene, SceneOptions, draw_scene
from desed_task.soundscapes.soundbank import Soundbank

VARIED = {"speed": [0.8, 1.25], "tilt_db_per_octave": [-2, 2], "band_db": [-6, 6], "ramp_db": [-6, 6]}

STRETCHED = {"time_stretch": [0.8, 1.25], "pitch_semitones": [-2, 2]}


@pytest.fixture
def soundbank(folder_bank: Path) -> Soundbank:
    options = check_options({"name": "folders", "root": str(folder_bank)}, FoldersOptions)
    return build_folders_soundbank(options, "train", seed=0)


def draw(soundbank: Soundbank, seed: int, **keys: object) -> Scene:
    tree = {"labels": ["Cat", "Dog"], "duration_seconds": 2.0, "num_events": [1, 1], **keys}
    return draw_scene(np.random.default_rng(seed), check_options(tree, SceneOptions), soundbank)


def power_db(waveform: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(waveform.astype(np.float64) ** 2)))


@pytest.mark.parametrize("variation", [{}, VARIED, STRETCHED])
@pytest.mark.parametrize("seed", range(4))
def test_the_snr_in_the_mixture_is_the_one_that_was_drawn(soundbank: Soundbank, seed: int, variation: dict) -> None:
    scene = draw(soundbank, seed, snr_db=[0.0, 30.0], background_db=[-50, -40], variation=variation)
    mixture, events = render_scene(scene, soundbank)
    background, _ = render_scene(replace(scene, placed=()), soundbank)
    (event,) = events
    heard = (mixture - background)[round(event.onset * 16_000) : round(event.offset * 16_000)]
    assert power_db(background) == pytest.approx(scene.background_db, abs=0.01)
    assert power_db(heard) - power_db(background) == pytest.approx(scene.placed[0].snr_db, abs=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_levels_in_lufs_are_those_before_the_fades(soundbank: Soundbank, seed: int) -> None:
    scene = draw(soundbank, seed, levels="lufs", snr_db=[0.0, 20.0], background_db=[-50, -40])
    background, (stem,) = render_stems(replace(scene, fade_samples=0), soundbank)
    assert integrated_loudness(background, 16_000) == pytest.approx(scene.background_db, abs=0.01)
    level = measured_loudness(stem, 16_000)
    assert level == pytest.approx(scene.background_db + scene.placed[0].snr_db, abs=0.01)
    _, (faded,) = render_stems(scene, soundbank)
    assert np.array_equal(faded, sine_faded(stem, scene.fade_samples, scene.fade_samples))


def test_a_loud_mixture_in_lufs_peaks_at_full_scale_as_scapers_does(soundbank: Soundbank) -> None:
    mixture, _ = render_scene(draw(soundbank, 1, levels="lufs", snr_db=[60, 60], background_db=[-40, -40]), soundbank)
    assert np.abs(mixture).max() == pytest.approx(1.0, abs=1e-6)


def test_nothing_but_background_is_heard_outside_the_events(soundbank: Soundbank) -> None:
    scene = draw(soundbank, 3, variation=VARIED)
    mixture, (event,) = render_scene(scene, soundbank)
    background, _ = render_scene(replace(scene, placed=()), soundbank)
    first, last = round(event.onset * 16_000), round(event.offset * 16_000)
    assert np.array_equal(mixture[:first], background[:first])
    assert np.array_equal(mixture[last:], background[last:])


@pytest.mark.parametrize("seed", range(3))
def test_in_a_room_onset_and_level_stay_and_a_tail_follows(soundbank: Soundbank, seed: int) -> None:
    keys = {"snr_db": [0.0, 30.0], "max_event_seconds": [0.4, 0.4]}
    dry = draw(soundbank, seed, **keys)
    wet = draw(soundbank, seed, **keys, room={"rt60_seconds": [0.6, 0.6], "direct_to_reverberant_db": [0, 0]})
    mixture, (event,) = render_scene(wet, soundbank)
    background, _ = render_scene(replace(wet, placed=()), soundbank)
    first, last = round(event.onset * 16_000), round(event.offset * 16_000)
    heard = mixture - background
    assert [event] == dry.events()
    assert np.array_equal(mixture[:first], background[:first])
    assert power_db(heard[first:last]) - power_db(background) == pytest.approx(wet.placed[0].snr_db, abs=0.05)
    if last + 6400 < len(heard):
        # 60 dB in 0.6 s: 0.3 s after the offset some 30 dB have gone, more or less for the tones of this soundbank.
        fallen = power_db(heard[last : last + 1600]) - power_db(heard[last + 4800 : last + 6400])
        assert power_db(heard[last : last + 1600]) > power_db(heard[first:last]) - 25
        assert 15 < fallen < 50


def test_a_loud_mixture_is_scaled_not_clipped(soundbank: Soundbank) -> None:
    loud = draw(soundbank, 1, snr_db=[40.0, 40.0], background_db=[-20, -20])
    mixture, _ = render_scene(loud, soundbank)
    assert np.abs(mixture).max() == pytest.approx(PEAK_LIMIT)
    assert (np.abs(mixture) > 0.999 * PEAK_LIMIT).sum() < 5000
    quiet, _ = render_scene(replace(loud, background_db=-70.0), soundbank)
    assert np.allclose(mixture / np.abs(mixture).max(), quiet / np.abs(quiet).max(), atol=1e-4)


def test_a_scene_without_events_is_its_background(soundbank: Soundbank) -> None:
    mixture, events = render_scene(draw(soundbank, 0, num_events=[0, 0]), soundbank)
    assert events == []
    assert mixture.shape == (32_000,)
    assert mixture.dtype == np.float32


def test_the_same_scene_renders_to_the_same_samples(soundbank: Soundbank) -> None:
    scene = draw(soundbank, 2, num_events=[3, 3], variation=VARIED)
    assert np.array_equal(render_scene(scene, soundbank)[0], render_scene(scene, soundbank)[0])
