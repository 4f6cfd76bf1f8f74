"""Generated soundscapes as a corpus: the three files must fit one another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from training_scenes import write_scenes

from desed_task.data.corpora.soundscapes import SoundscapesOptions, list_parts, read_soundscapes
from desed_task.errors import CorpusError, EventTableError
from desed_task.events import Event


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_scenes(tmp_path / "tiny", {"train": 2})
    return tmp_path / "tiny"


def read(root: Path, part: str = "train", **more: Any) -> Any:
    return read_soundscapes(SoundscapesOptions(name="soundscapes", root=root, part=part), "strong", **more)


def test_clips_events_and_tags(root: Path) -> None:
    clips = read(root)
    assert clips.name == "tiny_train"
    assert [(clip.audio_id, clip.duration) for clip in clips.clips] == [("train_0", 2.0), ("train_1", 2.0)]
    assert clips.events == {"train_0": (Event(0.0, 1.0, "hum"),), "train_1": (Event(0.1, 1.1, "hiss"),)}
    assert clips.tags == {"train_0": ("hum",), "train_1": ("hiss",)}


def test_a_clip_without_events_is_one_of_the_clips(root: Path) -> None:
    (root / "train" / "soundscapes.tsv").write_text("filename\tonset\toffset\tevent_label\ntrain_0.wav\t0\t1\thum\n")
    clips = read(root)
    assert clips.events["train_1"] == ()
    assert len(clips.clips) == 2


def test_a_missing_part_says_how_to_make_it(root: Path) -> None:
    with pytest.raises(CorpusError, match=r"tiny/test: no soundscapes here .*recipes/generate_soundscapes\.py"):
        read(root, "test")


def test_a_missing_recording_is_named(root: Path) -> None:
    (root / "train" / "audio" / "train_1.wav").unlink()
    with pytest.raises(CorpusError, match=r"train_1\.wav: missing \(1 of 2 recordings\)"):
        read(root)


def test_events_of_an_unlisted_recording_are_refused(root: Path) -> None:
    path = root / "train" / "soundscapes.tsv"
    path.write_text(path.read_text() + "stray.wav\t0\t1\thum\n")
    with pytest.raises(CorpusError, match=r"soundscapes\.tsv: stray\.wav is not in durations\.tsv"):
        read(root)


def test_a_part_without_recordings_is_refused(root: Path) -> None:
    (root / "train" / "durations.tsv").write_text("filename\tduration\n")
    with pytest.raises(CorpusError, match=r"durations\.tsv: lists no recording"):
        read(root)


def test_a_class_outside_the_label_set_is_named_with_file_and_row(root: Path) -> None:
    with pytest.raises(EventTableError, match=r"soundscapes\.tsv, row 3: class 'hiss' is not in the label set \(hum\)"):
        read(root, labels=["hum"])


def test_the_parts_of_a_folder_are_listed(root: Path) -> None:
    write_scenes(root, {"test": 1})
    (root / "notes").mkdir()
    assert list_parts(root) == ("test", "train")
    with pytest.raises(CorpusError, match=r"notes: no soundscapes here .*generate_soundscapes\.py"):
        list_parts(root / "notes")


def test_a_set_has_one_name_wherever_it_is_named_from(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert read(Path()).name == read(root).name == "tiny_train"
    assert read(root).durations_table == root / "train" / "durations.tsv"
