"""The conf of soundscapes and the generation of parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from desed_task.errors import OptionsError
from desed_task.options import check_options, read_options, write_options
from desed_task.soundscapes.conf import SoundscapesOptions
from desed_task.soundscapes.generate import generate_part


def options_of(folder_bank: Path, **keys: object) -> SoundscapesOptions:
    tree = {
        "seed": 3,
        "soundbank": {"name": "folders", "root": str(folder_bank), "source_pattern": r"^([A-Za-z]+\d)"},
        "scene": {"labels": ["Cat", "Dog"], "duration_seconds": 2.0},
        "parts": {"train": {"num_scenes": 9}, "weak": {"num_scenes": 3, "split": "train"}, "test": {"num_scenes": 3}},
        **keys,
    }
    return check_options(tree, SoundscapesOptions)


def audio_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("audio/*"))}


def test_any_number_of_processes_gives_the_same(folder_bank: Path, tmp_path: Path) -> None:
    options = options_of(folder_bank)
    alone = generate_part(options, "train", tmp_path / "alone", num_jobs=1)
    together = generate_part(options, "train", tmp_path / "together", num_jobs=2)
    assert alone == together
    assert audio_of(tmp_path / "alone") == audio_of(tmp_path / "together")
    assert len(audio_of(tmp_path / "alone")) == 9


def test_any_number_of_processes_gives_the_same_with_everything_on(folder_bank: Path, tmp_path: Path) -> None:
    everything = {
        "labels": ["Cat", "Dog"],
        "duration_seconds": 2.0,
        "variation": {"speed": [0.9, 1.1], "time_stretch": [0.8, 1.25], "pitch_semitones": [-2, 2]},
        "room": {"probability": 0.7},
        "co_occurrence": {"Dog": {"classes": ["Cat", "Dog"], "probas": [1, 1], "max_events": 3}},
    }
    options = options_of(folder_bank, scene=everything)
    generated = {jobs: generate_part(options, "train", tmp_path / str(jobs), jobs) for jobs in (1, 2, 3)}
    assert generated[1] == generated[2] == generated[3]
    assert audio_of(tmp_path / "1") == audio_of(tmp_path / "2") == audio_of(tmp_path / "3")
    assert len(audio_of(tmp_path / "1")) == 9


def test_a_scene_does_not_depend_on_how_many_there_are(folder_bank: Path, tmp_path: Path) -> None:
    few = generate_part(options_of(folder_bank), "weak", tmp_path / "few", 1)
    more = options_of(folder_bank, parts={"weak": {"num_scenes": 5, "split": "train"}})
    assert generate_part(more, "weak", tmp_path / "more", 1)[:3] == few


def test_parts_of_one_split_share_sources_but_no_scene(folder_bank: Path, tmp_path: Path) -> None:
    options = options_of(folder_bank)
    parts = {part: generate_part(options, part, tmp_path / part, 1) for part in options.parts}
    sources = {part: {source for scene in scenes for source in scene.sources} for part, scenes in parts.items()}
    assert sources["train"] & sources["weak"]
    assert not (sources["train"] | sources["weak"]) & sources["test"]
    assert parts["train"][0].events != parts["weak"][0].events


def test_what_an_interruption_left_is_kept_and_the_rest_completed(folder_bank: Path, tmp_path: Path) -> None:
    options = options_of(folder_bank)
    whole = generate_part(options, "train", tmp_path / "whole", 1)
    generate_part(options, "train", tmp_path / "cut", 1)
    audio = tmp_path / "cut" / "audio"
    (audio / "train_00004.wav").unlink()
    (tmp_path / "cut" / ".unfinished").mkdir()
    (tmp_path / "cut" / ".unfinished" / "train_00004.wav").write_bytes(b"half")
    kept = (audio / "train_00003.wav").stat().st_mtime_ns
    assert generate_part(options, "train", tmp_path / "cut", 1) == whole
    assert audio_of(tmp_path / "cut") == audio_of(tmp_path / "whole")
    assert (audio / "train_00003.wav").stat().st_mtime_ns == kept
    assert not (tmp_path / "cut" / ".unfinished").exists()


def test_a_part_inherits_the_scene_and_replaces_keys(folder_bank: Path) -> None:
    own = {"snr_db": [1, 2], "variation": {"speed": [0.9, 1.1]}}
    options = options_of(folder_bank, parts={"train": {"num_scenes": 1, "scene": own}, "test": {"num_scenes": 1}})
    assert options.scene_of("train").snr_db == (1.0, 2.0)
    assert options.scene_of("train").variation.speed == (0.9, 1.1)
    assert options.scene_of("train").duration_seconds == 2.0
    assert options.scene_of("test") == options.scene


def test_resolved_options_are_read_back_to_the_same(folder_bank: Path, tmp_path: Path) -> None:
    options = options_of(folder_bank)
    write_options(options, tmp_path / "soundscapes.yaml")
    assert read_options(tmp_path / "soundscapes.yaml", SoundscapesOptions) == options


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"train": {"num_scenes": 1, "scene": {"snr": [1, 2]}}}, r"parts: train.scene: snr: unknown key"),
        ({"../up": {"num_scenes": 1}}, r"part '../up' becomes a folder"),
        ({"train": {"num_scenes": 0}}, r"parts.train.num_scenes: .*greater than or equal to 1, got 0"),
        ({"train": {"scenes": 5}}, r"parts.train.scenes: unknown key"),
    ],
)
def test_bad_parts_are_refused(folder_bank: Path, parts: dict[str, object], sentence: str) -> None:
    with pytest.raises(OptionsError, match=sentence):
        options_of(folder_bank, parts=parts)


def test_the_committed_confs_vary_training_parts_only(project: Path) -> None:
    for name in ("demo", "esc10"):
        options = read_options(project / "confs" / "soundscapes" / f"{name}.yaml", SoundscapesOptions)
        for part in ("validation", "test"):
            assert options.scene_of(part) == options.scene
            assert options.split_of(part) == part
        assert options.scene.variation.speed == (1.0, 1.0)
    assert {options.split_of(part) for part in ("train", "weak", "unlabeled")} == {"train"}
    assert options.scene_of("weak").variation.speed == (0.8, 1.25)
    assert np.array_equal(options.scene.snr_db, (6, 30))


@pytest.mark.parametrize("name", ["desed_like", "esc10_semi"])
def test_unlabeled_clips_of_the_confs_with_few_labels_come_from_a_split_of_their_own(project: Path, name: str) -> None:
    options = read_options(project / "confs" / "soundscapes" / f"{name}.yaml", SoundscapesOptions)
    scenes = {part: options.parts[part].num_scenes for part in options.parts}
    assert scenes == {"train": 300, "weak": 300, "unlabeled": 900, "validation": 100, "test": 300}
    assert options.split_of("weak") == options.split_of("train") == "train"
    assert [options.split_of(part) for part in ("unlabeled", "validation", "test")] == [
        "unlabeled",
        "validation",
        "test",
    ]


def test_scenes_of_version_1_are_what_they_always_were(project: Path, tmp_path: Path) -> None:
    # Scenes that trainings and tables rest on; whoever changes what is drawn raises `version`.
    options = read_options(
        project / "confs" / "soundscapes" / "demo.yaml", SoundscapesOptions, ["parts.test.num_scenes=3"]
    )
    first, _, third = generate_part(options, "test", tmp_path, 1)
    assert [(e.onset, e.offset, e.event_label) for e in first.events] == [(0.763, 7.163, "Running_water")]
    assert [(e.onset, e.offset, e.event_label) for e in third.events] == [
        (1.166, 4.726, "Vacuum_cleaner"),
        (3.776, 7.786, "Frying"),
        (5.101, 9.701, "Blender"),
    ]


def test_the_conf_of_gise51_has_its_classes_in_their_order(project: Path, shared_data: Path) -> None:
    options = read_options(project / "confs" / "soundscapes" / "gise51.yaml", SoundscapesOptions)
    published = json.loads((shared_data / "gise51" / "lbl_map.json").read_text())
    assert {label: number for number, label in enumerate(options.scene.labels)} == published
    assert options.names_of("train")[-1] == "soundscape_unimodal4999_proc_11"


def test_the_sets_of_the_study_of_sizes_are_those_of_the_published_script(project: Path) -> None:
    options = read_options(project / "confs" / "soundscapes" / "gise51_sizes.yaml", SoundscapesOptions)
    sizes = {part: options.parts[part].num_scenes for part in options.parts if options.split_of(part) == "train"}
    assert sizes == {
        "train": 60_000,
        **{f"train_{size}k": 1000 * size for size in (5, 10, 15, 20, 30, 40, 50)},
        **{f"train_p{number}": 10_000 for number in (2, 3, 4, 5)},
    }
    assert all(options.scene_of(part) == options.scene for part in options.parts)
