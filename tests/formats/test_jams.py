"""JAMS in and out: Scaper's own files, and ours, written and read back."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from desed_task.audio.reading import write_waveform
from desed_task.errors import EventTableError
from desed_task.events import Event
from desed_task.formats.jams import read_jams, write_jams
from desed_task.options import check_options
from desed_task.soundscapes.folders import FoldersOptions, build_folders_soundbank
from desed_task.soundscapes.render import render_scene
from desed_task.soundscapes.room import RoomResponse
from desed_task.soundscapes.scaper import render_scaper_scene
from desed_task.soundscapes.scene import PlacedEvent, Scene, SceneOptions, draw_scene
from desed_task.soundscapes.soundbank import Sound
from desed_task.soundscapes.variation import Variation

RATE = 16_000

SMALL: dict[str, Any] = {
    "annotations": [
        {
            "namespace": "scaper",
            "data": [
                {
                    "time": 1.5,
                    "duration": 1.0,
                    "value": {
                        "label": "dog",
                        "source_file": "foreground/dog/a.wav",
                        "source_time": 0,
                        "event_time": 1.5,
                        "event_duration": 2.0,
                        "snr": 12.5,
                        "role": "foreground",
                        "pitch_shift": None,
                        "time_stretch": 0.5,
                    },
                    "confidence": 1.0,
                }
            ],
            "sandbox": {"scaper": {"duration": 4.0, "sr": 22050, "ref_db": -50, "reverb": 0.1, "ref_db_change": -2}},
        }
    ],
    "file_metadata": {"duration": 4.0, "jams_version": "0.3.5"},
}


def written(tree: object, folder: Path) -> Path:
    path = folder / "scene.jams"
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree))
    return path


def rounded(events: list[Event]) -> list[tuple[float, float, str]]:
    return [(round(event.onset, 6), round(event.offset, 6), event.event_label) for event in events]


def test_every_field_is_read(tmp_path: Path) -> None:
    scene = read_jams(written(SMALL, tmp_path))
    assert (scene.duration, scene.sample_rate, scene.ref_db, scene.reverb) == (4.0, 22050, -52.0, 0.1)
    assert (scene.fade_in_seconds, scene.fade_out_seconds, scene.level_measure) == (0.01, 0.01, "lufs")
    (placed,) = scene.placed
    assert (placed.event_label, placed.source_file, placed.role) == ("dog", "foreground/dog/a.wav", "foreground")
    assert (placed.onset, placed.duration, placed.event_duration, placed.source_time) == (1.5, 1.0, 2.0, 0.0)
    assert (placed.snr_db, placed.pitch_semitones, placed.time_stretch) == (12.5, 0.0, 0.5)
    assert scene.events() == [Event(1.5, 2.5, "dog")]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_scapers_own_files_have_the_events_of_its_lists(shared_data: Path, number: int) -> None:
    folder = shared_data / "scaper_example"
    rows = [line.split("\t") for line in (folder / f"scene_{number}.txt").read_text().splitlines()]
    expected = [Event(float(onset), float(offset), label) for onset, offset, label in rows]
    scene = read_jams(folder / f"scene_{number}.jams")
    assert len(expected) == 3
    assert rounded(scene.events()) == rounded(expected)
    assert (scene.duration, scene.sample_rate, scene.ref_db) == (10.0, 16_000, -45.0)
    assert scene.reverb == (0.2 if number == 2 else None)
    assert scene.stretches == (number > 0)


def our_scene() -> Scene:
    """A dog in two takes 0.1 s apart, a cat under the shortest length at the very end; 10 s."""
    dog = Sound("Dog", "d1", "bank/foreground/Dog/d1.wav", 2, start_seconds=0.75)
    cat = Sound("Cat", "c1", "bank/foreground/Cat/c1.wav", 0)
    fast = Variation(speed=2.0, ramp_db=3.0)
    room = RoomResponse(0.4, 6.0, 11)
    placed = (
        PlacedEvent(dog, 800, 32_000, fast, 1 * RATE, 16_000, 20.0, room),
        PlacedEvent(dog, 0, 8_000, Variation(time_stretch=1.5, pitch_semitones=-2.0), 33_600, 12_000, 8.0),
        PlacedEvent(cat, 0, 160, Variation(), 159_840, 160, 15.0),
    )
    hall = Sound("background", "hall", "bank/background/hall.wav", 48_000, start_seconds=3.0)
    return Scene(10 * RATE, hall, -47.5, placed, 160, 800, 0.150)


def test_what_we_write_is_read_back_to_the_same_events(tmp_path: Path) -> None:
    scene = our_scene()
    write_jams(scene, tmp_path / "test_00000.jams", "../audio/test_00000.wav", Path("bank"))
    back = read_jams(tmp_path / "test_00000.jams")
    # seconds  1      2  2.1  2.85            9.95  10
    # Dog      |------|  |-----|   one event         |
    # Cat                                       |---|  0.01 s, annotated as 0.05 s
    assert rounded(back.events()) == rounded(scene.events()) == [(1.0, 2.85, "Dog"), (9.95, 10.0, "Cat")]
    assert (back.duration, back.sample_rate, back.ref_db, back.level_measure) == (10.0, RATE, -47.5, "rms")
    background, first, second, _ = back.placed
    assert (background.role, background.source_file, background.source_time) == (
        "background",
        "background/hall.wav",
        3.0,
    )
    assert (first.source_file, first.source_time, first.event_duration) == ("foreground/Dog/d1.wav", 0.8, 2.0)
    assert (first.time_stretch, first.pitch_semitones, first.snr_db) == (0.5, 12.0, 20.0)
    assert (second.time_stretch, second.pitch_semitones) == (1.5, -2.0)
    assert back.fade_in_seconds == 0.01
    assert [path.name for path in tmp_path.iterdir()] == ["test_00000.jams"]


def test_our_file_has_what_scapers_have(tmp_path: Path, shared_data: Path) -> None:
    write_jams(our_scene(), tmp_path / "ours.jams", "ours.wav")
    ours = json.loads((tmp_path / "ours.jams").read_text())
    theirs = json.loads((shared_data / "scaper_example" / "scene_2.jams").read_text())
    assert ours.keys() == theirs.keys()
    assert ours["file_metadata"].keys() == theirs["file_metadata"].keys()
    (our_annotation,), (their_annotation,) = ours["annotations"], theirs["annotations"]
    assert our_annotation.keys() == their_annotation.keys()
    assert our_annotation["annotation_metadata"].keys() == their_annotation["annotation_metadata"].keys()
    assert our_annotation["data"][1].keys() == their_annotation["data"][1].keys()
    assert our_annotation["data"][1]["value"].keys() == their_annotation["data"][1]["value"].keys()
    assert our_annotation["sandbox"]["scaper"].keys() <= their_annotation["sandbox"]["scaper"].keys()
    (_, dog, *_), own = our_annotation["data"], our_annotation["sandbox"]["desed_task"]
    assert own["foreground"][0]["response"] == {
        "rt60_seconds": 0.4,
        "direct_to_reverberant_db": 6.0,
        "seed": 11,
        "recording": None,
    }
    assert own["foreground"][0]["variation"]["ramp_db"] == 3.0
    assert np.isclose(dog["value"]["event_duration"] * dog["value"]["time_stretch"], dog["duration"])


def test_what_we_write_can_be_rendered_from_the_recordings(tmp_path: Path) -> None:
    # One recording with two dogs, of which the second is placed; the background starts in the middle of its recording.
    rng = np.random.default_rng(0)
    silence = np.zeros(12_000, dtype=np.float32)
    barks = [0.3 * rng.standard_normal(6_400).astype(np.float32) for _ in range(2)]
    for folder, waveform in (
        ("foreground/Dog", np.concatenate([silence, barks[0], silence, barks[1], silence])),
        ("background", 0.1 * rng.standard_normal(3 * RATE).astype(np.float32)),
    ):
        (tmp_path / folder).mkdir(parents=True)
        write_waveform(tmp_path / folder / "a.wav", waveform, RATE)
    bank = check_options({"name": "folders", "root": str(tmp_path), "shares": {"train": 1.0}}, FoldersOptions)
    soundbank = build_folders_soundbank(bank, "train", seed=0)
    tree = {"labels": ["Dog"], "duration_seconds": 2.0, "fade_milliseconds": 0.0, "num_events": [1, 1]}
    options = check_options({**tree, "snr_db": [10, 10]}, SceneOptions)
    scenes = [draw_scene(np.random.default_rng(seed), options, soundbank) for seed in range(6)]
    assert {placed.sound.take for scene in scenes for placed in scene.placed} == {0, 1}
    for scene in scenes:
        write_jams(scene, tmp_path / "scene.jams", "scene.wav", tmp_path)
        again = render_scaper_scene(read_jams(tmp_path / "scene.jams"), tmp_path)
        assert np.allclose(again, render_scene(scene, soundbank)[0], atol=1e-6)


@pytest.mark.parametrize(("fix_clipping", "limit"), [(True, 1.0), (False, None)])
def test_scapers_wish_to_fix_clipping_is_read(tmp_path: Path, fix_clipping: bool, limit: float | None) -> None:
    scene = read_jams(written(broken(*SCAPER, "fix_clipping", value=fix_clipping), tmp_path))
    assert (scene.peak_limit, scene.whole_samples) == (limit, False)


def test_scenes_in_lufs_of_another_rate_go_out_and_in(tmp_path: Path) -> None:
    # 30870 / 22050 * 22050 is below 30870, which Scaper would round down to the sample before.
    dog = Sound("Dog", "d1", "bank/foreground/Dog/d1.wav", 0)
    placed = (PlacedEvent(dog, 0, 22_050, Variation(), 30_870, 22_050, 40.0),)
    hall = Sound("background", "hall", "bank/background/hall.wav", 0)
    scene = Scene(5 * 22_050, hall, -60.0, placed, 220, 1, None, 22_050, "lufs")
    write_jams(scene, tmp_path / "a.jams", "a.flac", Path("bank"))
    back = read_jams(tmp_path / "a.jams")
    assert (back.sample_rate, back.level_measure, back.peak_limit, back.whole_samples) == (22_050, "lufs", 1.0, True)
    assert back.same_class_gap_seconds is None
    assert int(back.placed[1].onset * 22_050) == 30_870
    assert rounded(back.events()) == rounded(scene.events()) == [(1.4, 2.4, "Dog")]
    scaper = json.loads((tmp_path / "a.jams").read_text())["annotations"][0]["sandbox"]["scaper"]
    assert (scaper["fix_clipping"], scaper["protected_labels"], scaper["ref_db"]) == (True, [], -60.0)


def test_a_scene_that_was_scaled_down_is_scaled_down_again(tmp_path: Path) -> None:
    dog = Sound("Dog", "d1", "bank/foreground/Dog/d1.wav", 0)
    hall = Sound("background", "hall", "bank/background/hall.wav", 0)
    scene = Scene(RATE, hall, -50.0, (PlacedEvent(dog, 0, 800, Variation(), 0, 800, 9.0),), 160, 800, 0.15)
    write_jams(scene, tmp_path / "a.jams", "a.wav")
    assert read_jams(tmp_path / "a.jams").peak_limit == 0.98


def broken(*keys: str | int, value: object) -> dict[str, Any]:
    """SMALL with one value replaced."""
    tree = deepcopy(SMALL)
    node: Any = tree
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    return tree


ROW = ("annotations", 0, "data", 0)
SCAPER = ("annotations", 0, "sandbox", "scaper")


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ('{"annotations": [', r"not valid JSON \(line 1: .*\); copy or generate it again"),
        ("[1, 2]", r"missing or not a section; this is not what Scaper writes"),
        ({}, r"no annotations; a JAMS file has a list of them"),
        (broken("annotations", 0, "namespace", value="tag_open"), r"namespace tag_open; only scenes of .* scaper"),
        (broken("annotations", 0, "sandbox", value={}), r"annotations.sandbox.scaper: missing or not a section"),
        (broken("annotations", 0, "data", value={"time": [0]}), r"annotations.data is not a list"),
        (broken(*SCAPER, "ref_db", value=None), r"sandbox.scaper: ref_db None is not a number"),
        (broken(*SCAPER, "duration", value=-1), r"a scene of -1 s at 22050 Hz cannot be"),
        (broken(*SCAPER, "duration", value=1e12), r"a scene of 1e\+12 s at 22050 Hz cannot be"),
        (broken(*SCAPER, "reverb", value=20), r"reverb 20.0 is not in \[0, 1\]"),
        (broken(*SCAPER, "fade_in_len", value=-1), r"fades of \[-1.0, 0.01\] s; they cannot be negative"),
        (broken(*ROW, "value", value=3), r"observation 0: value: missing or not a section"),
        (broken(*ROW, "time", value="1.5"), r"observation 0: time '1.5' is not a number"),
        (broken(*ROW, "time", value=7.0), r"observation 0: time 7.0 s is not within the scene of 4 s"),
        (broken(*ROW, "duration", value=0), r"observation 0: duration 0.0 is not positive"),
        (broken(*ROW, "value", "role", value="lead"), r"role 'lead' is neither foreground nor background"),
        (broken(*ROW, "value", "label", value=""), r"observation 0: label '' is not a text"),
        (broken(*ROW, "value", "snr", value=None), r"observation 0: snr None is not a number"),
        (broken(*ROW, "value", "source_time", value=-2), r"observation 0: source_time -2.0 s is negative"),
        (broken(*ROW, "value", "time_stretch", value=50), r"time_stretch 50.0 is more than a factor of 10"),
    ],
)
def test_a_file_that_cannot_be_right_is_refused_in_one_sentence(tree: object, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(EventTableError, match=sentence) as refused:
        read_jams(written(tree, tmp_path))
    assert str(tmp_path / "scene.jams") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EventTableError, match=r"gone.jams: no such JAMS file"):
        read_jams(tmp_path / "gone.jams")
    (tmp_path / "bytes.jams").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(EventTableError, match=r"bytes.jams: not UTF-8 text"):
        read_jams(tmp_path / "bytes.jams")
