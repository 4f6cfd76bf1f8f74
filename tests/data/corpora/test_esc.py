"""ESC-50 and ESC-10 in both layouts: folds, classes, weak labels only."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from desed_task.clips import ClipSet
from desed_task.data.corpora.esc import ESC10_NAMES, EscOptions, read_esc
from desed_task.errors import CorpusError, OptionsError
from desed_task.options import check_options

HEADER = "filename,fold,target,category,esc10,src_file,take"
# fold 1: dog, airplane; fold 2: crying_baby; fold 5: dog, whose file is missing
ROWS = (
    "1-100032-A-0.wav,1,0,dog,True,100032,A",
    "1-11687-A-47.wav,1,47,airplane,False,11687,A",
    "2-107351-A-20.wav,2,20,crying_baby,True,107351,A",
    "5-200334-A-0.wav,5,0,dog,True,200334,A",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "meta").mkdir()
    (tmp_path / "audio").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    for row in ROWS[:3]:
        (tmp_path / "audio" / row.split(",")[0]).touch()
    return tmp_path


def read(root: Path, name: str = "esc50", folds: tuple[int, ...] | None = None, **more: object) -> ClipSet:
    supervision = more.pop("supervision", "weak")
    return read_esc(EscOptions.model_validate({"name": name, "root": root, "folds": folds}), supervision, **more)  # type: ignore[arg-type]


def test_every_clip_has_the_class_of_its_row_as_a_tag(root: Path) -> None:
    clips = read(root)
    assert clips.tags == {"1-100032-A-0": ("dog",), "1-11687-A-47": ("airplane",), "2-107351-A-20": ("crying_baby",)}
    assert (clips.name, clips.supervision, clips.files_present, clips.files_expected) == ("esc50", "weak", 3, 4)
    assert {clip.duration for clip in clips.clips} == {5.0}
    assert clips.groups["1-100032-A-0"] == "1-100032"  # the recording on Freesound, of which there may be more takes


def test_esc10_is_ten_of_the_classes_under_their_own_names(root: Path) -> None:
    clips = read(root, "esc10")
    assert clips.tags == {"1-100032-A-0": ("dog_bark",), "2-107351-A-20": ("baby_cry",)}
    assert len(set(ESC10_NAMES.values())) == 10


def test_folds_select_and_name_the_set(root: Path) -> None:
    clips = read(root, folds=(1, 5))
    assert (clips.name, [clip.audio_id[0] for clip in clips.clips]) == ("esc50_folds_1_5", ["1", "1"])
    assert clips.missing == (root / "audio" / "5-200334-A-0.wav",)


def test_supervision_may_be_none_with_any_label_set(root: Path) -> None:
    assert read(root, supervision="none", labels=("cow",)).supervision == "none"


def test_the_other_layout(tmp_path: Path) -> None:
    (tmp_path / "audio" / "rain").mkdir(parents=True)
    (tmp_path / "audio" / "rain" / "1-1-A.ogg").touch()
    (tmp_path / "metadata.tsv").write_text(
        'filename\tevent_label\tfold\tauthor\nrain/1-1-A.ogg\train\t1\tsomebody "x" else\n'
    )
    (clip,) = read(tmp_path, "esc10").clips
    assert (clip.audio_id, clip.path) == ("1-1-A", tmp_path / "audio" / "rain" / "1-1-A.ogg")


def test_the_real_recordings(shared_data: Path) -> None:
    clips = read(shared_data / "esc10", "esc10")
    assert (clips.files_present, clips.files_expected) == (317, 317)
    assert {name for names in clips.tags.values() for name in names} == set(ESC10_NAMES.values())
    folds = [read(shared_data / "esc10", "esc10", (fold,)) for fold in (1, 2, 3, 4)]
    assert sum(fold.files_present for fold in folds) == 317


def test_times_are_not_to_be_had(root: Path) -> None:
    with pytest.raises(CorpusError, match=r"esc50: has one class per clip and no times; .*generate_soundscapes\.py"):
        read(root, supervision="strong")


def test_faults_are_named(root: Path) -> None:
    with pytest.raises(CorpusError, match=r"class 'airplane' of 1-11687-A-47\.wav is not in the label set"):
        read(root, labels=("dog", "crying_baby"))
    with pytest.raises(CorpusError, match=r"esc50\.csv: no recording of fold \[3\] \(folds here: 1, 2, 5\)"):
        read(root, folds=(3,))
    with pytest.raises(CorpusError, match=r"audio: none of the 1 recordings of .*esc50\.csv is there"):
        read(root, folds=(5,))
    with pytest.raises(CorpusError, match=r"nowhere: no meta/esc50\.csv .*prepare_data\.py --corpus esc10"):
        read(root / "nowhere", "esc10")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,fold,target\nx.wav,1,0\n", r"esc50\.csv, row 1: no column 'category'"),
        (f"{HEADER}\nx.wav,one,0,dog,True,1,A\n", r"esc50\.csv, row 2: filename, class and fold must be given"),
        (f"{HEADER}\nx.wav\n", r"esc50\.csv, row 2: filename, class and fold must be given"),
        ("", r"esc50\.csv, row 1: no column 'category'"),
        (f"{HEADER}\nü.wav,1,0,dog,True,1,A\n", r"esc50\.csv: not a UTF-8 text table"),
    ],
)
def test_another_table_is_refused(root: Path, text: str, message: str) -> None:
    (root / "meta" / "esc50.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(CorpusError, match=message):
        read(root)


@pytest.mark.parametrize("folds", [[], [6], [1, 1]])
def test_folds_that_cannot_be_are_refused(folds: list[int]) -> None:
    with pytest.raises(OptionsError, match=r"folds: \[.*\] are not folds; name some of 1 to 5"):
        check_options({"name": "esc50", "root": "x", "folds": folds}, EscOptions)
    with pytest.raises(ValidationError):
        EscOptions.model_validate({"name": "esc50", "root": "x", "folds": folds})
