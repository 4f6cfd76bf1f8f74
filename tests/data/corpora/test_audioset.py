"""AudioSet by json and by segments: mids to names, where recordings are found, what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from desed_task.clips import ClipSet
from desed_task.data.corpora.audioset import AudioSetOptions, read_audioset
from desed_task.data.corpora.class_tables import read_class_names
from desed_task.errors import CorpusError
from desed_task.labels import LabelSet

CLASSES = 'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n2,/m/0bt9lr,"Dog"\n'
SEGMENTS = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=4, num_segs=4, num_unique_labels=3, num_positive_labels=5
# YTID, start_seconds, end_seconds, positive_labels
--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/m/05zppz"
--ZhevVpy1s, 50.000, 60.000, "/m/0bt9lr"
#aE2O5G5WE-, 0.000, 10.000, "/m/0bt9lr"
--gone01234, 0.000, 10.000, "/m/09x0r"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "class_labels_indices.csv").write_text(CLASSES)
    return tmp_path


def write(folder: Path, rows: list[dict[str, Any]], name: str = "list.json") -> Path:
    path = folder / "datafiles" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"data": rows}))
    return path


def read(table: Path, labels: Any = None, **more: Any) -> ClipSet:
    supervision = more.pop("supervision", "weak")
    return read_audioset(
        AudioSetOptions.model_validate({"name": "audioset", "table": table} | more), supervision, labels
    )


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_json_of_mids_or_names_with_paths_of_its_own(folder: Path) -> None:
    touch(folder / "wav" / "a.wav", folder / "datafiles" / "b.wav")
    table = write(
        folder,
        [
            {"wav": str(folder / "wav" / "a.wav"), "labels": "/m/0bt9lr,/m/05zppz", "further": 1},
            {"wav": "b.wav", "labels": "Male speech, man speaking,Dog"},
            {"wav": "c.wav", "labels": ["/m/09x0r", "Dog"]},
        ],
    )
    clips = read(table)
    assert clips.tags == {"a": ("Dog", "Male speech, man speaking"), "b": ("Male speech, man speaking", "Dog")}
    assert clips.missing == (folder / "datafiles" / "c.wav",)
    assert (clips.name, clips.listed_at, {clip.duration for clip in clips.clips}) == ("audioset_list", (0, 1), {10.0})


def test_a_list_of_another_machine_finds_its_recordings_by_name_in_any_container(folder: Path) -> None:
    touch(folder / "here" / "a.flac", folder / "here" / "b.wav", folder / "here" / "b.flac")
    rows = [{"wav": f"/data/elsewhere/{name}.wav", "labels": "Dog"} for name in "abc"]
    clips = read(write(folder, rows, "audioset_bal_train_data.json"), root=folder / "here")
    assert [clip.path for clip in clips.clips] == [folder / "here" / "a.flac", folder / "here" / "b.wav"]
    assert (clips.name, clips.missing) == ("audioset_bal_train_data", (folder / "here" / "c.wav",))


def test_segments_as_published_under_every_usual_file_name(folder: Path) -> None:
    table = folder / "eval_segments.csv"
    table.write_text(SEGMENTS)
    root = folder / "eval_wav"
    touch(root / "--PJHxphWEs.wav", root / "Y--ZhevVpy1s_50.000_60.000.wav", root / "Y#aE2O5G5WE-.mp3")
    clips = read(table, root=root)
    assert clips.tags == {
        "--PJHxphWEs": ("Speech", "Male speech, man speaking"),
        "Y--ZhevVpy1s_50.000_60.000": ("Dog",),
        "Y#aE2O5G5WE-": ("Dog",),
    }
    assert clips.missing == (root / "--gone01234.wav",)
    assert clips.name == "audioset_eval_segments"


def test_the_balanced_list(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "audioset"
    names = read_class_names(folder / "class_labels_indices.csv")
    rows = json.loads((folder / "audioset_bal_train_data.json").read_text())["data"]
    for row in rows[::2]:
        (tmp_path / row["wav"]).touch()
    clips = read(folder / "audioset_bal_train_data.json", LabelSet(names), root=tmp_path)
    assert (clips.files_present, clips.files_expected) == (10_859, 21_717)
    assert clips.listed_at[:3] == (0, 2, 4)
    everything = read(folder / "audioset_bal_train_data.json", None, root=tmp_path)
    assert everything.tags["--PJHxphWEs"] == ("Speech", "Gush")


def test_faults_are_named(folder: Path) -> None:
    touch(folder / "datafiles" / "a.wav")
    row = {"wav": "a.wav", "labels": "/m/0bt9lr"}
    with pytest.raises(CorpusError, match=r"list\.json: class 'Dog' of a is not in the label set"):
        read(write(folder, [row]), LabelSet(["Speech"]))
    with pytest.raises(CorpusError, match=r"list\.json, row 2: label '/m/0000' is neither mid nor name"):
        read(write(folder, [row, {"wav": "b.wav", "labels": "/m/0bt9lr,/m/0000"}]))
    with pytest.raises(CorpusError, match=r"list\.json, row 1: no object with wav and labels"):
        read(write(folder, [{"wav": "a.wav"}]))
    with pytest.raises(CorpusError, match=r"list\.json: lists no recordings"):
        read(write(folder, []))
    with pytest.raises(CorpusError, match=r"list\.json: none of its 1 recordings is there"):
        read(write(folder, [{"wav": "b.wav", "labels": "Dog"}]))
    with pytest.raises(CorpusError, match=r"no such table of classes; name class_labels_indices\.csv in `classes`"):
        read(write(folder, [row]), classes=folder / "none.csv")
    (folder / "cut_segments.csv").write_text('x, 0.0, 10.0, "/m/0bt9lr"\ny, 0.0\n')
    with pytest.raises(CorpusError, match=r"cut_segments\.csv, row 2: 2 cells instead of 4"):
        read(folder / "cut_segments.csv", root=folder)
    with pytest.raises(CorpusError, match=r"cut_segments\.csv: a list of segments has no paths; .* in `root`"):
        read(folder / "cut_segments.csv")


def test_a_file_of_ids_narrows_segments_and_jsons(folder: Path) -> None:
    (folder / "eval_segments.csv").write_text(SEGMENTS)
    (folder / "evaluation.txt").write_text("--ZhevVpy1s_50\n\n--gone01234\n--elsewhere_7\n")
    touch(folder / "audio" / "Y--ZhevVpy1s.wav", folder / "audio" / "--PJHxphWEs.wav")
    clips = read(folder / "eval_segments.csv", root=folder / "audio", ids=folder / "evaluation.txt")
    assert [clip.audio_id for clip in clips.clips] == ["Y--ZhevVpy1s"]
    assert (clips.files_present, clips.files_expected) == (1, 2)
    assert clips.name == "audioset_eval_segments_evaluation"
    rows = [
        {"wav": f"{name}.wav", "labels": "/m/0bt9lr"} for name in ("--PJHxphWEs", "--ZhevVpy1s", "Y--gone01234_0_10")
    ]
    table = write(folder, rows)
    touch(*(folder / "datafiles" / row["wav"] for row in rows))
    clips = read(table, ids=folder / "evaluation.txt")
    assert [clip.audio_id for clip in clips.clips] == ["--ZhevVpy1s", "Y--gone01234_0_10"]


def test_ids_of_another_list_and_lines_that_are_none_are_refused(folder: Path) -> None:
    (folder / "eval_segments.csv").write_text(SEGMENTS)
    for text, sentence in (
        ("KZVnYaoUF3M_70\n", r"none of its 1 ids is in .*eval_segments.csv; name the list"),
        ("--ZhevVpy1s_50\nSpeech\n", r"ids.txt, row 2: 'Speech' is neither <YTID> nor <YTID>_<start>"),
    ):
        (folder / "ids.txt").write_text(text)
        with pytest.raises(CorpusError, match=sentence):
            read(folder / "eval_segments.csv", root=folder, ids=folder / "ids.txt")
