"""Which way of isolation a conf asks for, and what a soundbank makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from desed_task.audio.reading import write_waveform
from desed_task.errors import CorpusError, OptionsError
from desed_task.options import check_options
from desed_task.soundscapes.folders import FoldersOptions, build_folders_soundbank
from desed_task.soundscapes.isolation import WholeOptions
from desed_task.soundscapes.silence import IsolationOptions
from desed_task.soundscapes.stripping import StripOptions

RATE = 16_000


def bank_options(root: Path, **isolation: object) -> FoldersOptions:
    tree = {"name": "folders", "root": str(root), "shares": {"train": 1.0}, "procedural_backgrounds": True}
    return check_options({**tree, **({"isolation": isolation} if isolation else {})}, FoldersOptions)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Dog: two barks with a second between them, and a recording without a sound."""
    folder = tmp_path / "foreground" / "Dog"
    folder.mkdir(parents=True)
    bark = 0.3 * np.random.default_rng(0).standard_normal(RATE // 4).astype(np.float32)
    pause = np.zeros(RATE, dtype=np.float32)
    write_waveform(folder / "barks.wav", np.concatenate([pause, bark, pause, bark, pause]), RATE)
    write_waveform(folder / "silent.wav", pause, RATE)
    return tmp_path


def test_a_section_without_a_name_is_as_it_always_was(tmp_path: Path) -> None:
    isolation = bank_options(tmp_path, below_peak_db=30.0).isolation
    assert isolation == IsolationOptions(below_peak_db=30.0)
    assert isinstance(bank_options(tmp_path, name="strip_silence").isolation, StripOptions)
    assert isinstance(bank_options(tmp_path, name="whole").isolation, WholeOptions)


def test_a_key_of_another_way_and_an_unknown_way_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"isolation\S*: .*unknown key|isolation\S*min_clip_seconds: unknown key"):
        bank_options(tmp_path, min_clip_seconds=1.0)
    with pytest.raises(OptionsError, match=r"isolation.*'sox'"):
        bank_options(tmp_path, name="sox")


def test_stripped_recordings_are_one_event_and_silent_ones_are_passed_over(root: Path) -> None:
    soundbank = build_folders_soundbank(bank_options(root, name="strip_silence", min_clip_seconds=0), "train", 0)
    rng = np.random.default_rng(0)
    drawn = [soundbank.draw_event(rng, "Dog") for _ in range(20)]
    assert {(sound.source, sound.take) for sound in drawn} == {("barks", 0)}
    assert len(soundbank.read_event(drawn[0])) == pytest.approx(0.5 * RATE, abs=0.05 * RATE)
    assert soundbank.sounds("Dog", "silent", root / "foreground" / "Dog" / "silent.wav") == []


def test_a_class_of_which_nothing_is_left_is_refused(root: Path) -> None:
    (root / "foreground" / "Dog" / "barks.wav").unlink()
    soundbank = build_folders_soundbank(bank_options(root, name="strip_silence"), "train", 0)
    with pytest.raises(CorpusError, match=r"silent.wav: nothing is left of it"):
        soundbank.draw_event(np.random.default_rng(0), "Dog")


def test_a_whole_recording_is_one_event_of_which_any_part_may_be_heard(root: Path) -> None:
    soundbank = build_folders_soundbank(bank_options(root, name="whole"), "train", 0)
    barks = next(sound for sound in soundbank.sounds("Dog", "barks", root / "foreground" / "Dog" / "barks.wav"))
    event = soundbank.read_event(barks)
    assert len(event) == 3.5 * RATE
    assert not event.flags.writeable
    assert soundbank.isolation.outline(event, RATE).audible is None
