"""Label enhancement and sampling weights as a user runs them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from small_ontology import MIDS, write_class_table, write_list, write_ontology

from desed_task.errors import DesedTaskError
from desed_task.formats.clip_scores import ClipScores, read_clip_scores, write_clip_scores
from desed_task.labels import LabelSet
from recipes import enhance_labels, sampling_weights

CLIPS = {"a": "dog", "b": "yip", "c": "car,engine", "d": "yip,dog"}
# yip .4 on b and .8 on d: mean .6; dog .5 on a and .9 on d: mean .7
PROBS = np.array(
    [
        [0.7, 0.5, 0.1, 0.1, 0.1, 0.1],
        [0.4, 0.8, 0.9, 0.1, 0.1, 0.1],
        [0.1, 0.1, 0.1, 0.9, 0.9, 0.9],
        [0.8, 0.9, 0.9, 0.1, 0.1, 0.1],
    ],
    dtype=np.float32,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_ontology(tmp_path / "ontology.json")
    write_class_table(tmp_path / "class_labels_indices.csv")
    write_list(tmp_path / "train.json", CLIPS)
    return tmp_path


def write_predictions(path: Path, folds: Sequence[int] | None = (0, 0, 1, 1), labels: Sequence[str] = MIDS) -> Path:
    """In another order of clips than the list."""
    order = [3, 1, 0, 2]
    of_fold = None if folds is None else np.array(folds)[order]
    names = tuple(np.array(list(CLIPS))[order].tolist())
    write_clip_scores(ClipScores(names, PROBS[order], LabelSet(labels), of_fold), path)
    return path


def flags(folder: Path, *more: str) -> list[str]:
    own = ["--data_path", "train.json", "--label_csv", "class_labels_indices.csv", "--ontology", "ontology.json"]
    return [str(folder / word) if "." in word else word for word in own] + list(more)


def labels_in(path: Path) -> list[str]:
    return [row["labels"] for row in json.loads(path.read_text())["data"]]


@pytest.mark.parametrize("labels", [MIDS, tuple(mid.title() for mid in MIDS)], ids=["mids", "names"])
def test_cross_fitted_predictions_add_labels(
    folder: Path, labels: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_predictions(folder / "cross_fitted.npz", labels=labels)
    assert enhance_labels.main(flags(folder, "--predictions", str(path))) == 0
    assert labels_in(folder / "train_type1_mean.json") == ["dog,yip", "yip", "car,engine", "dog,yip"]
    assert labels_in(folder / "train_type2_mean.json") == ["dog", "dog,yip", "car,engine", "dog,yip"]
    # no clip has vehicle, so nothing says when to add it
    assert labels_in(folder / "train_type1_2_mean.json") == ["dog,yip", "dog,yip", "car,engine", "dog,yip"]
    weights = np.loadtxt(folder / "train_type1_2_mean_weight.csv")
    np.testing.assert_allclose(weights, [2000 / 3.01, 2000 / 3.01, 2000 / 1.01, 2000 / 3.01])
    assert "6 labels -> type1 7 (+16.7 %), type2 7 (+16.7 %), type1_2 8 (+33.3 %)" in capsys.readouterr().out


def test_the_report_says_what_was_added_to_each_class(folder: Path) -> None:
    path = write_predictions(folder / "cross_fitted.npz")
    out = folder / "out"
    assert enhance_labels.main(flags(folder, "--predictions", str(path), "--output_dir", str(out))) == 0
    with (out / "train_enhancement_mean.csv").open(newline="") as stream:
        rows = {row["mid"]: row for row in csv.DictReader(stream)}
    assert float(rows["dog"].pop("threshold")) == pytest.approx(0.7)
    counts = ("clips", "added_type1", "added_type2", "added_type1_2", "clips_after")
    assert [rows["dog"][name] for name in counts] == ["2", "0", "1", "1", "3"]
    assert [rows["yip"][name] for name in counts] == ["2", "1", "0", "1", "3"]
    assert (rows["vehicle"]["clips"], rows["vehicle"]["threshold"]) == ("0", "")
    with (out / "train_label_errors.csv").open(newline="") as stream:
        errors = {(row["mid"], row["parent_mid"]): row for row in csv.DictReader(stream)}
    assert (errors["yip", "dog"]["clips"], errors["yip", "dog"]["clips_without_parent"]) == ("2", "1")
    assert not list(out.glob("*.partial"))


def test_published_rows_are_taken_in_sample_only(folder: Path) -> None:
    path = folder / "predictions.csv"
    np.savetxt(path, PROBS, delimiter=",")
    with pytest.raises(DesedTaskError, match="--in_sample to take these as published"):
        enhance_labels.main(flags(folder, "--predictions", str(path)))
    assert not list(folder.glob("*_type*"))
    several = ["--in_sample", "--thresholds", "mean", "median", "25", "10", "5", "none"]
    assert enhance_labels.main(flags(folder, "--predictions", str(path), *several)) == 0
    assert len(list(folder.glob("train_type*.json"))) == 15
    assert labels_in(folder / "train_type1_2_mean.json")[0] == "dog,yip"
    np.testing.assert_allclose(np.loadtxt(folder / "train_weight.csv")[0], 1000 / 2.01)


def test_a_file_per_fold_is_cross_fitted(folder: Path) -> None:
    first, second = folder / "fold1.npz", folder / "fold2.npz"
    names = tuple(CLIPS)
    write_clip_scores(ClipScores(names[2:], PROBS[2:], LabelSet(MIDS)), first)
    write_clip_scores(ClipScores(names[:2], PROBS[:2], LabelSet(MIDS)), second)
    assert enhance_labels.main(flags(folder, "--predictions", str(first), str(second))) == 0
    assert labels_in(folder / "train_type1_2_mean.json") == ["dog,yip", "dog,yip", "car,engine", "dog,yip"]
    with pytest.raises(DesedTaskError, match="no scores of clip 'c'"):
        enhance_labels.main(flags(folder, "--predictions", str(second), "--in_sample"))
    write_clip_scores(ClipScores(names[:3], PROBS[:3], LabelSet(MIDS)), second)
    with pytest.raises(DesedTaskError, match=r"fold2\.npz: clip 'c' is also in a file before"):
        enhance_labels.main(flags(folder, "--predictions", str(first), str(second)))


@pytest.mark.parametrize(("folds", "why"), [(None, "has no folds"), ((0, 0, 0, 0), "is of a single fold")])
def test_predictions_that_are_not_cross_fitted_are_refused(folder: Path, folds: Sequence[int] | None, why: str) -> None:
    path = write_predictions(folder / "predictions.npz", folds)
    with pytest.raises(DesedTaskError, match=why):
        enhance_labels.main(flags(folder, "--predictions", str(path)))
    assert enhance_labels.main(flags(folder, "--predictions", str(path), "--in_sample")) == 0


def test_soft_targets_are_clip_scores(folder: Path) -> None:
    path = write_predictions(folder / "cross_fitted.npz")
    assert enhance_labels.main(flags(folder, "--predictions", str(path), "--soft")) == 0
    targets = read_clip_scores(folder / "train_type1_2_mean_soft.npz")
    assert targets.audio_ids == tuple(CLIPS)
    np.testing.assert_allclose(targets.probs[:2, :2], [[0.7, 1.0], [1.0, 0.8]])


def test_upper_bounds_need_no_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert enhance_labels.main(flags(folder, "--upper_bounds")) == 0
    assert enhance_labels.main(flags(folder, "--upper_bounds", "--abstract", "traversed", "--skip", "yip")) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("6 labels -> type1 7 (+16.7 %), type2 8 (+33.3 %), type1_2 9 (+50.0 %)")
    assert "type2 9 " in second  # animal of both dogs, vehicle of the car
    assert not list(folder.glob("train_*"))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ((), "--predictions: name the model's predictions"),
        (("--upper_bounds", "--skip", "ghost"), "--skip ghost: no mid"),
        (("--upper_bounds", "--skip", "fsd50k"), "--skip /m/09l8g: no mid"),
        (("--predictions", "absent.npz"), "no such file of clip scores"),
    ],
)
def test_what_is_missing_is_said(folder: Path, more: Sequence[str], sentence: str) -> None:
    with pytest.raises(DesedTaskError, match=sentence):
        enhance_labels.main(flags(folder, *more))


def test_predictions_of_other_clips_are_refused(folder: Path) -> None:
    path = write_predictions(folder / "cross_fitted.npz")
    write_list(folder / "train.json", {**CLIPS, "e": "dog"})
    with pytest.raises(DesedTaskError, match=r"no scores of clip 'e' \(1 clips of .*predict all of them"):
        enhance_labels.main(flags(folder, "--predictions", str(path)))


def test_weights_of_the_published_list_from_its_published_command(shared_data: Path, tmp_path: Path) -> None:
    published = shared_data / "audioset"
    shutil.copyfile(published / "audioset_bal_train_data.json", tmp_path / "train.json")
    table = str(published / "class_labels_indices.csv")
    words = ["--dataset", "audioset", "--label_indices_path", table, "--datafile_path", str(tmp_path / "train.json")]
    assert sampling_weights.main(words) == 0
    weights = np.loadtxt(tmp_path / "train_weight.csv")
    assert len(weights) == 21_717
    assert weights.sum() == pytest.approx(526917.6885017512, abs=1e-6)
    first = [16.84169842, 16.66388935, 17.00512355, 33.3277787, 23.38839357]
    np.testing.assert_allclose(weights[:5], first, rtol=0, atol=1e-6)


def test_weights_of_a_list_beside_its_table_of_classes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sampling_weights.main(["--data-path", str(folder / "train.json")]) == 0
    np.testing.assert_allclose(np.loadtxt(folder / "train_weight.csv")[2], 2000 / 1.01)
    assert "4 clips, 6 labels" in capsys.readouterr().out
    with pytest.raises(DesedTaskError, match="6 classes, audioset has 527"):
        sampling_weights.main(["--data-path", str(folder / "train.json"), "--dataset", "audioset"])
    with pytest.raises(DesedTaskError, match="--offset 0: must be above 0"):
        sampling_weights.main(["--data-path", str(folder / "train.json"), "--offset", "0"])
