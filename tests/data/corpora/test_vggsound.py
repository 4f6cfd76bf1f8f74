"""VGGSound's table: parts, names of files, classes with commas, and what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from desed_task.clips import ClipSet
from desed_task.data.corpora.class_tables import read_class_names
from desed_task.data.corpora.vggsound import Part, VggSoundOptions, read_vggsound
from desed_task.errors import CorpusError

ROWS = (
    '-0jeONf82dE,21,"horse clip-clop, trotting",train',
    "-0jeONf82dE,131,dog barking,train",
    "__2MwJ2uHu0,4,dog barking,train",
    "a_b-c,30,air horn,train",
    "---g-f_I2yQ,1,people marching,test",
)
FILES = ("-0jeONf82dE_000021.wav", "-0jeONf82dE_131.flac", "__2MwJ2uHu0.mp3", "---g-f_I2yQ_000001.wav")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vggsound.csv").write_text("\n".join(ROWS) + "\n", encoding="utf-8")
    (tmp_path / "audio").mkdir()
    for name in FILES:
        (tmp_path / "audio" / name).touch()
    return tmp_path


def read(folder: Path, part: Part = "train", labels: tuple[str, ...] | None = None) -> ClipSet:
    options = VggSoundOptions(name="vggsound", table=folder / "vggsound.csv", root=folder / "audio", part=part)
    return read_vggsound(options, "weak", labels)


def test_clips_of_a_part_are_found_under_every_name_they_go_by(folder: Path) -> None:
    clips = read(folder)
    assert [clip.path.name for clip in clips.clips] == list(FILES[:3])
    assert clips.tags == {
        "-0jeONf82dE_000021": ("horse clip-clop, trotting",),
        "-0jeONf82dE_131": ("dog barking",),
        "__2MwJ2uHu0": ("dog barking",),
    }
    assert clips.missing == (folder / "audio" / "a_b-c_000030.wav",)
    assert (clips.name, clips.supervision, clips.files_expected) == ("vggsound_train", "weak", 4)
    assert [clip.audio_id for clip in read(folder, "test").clips] == ["---g-f_I2yQ_000001"]


def test_clips_of_one_video_are_of_one_group(folder: Path) -> None:
    groups = read(folder).groups
    assert groups["-0jeONf82dE_000021"] == groups["-0jeONf82dE_131"] != groups["__2MwJ2uHu0"]


def test_a_class_that_is_not_in_the_label_set_is_named(folder: Path) -> None:
    with pytest.raises(CorpusError, match="class 'dog barking' of -0jeONf82dE_131 is not in the label set"):
        read(folder, labels=("horse clip-clop, trotting", "air horn"))


def test_the_309_classes_are_in_alphabetical_order(project: Path) -> None:
    names = read_class_names(project / "confs" / "corpora" / "vggsound_classes.txt")
    assert (len(names), list(names)) == (309, sorted(names))
    assert "horse clip-clop" in names


@pytest.mark.parametrize(
    "row",
    ["---g-f_I2yQ,1,people marching", "---g-f_I2yQ,1.5,people marching,test", "---g-f_I2yQ,1,people marching,val"],
)
def test_a_row_of_another_table_is_refused(folder: Path, row: str) -> None:
    (folder / "vggsound.csv").write_text("\n".join([ROWS[0], row]) + "\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="row 2: must hold a YouTube id, a start in whole seconds, a class and train"):
        read(folder)


def test_times_are_not_to_be_had(folder: Path) -> None:
    options = VggSoundOptions(name="vggsound", table=folder / "vggsound.csv", root=folder / "audio", part="train")
    with pytest.raises(CorpusError, match="vggsound_train: has classes per clip and no times"):
        read_vggsound(options, "strong")
