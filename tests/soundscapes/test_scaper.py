"""Scenes of Scaper: pencil-made ones, and the three that Scaper 1.6.5 rendered itself."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from desed_task.audio.reading import read_waveform, write_waveform
from desed_task.errors import CorpusError
from desed_task.soundscapes.scaper import (
    ScaperEvent,
    ScaperScene,
    find_source,
    measured_level,
    render_background,
    render_event,
    render_scaper_scene,
)

RATE = 16_000
HUM = ScaperEvent("hum", "hum.wav", 0.0, 0.0, 4.0, 4.0, 0.0, "background")
BEEP = ScaperEvent("beep", "beep.wav", 0.5, 1.0, 0.6, 0.6, 12.0, "foreground")


def tone(seconds: float, hertz: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.fixture
def soundbank(tmp_path: Path) -> Path:
    write_waveform(tmp_path / "hum.wav", tone(1.5, 200.0), RATE)
    write_waveform(tmp_path / "beep.wav", np.concatenate([tone(0.5, 500.0), tone(1.5, 2000.0)]), RATE)
    return tmp_path


def scene_of(*placed: ScaperEvent, **fields: object) -> ScaperScene:
    return ScaperScene(4.0, RATE, -40.0, tuple(placed), **fields)  # type: ignore[arg-type]


def power_db(waveform: np.ndarray) -> float:
    return 10 * math.log10(float(np.mean(waveform.astype(float) ** 2)))


@pytest.mark.parametrize("measure", ["lufs", "rms"])
@pytest.mark.parametrize("stretch", [1.0, 0.8])
def test_background_and_event_are_at_their_levels(soundbank: Path, measure: str, stretch: float) -> None:
    scene = scene_of(level_measure=measure, fade_in_seconds=0.0, fade_out_seconds=0.0)
    background = render_background(HUM, scene, soundbank)
    event = render_event(replace(BEEP, time_stretch=stretch), scene, soundbank)
    assert len(background) == 4 * RATE
    assert len(event) == round(0.6 * stretch * RATE)
    assert measured_level(background, RATE, scene.level_measure) == pytest.approx(-40, abs=0.01)
    assert measured_level(event, RATE, scene.level_measure) == pytest.approx(-28, abs=0.01)


def test_levels_in_lufs_are_set_before_the_fades_and_rms_after_them(soundbank: Path) -> None:
    # A steady tone of 0.6 s that fades for 0.1 s at both ends along sin^2 has lost a sixth of its energy: 0.79 dB.
    fades = {"fade_in_seconds": 0.1, "fade_out_seconds": 0.1}
    before = render_event(BEEP, scene_of(level_measure="lufs", **fades), soundbank)
    unfaded = render_event(BEEP, scene_of(level_measure="lufs", fade_in_seconds=0.0, fade_out_seconds=0.0), soundbank)
    assert power_db(before) - power_db(unfaded) == pytest.approx(10 * math.log10(5 / 6), abs=0.01)
    after = render_event(BEEP, scene_of(level_measure="rms", **fades), soundbank)
    assert power_db(after) == pytest.approx(-28, abs=0.01)


def test_the_excerpt_begins_at_source_time_and_fades_in(soundbank: Path) -> None:
    event = render_event(BEEP, scene_of(fade_in_seconds=0.1, fade_out_seconds=0.0), soundbank)
    assert np.argmax(np.abs(np.fft.rfft(event))) * RATE / len(event) == pytest.approx(2000, abs=2)
    assert np.abs(event[:16]).max() < 0.02 * np.abs(event).max()
    assert np.abs(event[-16:]).max() > 0.9 * np.abs(event).max()


def test_an_event_sounds_from_its_onset_on_and_not_beyond_the_scene(soundbank: Path) -> None:
    late = replace(BEEP, onset=3.70005)
    mixture = render_scaper_scene(scene_of(late), soundbank)
    assert len(mixture) == 4 * RATE
    assert not mixture[: int(3.70005 * RATE)].any()
    assert mixture[-100:].any()


def test_events_are_the_foreground_in_order() -> None:
    scene = scene_of(HUM, replace(BEEP, onset=2.0), BEEP)
    assert [(e.onset, e.offset, e.event_label) for e in scene.events()] == [(1.0, 1.6, "beep"), (2.0, 2.6, "beep")]
    assert len(replace(scene, same_class_gap_seconds=0.5).events()) == 1
    assert replace(scene, min_event_seconds=0.8).events()[0].offset == pytest.approx(1.8)


def test_a_file_is_found_by_its_name_or_in_scapers_folders(soundbank: Path) -> None:
    assert find_source(BEEP, soundbank) == soundbank / "beep.wav"
    moved = soundbank / "foreground" / "beep" / "deep.wav"
    moved.parent.mkdir(parents=True)
    (soundbank / "beep.wav").rename(moved)
    assert find_source(replace(BEEP, source_file="/gone/beep/deep.wav"), soundbank) == moved
    with pytest.raises(CorpusError, match=r"scene_7: /gone/x.wav \(beep\) is not in .*--soundbank"):
        find_source(replace(BEEP, source_file="/gone/x.wav"), soundbank, "scene_7")


def test_a_file_is_found_by_the_end_of_its_path_in_the_first_folder_that_has_it(tmp_path: Path) -> None:
    published = replace(BEEP, source_file="/home/someone/gise/isolated_events/train/beep/7.wav")
    other = tmp_path / "noises"
    for folder in (tmp_path / "events" / "train" / "beep", tmp_path / "events" / "val" / "beep", other):
        folder.mkdir(parents=True)
        (folder / "7.wav").touch()
    assert find_source(published, [other, tmp_path / "events"]) == tmp_path / "events" / "train" / "beep" / "7.wav"
    assert find_source(published, tmp_path / "events" / "val") == tmp_path / "events" / "val" / "beep" / "7.wav"
    # A name alone could be that of any other sound.
    with pytest.raises(CorpusError, match=r"7.wav \(beep\) is not in .*noises or .*none; give the folder"):
        find_source(published, [other, tmp_path / "none"])


def test_times_are_rounded_down_as_scaper_does_and_ours_are_not(soundbank: Path) -> None:
    # 1.4 * 22050 is 30869.999999999996 in binary.
    scene = replace(scene_of(), sample_rate=22_050)
    assert scene.sample_at(1.4, 22_050) == 30_869
    assert replace(scene, whole_samples=True).sample_at(1.4, 22_050) == 30_870


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_a_scene_is_rendered_at_its_own_rate(soundbank: Path, rate: int) -> None:
    scene = replace(scene_of(HUM, BEEP), sample_rate=rate)
    mixture = render_scaper_scene(scene, soundbank)
    assert len(mixture) == 4 * rate
    event = render_event(BEEP, scene, soundbank)
    assert np.argmax(np.abs(np.fft.rfft(event))) * rate / len(event) == pytest.approx(2000, abs=2)


def test_clipping_is_fixed_where_it_is_asked_for(soundbank: Path) -> None:
    loud = scene_of(HUM, replace(BEEP, snr_db=45.0))
    assert np.abs(render_scaper_scene(loud, soundbank)).max() > 1.3
    fixed = render_scaper_scene(replace(loud, peak_limit=1.0), soundbank)
    assert np.abs(fixed).max() == pytest.approx(1.0, abs=1e-6)
    quiet = scene_of(HUM, BEEP)
    limited = render_scaper_scene(replace(quiet, peak_limit=1.0), soundbank)
    assert np.array_equal(limited, render_scaper_scene(quiet, soundbank))


def test_a_file_that_ends_too_early_is_refused(soundbank: Path) -> None:
    with pytest.raises(CorpusError, match=r"beep.wav: ends before source_time 9 s"):
        render_event(replace(BEEP, source_time=9.0), scene_of(), soundbank)


# What Scaper 1.6.5 rendered. The .flac of a scene is the truth; the JAMS are read here without our reader.


@pytest.fixture
def example(shared_data: Path) -> Path:
    return shared_data / "scaper_example"


def scaper_scene(example: Path, number: int) -> ScaperScene:
    annotation = json.loads((example / f"scene_{number}.jams").read_text())["annotations"][0]
    placed = []
    for row in annotation["data"]:
        value = row["value"]
        changes = (value["pitch_shift"] or 0.0, value["time_stretch"] or 1.0)
        times = (value["source_time"], row["time"], row["duration"], value["event_duration"])
        placed.append(ScaperEvent(value["label"], value["source_file"], *times, value["snr"], value["role"], *changes))
    return ScaperScene(10.0, RATE, -45.0, tuple(placed), reverb=annotation["sandbox"]["scaper"]["reverb"])


def spans(scene: ScaperScene) -> list[slice]:
    """Where the foreground sounds."""
    onsets = [(int(p.onset * RATE), p.duration) for p in scene.placed if p.role == "foreground"]
    return [slice(onset, onset + int(duration * RATE)) for onset, duration in onsets]


def test_a_plain_scene_is_rendered_as_scaper_did(example: Path) -> None:
    scene = scaper_scene(example, 0)
    shipped, ours = read_waveform(example / "scene_0.flac", RATE), render_scaper_scene(scene, example)
    assert power_db(shipped) == pytest.approx(-31.05, abs=0.01)
    assert power_db(shipped - ours) < -100.5  # rounding to 16 bits alone is -101 dB


@pytest.mark.parametrize(("number", "tolerance_db"), [(0, 0.01), (1, 0.05), (2, 0.1)])
def test_levels_are_those_of_scaper(example: Path, number: int, tolerance_db: float) -> None:
    scene = scaper_scene(example, number)
    shipped, ours = read_waveform(example / f"scene_{number}.flac", RATE), render_scaper_scene(scene, example)
    for span in spans(scene):
        assert power_db(ours[span]) == pytest.approx(power_db(shipped[span]), abs=tolerance_db)
    dry = replace(scene, reverb=None)
    for placed, span in zip(scene.placed[1:], spans(scene), strict=True):
        target = scene.ref_db + placed.snr_db
        assert measured_level(render_event(placed, dry, example), RATE, "lufs") == pytest.approx(target, abs=0.01)
        if scene.reverb is None:
            heard = shipped[span] - render_background(scene.placed[0], scene, example)[span]
            assert measured_level(heard, RATE, "lufs") == pytest.approx(target, abs=0.05)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_background_is_scapers_to_the_last_bit_with_its_reverb_too(example: Path, number: int) -> None:
    # Before the first event nothing else is heard; the first samples are those of the resampler's beginning.
    scene = scaper_scene(example, number)
    shipped, ours = read_waveform(example / f"scene_{number}.flac", RATE), render_scaper_scene(scene, example)
    before = slice(50, min(span.start for span in spans(scene)))
    assert np.abs(shipped[before] - ours[before]).max() < 1.01 / 32768
