"""Scenes that are mixed on the device are those that the renderer renders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_soundbank import SCENES, scenes_tree, write_soundbank

from desed_task.audio.reading import read_waveform, write_waveform
from desed_task.data.event_store import EventStore
from desed_task.data.scene_mixing import mix_scenes, padded_length
from desed_task.options import check_options
from desed_task.soundscapes.conf import SoundscapesOptions, build_soundbank
from desed_task.soundscapes.render import PEAK_LIMIT, render_scene
from desed_task.soundscapes.scene import Scene, draw_scene
from desed_task.soundscapes.soundbank import Soundbank, seeded
from recipes.generate_soundscapes import main

NUM_SAMPLES = 32_000
TOLERANCE = 1e-5
PCM_STEP = 1 / 32768


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_soundbank(tmp_path_factory.mktemp("soundbank"))


def mixed(scenes: list[Scene], soundbank: Soundbank) -> np.ndarray:
    mixtures = torch.full((len(scenes), NUM_SAMPLES), 7.0)  # whatever was there is written over
    mix_scenes(scenes, EventStore(soundbank, soundbank.labels, NUM_SAMPLES, capacity=64), mixtures)
    return mixtures.numpy()


def drawn(tree: dict[str, Any], count: int) -> tuple[list[Scene], Soundbank]:
    options = check_options(tree, SoundscapesOptions)
    soundbank = build_soundbank(options.soundbank, "train", options.seed)
    scene = options.scene_of("train")
    return [draw_scene(seeded(0, number), scene, soundbank) for number in range(count)], soundbank


def assert_as_rendered(scenes: list[Scene], soundbank: Soundbank) -> None:
    for mixture, scene in zip(mixed(scenes, soundbank), scenes, strict=True):
        assert np.abs(mixture - render_scene(scene, soundbank)[0]).max() < TOLERANCE


@pytest.mark.parametrize("kind", SCENES)
def test_a_mixed_scene_is_the_rendered_one(root: Path, kind: str) -> None:
    scenes, soundbank = drawn(scenes_tree(root, SCENES[kind]), 30)
    assert_as_rendered(scenes, soundbank)


def test_so_it_is_at_another_rate(root: Path) -> None:
    every = {
        "variation": {"speed": [0.8, 1.2], "tilt_db_per_octave": [-2, 2], "band_db": [-6, 6], "ramp_db": [-6, 6]},
        "room": {"probability": 0.7},
    }
    options = check_options({**scenes_tree(root, every), "sample_rate": 22_050}, SoundscapesOptions)
    soundbank = options.build_soundbank("train")
    scenes = [draw_scene(seeded(0, number), options.scene_of("train"), soundbank) for number in range(12)]
    mixtures = torch.empty((len(scenes), 44_100))
    mix_scenes(scenes, EventStore(soundbank, soundbank.labels, 44_100, capacity=64), mixtures)
    for mixture, scene in zip(mixtures.numpy(), scenes, strict=True):
        assert scene.num_samples == 44_100
        assert np.abs(mixture - render_scene(scene, soundbank)[0]).max() < TOLERANCE


def test_so_it_is_in_measured_rooms(root: Path) -> None:
    room = {"room": {"impulse_responses": str(root / "responses")}}
    scenes, soundbank = drawn(scenes_tree(root, room), 20)
    assert {placed.response.recording for scene in scenes for placed in scene.placed if placed.response} == {
        str(path) for path in (root / "responses").iterdir()
    }
    assert_as_rendered(scenes, soundbank)


def test_so_it_is_with_synthesised_sounds_and_everything_at_once() -> None:
    every = {
        "variation": {
            **{"speed": [0.8, 1.2], "time_stretch": [0.9, 1.1], "pitch_semitones": [-1, 1]},
            **{"tilt_db_per_octave": [-2, 2], "band_db": [-6, 6], "ramp_db": [-6, 6]},
        },
        "room": {"probability": 0.7},
    }
    scenes, soundbank = drawn(scenes_tree(None, every), 20)
    assert_as_rendered(scenes, soundbank)


def test_a_loud_mixture_is_scaled_down_as_a_whole(root: Path) -> None:
    scenes, soundbank = drawn(scenes_tree(root, SCENES["loud"]), 10)
    peaks = np.abs(mixed(scenes, soundbank)).max(axis=1)
    assert (peaks <= PEAK_LIMIT * 1.000001).all()
    assert (peaks > 0.97).sum() >= 5


def test_a_scene_sounds_the_same_whatever_stands_beside_it_in_the_batch(root: Path) -> None:
    scenes, soundbank = drawn(scenes_tree(root, SCENES["some rooms"]), 8)
    together = mixed(scenes, soundbank)
    assert np.array_equal(together, mixed(scenes, soundbank))
    alone = np.concatenate([mixed([scene], soundbank) for scene in scenes])
    assert np.abs(together - alone).max() < TOLERANCE


@pytest.mark.parametrize("kind", ["many, cut", "coloured", "played faster or slower", "some rooms"])
def test_scenes_of_the_recipe_are_mixed_to_the_samples_of_its_files(root: Path, tmp_path: Path, kind: str) -> None:
    tree = scenes_tree(root, SCENES[kind])
    conf = tmp_path / "conf.yaml"
    conf.write_text(check_options(tree, SoundscapesOptions).model_dump_json(), encoding="utf-8")
    main(["--conf_file", str(conf), "--output_dir", str(tmp_path / "out"), "--num_jobs", "1"])
    options = check_options(tree, SoundscapesOptions)
    soundbank = build_soundbank(options.soundbank, "train", options.seed)
    scene = options.scene_of("train")
    scenes = [draw_scene(seeded(options.seed, "train", number), scene, soundbank) for number in range(12)]
    files = sorted((tmp_path / "out" / "train" / "audio").glob("*.wav"))
    for mixture, path in zip(mixed(scenes, soundbank), files, strict=True):
        write_waveform(tmp_path / "mixed.wav", mixture, 16_000)
        difference = np.abs(read_waveform(tmp_path / "mixed.wav", 16_000) - read_waveform(path, 16_000))
        assert difference.max() <= PCM_STEP
        assert np.count_nonzero(difference) < 0.05 * NUM_SAMPLES


@pytest.mark.parametrize(("num_samples", "padded"), [(1, 1024), (1024, 1024), (1025, 1280), (1281, 1536), (2048, 2048)])
def test_events_are_padded_to_few_lengths(num_samples: int, padded: int) -> None:
    assert padded_length(num_samples) == padded
