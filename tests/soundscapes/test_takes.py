from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from desed_task.options import check_options
from desed_task.soundscapes.folders import FoldersOptions, build_folders_soundbank
from desed_task.soundscapes.procedural.bank import ProceduralOptions, build_procedural_soundbank
from desed_task.soundscapes.scene import SceneOptions, draw_scene, fresh_takes
from desed_task.soundscapes.soundbank import Soundbank
from desed_task.soundscapes.takes import BankedTakes, Take
from desed_task.soundscapes.variation import Variation

SIZE = 5
RESHAPED = {"time_stretch": [0.8, 1.25], "pitch_semitones": [-2, 2]}
COLOURED = {"tilt_db_per_octave": [-2, 2], "ramp_db": [-6, 6]}


@pytest.fixture(scope="module")
def folders(folder_bank: Path) -> Soundbank:
    return build_folders_soundbank(FoldersOptions(name="folders", root=folder_bank), "train", seed=0)


@pytest.fixture(scope="module")
def procedural() -> Soundbank:
    return build_procedural_soundbank(ProceduralOptions(name="procedural"), "train", seed=0)


def banked(soundbank: Soundbank, variation: dict, seed: int = 0, **keys: object) -> tuple[BankedTakes, SceneOptions]:
    tree = {"labels": ["Cat", "Dog"], "duration_seconds": 2.0, "variation": variation, **keys}
    options = check_options(tree, SceneOptions)
    return BankedTakes(fresh_takes(options, soundbank), SIZE, seed), options


def takes_of(takes: BankedTakes, count: int = 100) -> list[Take]:
    found = [takes.draw(np.random.default_rng(number), "Cat", ()) for number in range(count)]
    return [take for take in found if take is not None]


def prepared(take: Take) -> tuple:
    return take.sound, take.first, take.num_samples, take.variation.time_stretch, take.variation.pitch_semitones


def test_what_is_slow_to_prepare_comes_from_a_bank_of_so_many(folders: Soundbank) -> None:
    assert len({prepared(take) for take in takes_of(banked(folders, RESHAPED)[0])}) == SIZE


def test_what_is_quick_is_drawn_anew_also_over_a_banked_take(folders: Soundbank) -> None:
    takes = takes_of(banked(folders, {**RESHAPED, **COLOURED})[0])
    assert len({prepared(take) for take in takes}) == SIZE
    assert len({take.variation.tilt_db_per_octave for take in takes}) == 100


def test_recorded_sounds_that_are_not_reshaped_need_no_bank(folders: Soundbank) -> None:
    takes, options = banked(folders, COLOURED)
    for seed in range(20):
        anew = draw_scene(np.random.default_rng(seed), options, folders)
        assert draw_scene(np.random.default_rng(seed), options, folders, takes) == anew


def test_syntheses_and_their_backgrounds_come_from_banks(procedural: Soundbank) -> None:
    takes, _ = banked(procedural, {})
    assert len({take.sound for take in takes_of(takes)}) == SIZE
    assert len({takes.draw_background(np.random.default_rng(number)) for number in range(100)}) == SIZE
    assert all(take.variation == Variation(band_hertz=take.variation.band_hertz) for take in takes_of(takes, 3))


def test_a_bank_is_the_same_in_whatever_order_it_is_drawn_from(folders: Soundbank) -> None:
    one, other = banked(folders, RESHAPED)[0], banked(folders, RESHAPED)[0]
    takes_of(one, 7)
    other.draw(np.random.default_rng(5), "Dog", ())
    assert takes_of(one) == takes_of(other)
    assert takes_of(one) != takes_of(banked(folders, RESHAPED, seed=1)[0])


def test_no_take_of_a_source_that_is_taken(folders: Soundbank) -> None:
    takes, _ = banked(folders, RESHAPED)
    sources = {take.sound.source for take in takes_of(takes)}
    (gone,) = sorted(sources)[:1]
    left = {takes.draw(np.random.default_rng(seed), "Cat", {gone}) for seed in range(50)}
    assert {take.sound.source for take in left if take} == sources - {gone}
    assert takes.draw(np.random.default_rng(0), "Cat", sources) is None
