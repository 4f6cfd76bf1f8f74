"""Clip scores: what is written is read back, and what cannot be scores of clips is refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from desed_task.errors import EventTableError
from desed_task.formats.clip_scores import ClipScores, clip_scores_of, read_clip_scores, write_clip_scores
from desed_task.labels import LabelSet

LABELS = LabelSet(["Bark", "Yip"])
SCORES = ClipScores(("a", "b", "é"), np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]], np.float32), LABELS)


@pytest.mark.parametrize("folds", [None, np.array([0, 1, 0])])
def test_what_is_written_is_read_back(tmp_path: Path, folds: Any) -> None:
    path = tmp_path / "scores.npz"
    write_clip_scores(ClipScores(SCORES.audio_ids, SCORES.probs, LABELS, folds), path)
    found = read_clip_scores(path)
    assert (found.audio_ids, found.labels) == (("a", "b", "é"), LABELS)
    np.testing.assert_array_equal(found.probs, SCORES.probs)
    assert found.probs.dtype == np.float32
    assert (found.folds is None) if folds is None else (found.folds is not None and found.folds.tolist() == [0, 1, 0])
    assert [file.name for file in tmp_path.iterdir()] == ["scores.npz"]


def test_an_archive_that_numpy_wrote_is_read(tmp_path: Path) -> None:
    probs = np.array([[0.25, 0.5]])
    np.savez_compressed(tmp_path / "x.npz", audio_ids=np.array(["a"]), probs=probs, labels=np.array(["Bark", "Yip"]))
    assert read_clip_scores(tmp_path / "x.npz").probs.tolist() == [[0.25, 0.5]]


def test_no_clips_are_scores_of_no_clip(tmp_path: Path) -> None:
    write_clip_scores(clip_scores_of({}, LABELS), tmp_path / "none.npz")
    assert read_clip_scores(tmp_path / "none.npz").probs.shape == (0, 2)


def test_clips_and_classes_are_chosen_by_name() -> None:
    chosen = SCORES.select(["é", "a"]).with_labels(LabelSet(["Yip"]))
    assert chosen.audio_ids == ("é", "a")
    assert chosen.probs[:, 0].tolist() == pytest.approx([0.7, 0.9])
    with pytest.raises(EventTableError, match="no scores of clip 'z'"):
        SCORES.select(["a", "z"])
    with pytest.raises(EventTableError, match="no scores of class 'Dog'"):
        SCORES.with_labels(LabelSet(["Dog", "Bark"]))


def test_a_mapping_becomes_a_table() -> None:
    scores = clip_scores_of({"x": np.array([0.5, 0.25])}, LABELS, folds=[3])
    assert scores.by_audio_id()["x"].tolist() == [0.5, 0.25]
    assert scores.folds is not None and scores.folds.tolist() == [3]


GOOD = {"audio_ids": np.array(["a", "b"]), "probs": np.full((2, 2), 0.5), "labels": np.array(["Bark", "Yip"])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probs": np.full((3, 2), 0.5)}, "do not fit 2 clips and 2 classes"),
        ({"probs": np.full((2, 2), 1.5)}, r"must lie in \[0, 1\]"),
        ({"probs": np.full((2, 2), np.nan)}, r"must lie in \[0, 1\]"),
        ({"probs": np.ones((2, 2), int)}, "not a table of floating-point numbers"),
        ({"audio_ids": np.array(["a", "a"])}, "clip 'a' stands twice"),
        ({"audio_ids": np.array([1, 2])}, "not a list of text"),
        ({"audio_ids": np.array(["a", "b"], dtype=object)}, r"not an \.npz archive"),
        ({"labels": np.array(["Bark", "Bark"])}, "'Bark' stands twice"),
        ({"folds": np.array([1, 2, 3])}, "folds"),
        ({"folds": np.array([0.5, 1])}, "not whole numbers"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "bad.npz", **{**GOOD, **change})
    with pytest.raises(EventTableError, match=message) as refused:
        read_clip_scores(tmp_path / "bad.npz")
    assert str(refused.value).startswith(f"{tmp_path / 'bad.npz'}: ")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EventTableError, match="no such file"):
        read_clip_scores(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("clip,score\n")
    with pytest.raises(EventTableError, match=r"not an \.npz archive"):
        read_clip_scores(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(EventTableError, match=r"not an \.npz archive"):
        read_clip_scores(tmp_path / "one.npy")
    np.savez(tmp_path / "part.npz", probs=np.zeros((1, 1)))
    with pytest.raises(EventTableError, match="no array 'audio_ids'"):
        read_clip_scores(tmp_path / "part.npz")
    write_clip_scores(SCORES, tmp_path / "cut.npz")
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EventTableError, match=r"not an \.npz archive"):
        read_clip_scores(tmp_path / "cut.npz")
