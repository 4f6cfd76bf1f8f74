from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from desed_task.audio.reading import write_waveform
from desed_task.errors import CorpusError, DesedTaskError, OptionsError
from desed_task.options import check_options
from desed_task.soundscapes.folders import FoldersOptions, build_folders_soundbank
from desed_task.soundscapes.soundbank import require_labels

SPLITS = ("train", "validation", "test")


def options_of(root: Path | None, **keys: object) -> FoldersOptions:
    return check_options({"name": "folders", "root": str(root) if root else None, **keys}, FoldersOptions)


def drawn(root: Path, split: str, **keys: object) -> set[tuple[str, str]]:
    soundbank = build_folders_soundbank(options_of(root, **keys), split, seed=5)
    rng = np.random.default_rng(0)
    sounds = [soundbank.draw_event(rng, label) for label in soundbank.labels for _ in range(100)]
    sounds += [soundbank.backgrounds.draw(rng, 32_000) for _ in range(100)]
    return {(sound.source, Path(sound.recording).name) for sound in sounds}


def test_no_source_serves_two_splits(folder_bank: Path) -> None:
    sources = {
        split: {source for source, _ in drawn(folder_bank, split, source_pattern=r"^([A-Za-z]+\d)")} for split in SPLITS
    }
    assert len(sources["train"] | sources["validation"] | sources["test"]) == 18
    assert sum(map(len, sources.values())) == 18


def test_takes_of_one_source_stay_together(folder_bank: Path) -> None:
    for split in SPLITS:
        recordings = {name for _, name in drawn(folder_bank, split, source_pattern=r"^([A-Za-z]+\d)")}
        takes = {name[:-6] for name in recordings if name.endswith(".wav")}
        assert {f"{take}_{letter}.wav" for take in takes for letter in "ab"} <= recordings


def test_events_are_trimmed(folder_bank: Path) -> None:
    soundbank = build_folders_soundbank(options_of(folder_bank), "train", seed=5)
    event = soundbank.read_event(soundbank.draw_event(np.random.default_rng(0), "Dog"))
    assert len(event) == 6400


def test_a_short_background_is_continued_to_the_length_of_the_scene(folder_bank: Path) -> None:
    backgrounds = build_folders_soundbank(options_of(folder_bank), "train", seed=5).backgrounds
    waveform = backgrounds.read(backgrounds.draw(np.random.default_rng(0), 40_000), 40_000)
    assert len(waveform) == 40_000
    assert np.array_equal(waveform[16_000:32_000], waveform[:16_000][::-1])


def test_procedural_backgrounds_need_no_folder(folder_bank: Path, tmp_path: Path) -> None:
    shutil.copytree(folder_bank / "foreground", tmp_path / "foreground")
    with pytest.raises(
        CorpusError, match=r"background: no such folder \(or use --set soundbank.procedural_backgrounds"
    ):
        build_folders_soundbank(options_of(tmp_path), "train", 0)
    backgrounds = build_folders_soundbank(options_of(tmp_path, procedural_backgrounds=True), "train", 0).backgrounds
    assert len(backgrounds.read(backgrounds.draw(np.random.default_rng(0), 500), 500)) == 500


def test_bad_input_is_one_sentence(folder_bank: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=r"--set soundbank.root=FOLDER"):
        build_folders_soundbank(options_of(None), "train", 0)
    with pytest.raises(CorpusError, match=r"missing: no such folder"):
        build_folders_soundbank(options_of(tmp_path / "missing"), "train", 0)
    with pytest.raises(CorpusError, match=r"foreground: no such folder"):
        build_folders_soundbank(options_of(tmp_path), "train", 0)
    with pytest.raises(CorpusError, match=r"split 'dev' has no share"):
        build_folders_soundbank(options_of(folder_bank), "dev", 0)
    with pytest.raises(CorpusError, match=r"no class 'Bird' \(it has Cat, Dog\)"):
        require_labels(build_folders_soundbank(options_of(folder_bank), "test", 0), ["Dog", "Bird"], "test")
    with pytest.raises(CorpusError, match=r"Cat0_a.wav: the name does not match source_pattern"):
        build_folders_soundbank(options_of(folder_bank, source_pattern=r"(\d+)"), "train", 0)
    with pytest.raises(OptionsError, match=r"source_pattern.*has no group"):
        options_of(folder_bank, source_pattern=r"\d+")
    with pytest.raises(OptionsError, match=r"shares.*positive weight"):
        options_of(folder_bank, shares={"train": 0.0})


def test_an_empty_class_is_refused(tmp_path: Path) -> None:
    (tmp_path / "foreground" / "Dog").mkdir(parents=True)
    with pytest.raises(CorpusError, match=r"Dog: holds no recordings"):
        build_folders_soundbank(options_of(tmp_path), "train", 0)


def test_a_recording_of_silence_or_of_no_audio_is_named(tmp_path: Path) -> None:
    (tmp_path / "foreground" / "Dog").mkdir(parents=True)
    bank = options_of(tmp_path, shares={"train": 1.0}, procedural_backgrounds=True)
    write_waveform(tmp_path / "foreground" / "Dog" / "quiet.wav", np.zeros(8000, dtype=np.float32), 16_000)
    with pytest.raises(CorpusError, match=r"quiet.wav: holds nothing but silence"):
        build_folders_soundbank(bank, "train", 0).draw_event(np.random.default_rng(0), "Dog")
    (tmp_path / "foreground" / "Dog" / "quiet.wav").write_text("not audio")
    with pytest.raises(DesedTaskError, match=r"quiet.wav: not decodable"):
        build_folders_soundbank(bank, "train", 0).draw_event(np.random.default_rng(0), "Dog")
