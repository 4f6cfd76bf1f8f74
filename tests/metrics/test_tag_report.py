"""The report of a tagger and its files, on four clips and three classes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError
from desed_task.labels import LabelSet
from desed_task.metrics.tag_report import TagReport, evaluate_clip_scores, evaluate_tags
from desed_task.metrics.tag_report_files import (
    AVERAGED,
    ResultRow,
    write_result_lines,
    write_results,
    write_tag_report,
)
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid

LABELS = LabelSet(["Cat", "Dog", "Speech, male"])
# clip        1         2         3         4
# reference   Cat Dog   Cat       Dog       -            Speech, male never occurs
TRUTH = {"1": ("Cat", "Dog"), "2": ("Cat",), "3": ("Dog",), "4": ()}
ROWS = {"1": [0.9, 0.6, 0.1], "2": [0.8, 0.7, 0.2], "3": [0.2, 0.9, 0.3], "4": [0.1, 0.1, 0.4]}


def scores_of(rows: dict[str, list[float]]) -> dict[str, NDArray[np.float32]]:
    return {audio_id: np.array(row, dtype=np.float32) for audio_id, row in rows.items()}


@pytest.fixture
def report() -> TagReport:
    return evaluate_tags(scores_of(ROWS), TRUTH, LABELS, num_samples=50)


def test_figures_of_four_clips(report: TagReport) -> None:
    # Cat: ranked right. Dog: x - x -, so precision 1 and 2/3, and one of four pairs wrong
    dog = report.per_class["Dog"]
    assert dog.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert dog.auc == pytest.approx(3 / 4)
    assert report.map == pytest.approx((1 + 5 / 6) / 2)
    assert report.mauc == pytest.approx((1 + 3 / 4) / 2)
    assert report.dprime == pytest.approx(1.6268, abs=1e-4)  # sqrt(2) * 1.15035, of .875
    assert report.dprime_per_class_mean == pytest.approx(0.9539, abs=1e-4)  # of .75 alone: 1 has none
    assert report.accuracy is None
    assert report.tagging_f1_micro == pytest.approx(2 * 4 / (5 + 4))
    # no better than at .5: the false alarm of Dog in clip 2 costs less than missing it in clip 1
    assert report.tagging_f1_best_micro == pytest.approx(2 * 4 / (5 + 4))
    best = [report.per_class[label].best_threshold for label in LABELS]
    assert best == [pytest.approx(0.5), pytest.approx(0.35), None]
    assert report.intervals["map"].value == report.map
    assert (report.files_present, report.files_expected) == (4, 4)


def test_what_cannot_be_ranked_is_null_and_named(report: TagReport) -> None:
    absent = report.per_class["Speech, male"]
    assert (absent.average_precision, absent.auc, absent.dprime, absent.num_clips) == (None, None, None, 0)
    assert report.warnings == (
        "no clip holds Speech, male: left out of map, mauc and dprime",
        "Cat: AUC 0 or 1, left out of dprime_per_class_mean",
    )


def test_accuracy_of_clips_with_one_class_each() -> None:
    truth = {"1": ("Cat",), "2": ("Dog",), "3": ("Dog",), "4": ("Speech, male",)}
    report = evaluate_tags(scores_of(ROWS), truth, LABELS, num_samples=20)
    assert report.accuracy == 3 / 4
    assert "accuracy" in report.intervals


def test_clips_without_scores_are_said_to_be_missing() -> None:
    few = {audio_id: ROWS[audio_id] for audio_id in ("1", "2", "4")}
    report = evaluate_tags(scores_of(few), TRUTH, LABELS, num_samples=0)
    assert "3 of 4 files present" in report.warnings[0]
    assert report.intervals == {}


def test_scores_of_clips_give_the_same_report(report: TagReport) -> None:
    grid = FrameGrid(16_000, 256, 4)
    scores = {audio_id: Scores(None, row, grid, LABELS, 10.0) for audio_id, row in scores_of(ROWS).items()}
    assert evaluate_clip_scores(scores, TRUTH, LABELS, num_samples=50) == report


@pytest.mark.parametrize(
    ("rows", "truth", "sentence"),
    [
        ({}, TRUTH, "no clip has scores"),
        ({"5": [0.1, 0.1, 0.1]}, TRUTH, "5: has scores and no entry in the ground truth"),
        ({"1": [0.1, 0.1]}, TRUTH, "1: scores of shape"),
        ({"1": [0.1, float("nan"), 0.1]}, TRUTH, "1: has a score that is not a finite number"),
        (ROWS, TRUTH | {"2": ("Cow",)}, "2: class 'Cow' of the ground truth is not in the label set"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    rows: dict[str, list[float]], truth: dict[str, tuple[str, ...]], sentence: str
) -> None:
    with pytest.raises(DesedTaskError, match=sentence):
        evaluate_tags(scores_of(rows), truth, LABELS)


def test_the_written_report_is_plain_json_and_a_table(report: TagReport, tmp_path: Path) -> None:
    write_tag_report(report, tmp_path / "student")
    written = json.loads((tmp_path / "student" / "report.json").read_text())
    assert {"map", "mauc", "dprime", "dprime_per_class_mean", "accuracy", "val_loss", "per_class"} <= written.keys()
    assert written["map"] == report.map
    assert written["per_class"]["Speech, male"]["average_precision"] is None
    low, high = written["intervals"]["map"]
    assert low <= written["map"] <= high
    with (tmp_path / "student" / "per_class.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["event_label"] for row in rows] == list(LABELS)
    assert float(rows[1]["average_precision"]) == report.per_class["Dog"].average_precision
    assert rows[2]["auc"] == ""


def test_results_under_the_published_header(report: TagReport, tmp_path: Path) -> None:
    write_results([ResultRow("crnn", report, Path("a/best.ckpt"))], tmp_path / "results.csv")
    header, row = (tmp_path / "results.csv").read_text().splitlines()
    assert header == "Model,mAP,mAUC,dprime,ckpt_path"
    assert row == f"crnn,{report.map},{report.mauc},{report.dprime},a/best.ckpt"


def test_result_lines_of_validation_and_evaluation(report: TagReport, tmp_path: Path) -> None:
    write_result_lines([report, report], tmp_path / AVERAGED)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / AVERAGED), [report.map, report.mauc] * 2)
