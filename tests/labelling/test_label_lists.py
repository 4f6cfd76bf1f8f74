"""Lists of labelled clips and files beside them: read, written back, refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_ontology import MIDS, write_list

from desed_task.errors import CorpusError
from desed_task.labelling.label_lists import read_label_list
from desed_task.labelling.pairs import pair_labels
from desed_task.labelling.prediction_rows import read_prediction_rows, require_targets
from desed_task.labelling.weight_files import weight_path, write_weights

NAMES = tuple(mid.title() for mid in MIDS)
DEV = """fname,labels,mids,split
11,"Dog,Animal","dog,animal",train
12,Car,car,val
13,Yip,yip,train
"""


def test_a_json_keeps_everything_but_its_labels(tmp_path: Path) -> None:
    clips = read_label_list(write_list(tmp_path / "train.json", {"a.1": "yip,dog", "b": "car"}), MIDS)
    assert clips.audio_ids == ("a.1", "b")
    assert clips.labels == ((0, 1), (4,))
    written = json.loads(clips.text_with([[0, 1, 2], [4]], MIDS, NAMES))
    assert written["data"][0] == {"wav": "audio/a.1.wav", "labels": "animal,dog,yip", "fold": 1}
    assert written["data"][1]["labels"] == "car"


def test_of_a_table_of_fsd50k_the_training_rows_are_the_list(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text(DEV)
    clips = read_label_list(tmp_path / "dev.csv", MIDS)
    assert clips.audio_ids == ("11", "13")
    assert clips.labels == ((1, 2), (0,))
    lines = clips.text_with([[1, 2], [0, 1]], MIDS, NAMES).splitlines()
    assert lines == [
        "fname,labels,mids,split",
        '11,"Animal,Dog","animal,dog",train',
        "12,Car,car,val",
        '13,"Dog,Yip","dog,yip",train',
    ]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.json", '{"data": [{"wav": "a.wav", "labels": "ghost"}]}', "row 1: label 'ghost' is no mid"),
        ("a.json", '{"data": [{"wav": "a.wav"}]}', "row 1: the clip's name and its labels must be given"),
        ("a.json", '{"clips": []}', "no list of clips"),
        ("a.json", '{"data": []}', "lists no clip"),
        ("a.json", "{", "not valid JSON"),
        ("a.csv", "fname,labels\n1,Dog\n", "row 1: no column 'mids'"),
        ("a.csv", DEV.replace("train", "val"), "lists no clip of the split train"),
        ("a.csv", DEV + "14,Dog\n", "row 5: more or fewer cells"),
        ("a.tsv", DEV, "neither .json"),
        ("a.json", None, "cannot be read"),
    ],
)
def test_lists_that_cannot_be_right_are_refused(name: str, text: str | None, sentence: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(CorpusError, match=sentence):
        read_label_list(tmp_path / name, MIDS)


def test_weights_are_written_to_the_last_digit(tmp_path: Path) -> None:
    path = weight_path(tmp_path / "train_type1_2_mean.json")
    assert path.name == "train_type1_2_mean_weight.csv"
    weights = np.array([1 / 3, 1e-9, 134.45344767595375])
    write_weights(weights, path)
    np.testing.assert_array_equal(np.loadtxt(path), weights)


def test_published_rows_of_predictions_must_be_those_of_the_list(tmp_path: Path) -> None:
    labels = pair_labels([[1], [0, 2]], 3)
    target, path = tmp_path / "target.csv", tmp_path / "predictions.csv"
    np.savetxt(path, [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], delimiter=",")
    assert read_prediction_rows(path, 2, 3)[1].tolist() == [0.4, 0.5, 0.6]
    np.savetxt(target, [[0, 1, 0], [1, 0, 1]], delimiter=",")
    require_targets(target, labels)
    np.savetxt(target, [[1, 0, 1], [0, 1, 0]], delimiter=",")
    with pytest.raises(CorpusError, match="row 1: other labels than in the list"):
        require_targets(target, labels)
    with pytest.raises(CorpusError, match="2 rows of 3 numbers, where the list has 3 clips and 3 classes"):
        read_prediction_rows(path, 3, 3)
    path.write_text("0.1,0.2,nan\n0.4,0.5,0.6\n")
    with pytest.raises(CorpusError, match="row 1: has a value that is not a finite number"):
        read_prediction_rows(path, 2, 3)
    path.write_text("a,b\n")
    with pytest.raises(CorpusError, match="not a table of numbers"):
        read_prediction_rows(path, 1, 2)
