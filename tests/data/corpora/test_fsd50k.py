"""FSD50K in its published layout: parts by table and split, originals before copies, what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from desed_task.clips import ClipSet
from desed_task.data.corpora.fsd50k import Fsd50kOptions, read_fsd50k
from desed_task.errors import CorpusError

DEV = """fname,labels,mids,split
64760,"Electric_guitar,Guitar,Music","/m/02sgy,/m/0342h,/m/04rlf",train
16399,"Dog",/m/0bt9lr,train
37199,"Dog,Music","/m/0bt9lr,/m/04rlf",val
"""
EVAL = """fname,labels,mids
37170,"Music","/m/04rlf"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "FSD50K.ground_truth").mkdir()
    (tmp_path / "FSD50K.ground_truth" / "dev.csv").write_text(DEV)
    (tmp_path / "FSD50K.ground_truth" / "eval.csv").write_text(EVAL)
    for name in ("dev_audio/64760", "dev_audio/37199", "dev_audio_16k/37199", "eval_audio_16k/37170"):
        path = tmp_path / f"FSD50K.{name}.wav"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def read(root: Path, part: str, labels: Any = None, **more: Any) -> ClipSet:
    supervision = more.pop("supervision", "weak")
    return read_fsd50k(
        Fsd50kOptions.model_validate({"name": "fsd50k", "root": root, "part": part} | more), supervision, labels
    )


def test_train_and_val_are_the_split_of_dev(root: Path) -> None:
    train, val, dev = (read(root, part) for part in ("train", "val", "dev"))
    assert train.tags == {"64760": ("Electric_guitar", "Guitar", "Music")}
    assert train.missing == (root / "FSD50K.dev_audio" / "16399.wav",)
    assert val.tags == {"37199": ("Dog", "Music")}
    assert [clip.audio_id for clip in dev.clips] == ["64760", "37199"]
    assert (dev.listed_at, dev.files_expected) == ((0, 2), 3)
    assert {train.name, val.name, dev.name} == {"fsd50k_dev_train", "fsd50k_dev_val", "fsd50k_dev"}


def test_another_table_may_name_the_labels(root: Path) -> None:
    enhanced = root / "FSD50K.ground_truth" / "dev_type1_2_mean.csv"
    enhanced.write_text(DEV.replace('16399,"Dog"', '16399,"Animal,Dog"').replace("Electric_guitar,", ""))
    assert read(root, "train", table=enhanced).tags == {"64760": ("Guitar", "Music")}
    assert read(root, "train").tags == {"64760": ("Electric_guitar", "Guitar", "Music")}


def test_originals_come_before_copies_at_16_khz_which_also_serve(root: Path) -> None:
    assert read(root, "val").clips[0].path == root / "FSD50K.dev_audio" / "37199.wav"
    assert read(root, "eval").clips[0].path == root / "FSD50K.eval_audio_16k" / "37170.wav"


def test_recordings_may_lie_in_another_folder(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "16399.flac").touch()
    assert [clip.path.name for clip in read(root, "train", audio=tmp_path / "mine").clips] == ["16399.flac"]


def test_faults_are_named(root: Path) -> None:
    with pytest.raises(CorpusError, match=r"class 'Electric_guitar' of 64760 is not in the label set"):
        read(root, "train", labels=("Guitar", "Music", "Dog"))
    assert read(root, "train", labels=("x",), supervision="none").supervision == "none"
    with pytest.raises(CorpusError, match="fsd50k_eval: has classes per clip and no times"):
        read(root, "eval", supervision="strong")
    with pytest.raises(CorpusError, match=r"no FSD50K\.ground_truth/dev\.csv here; .*prepare_data\.py --corpus fsd50k"):
        read(root / "nowhere", "dev")
    (root / "FSD50K.ground_truth" / "dev.csv").write_text(EVAL)
    with pytest.raises(CorpusError, match=r"dev\.csv, row 1: no column 'split' \(columns here: fname, labels, mids\)"):
        read(root, "dev")
    (root / "FSD50K.ground_truth" / "eval.csv").write_text("fname,labels,mids\n1,,\n")
    with pytest.raises(CorpusError, match=r"eval\.csv, row 2: fname and labels must be given"):
        read(root, "eval")
    (root / "FSD50K.ground_truth" / "eval.csv").write_text("fname,labels,mids\n1,Dog,/m/0bt9lr\n")
    with pytest.raises(CorpusError, match=r"eval\.csv: none of its 1 recordings is there \(first .*1\.wav\)"):
        read(root, "eval")
