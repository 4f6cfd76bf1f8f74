"""From scores to a report, its files and its table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from desed_task.encoding import encode_strong
from desed_task.errors import DesedTaskError
from desed_task.events import Event, EventTable
from desed_task.formats.dcase import read_score_folder, read_strong
from desed_task.labels import LabelSet
from desed_task.metrics import figures, reference
from desed_task.metrics.report import Report, evaluate
from desed_task.metrics.report_files import write_report
from desed_task.metrics.report_tables import format_class_table, format_table
from desed_task.metrics.rules import Rules
from desed_task.postprocessing.pipeline import PostProcessingOptions, build_postprocessing
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid

pytestmark = pytest.mark.usefixtures("scorers")

GRID = FrameGrid(16_000, 256, 4)
LABELS = LabelSet(["Cat", "Dog", "Speech"])
POST = build_postprocessing(PostProcessingOptions(), LABELS, GRID)
TRUTH = EventTable(
    {
        "a.wav": (Event(1.0, 3.0, "Dog"), Event(4.0, 9.0, "Speech")),
        "b.wav": (Event(0.0, 2.0, "Dog"), Event(6.0, 7.0, "Speech")),
        "c.wav": (),
    }
)
DURATIONS = {"a.wav": 10.0, "b.wav": 10.0, "c.wav": 10.0}


def scores_of(events: tuple[Event, ...], high: float = 0.8, low: float = 0.005) -> Scores:
    values = np.where(encode_strong(events, LABELS, GRID, 156) > 0, high, low).astype(np.float32)
    return Scores(values, values.max(axis=0), GRID, LABELS, 10.0)


SCORES = {"a": scores_of(TRUTH.of("a.wav")), "b": scores_of(TRUTH.of("b.wav")), "c": scores_of(())}


@pytest.fixture(scope="module")
def report(scorers: None) -> Report:
    return evaluate(SCORES, TRUTH, DURATIONS, POST)


def test_scores_that_follow_the_reference_are_perfect(report: Report) -> None:
    assert report.problems == report.warnings == ()
    for figure in ("psds1", "psds2", "collar_f1_macro", "collar_f1_micro", "intersection_f1_macro", "tagging_f1_macro"):
        assert getattr(report, figure) == pytest.approx(1.0), figure
    assert (report.files_present, report.files_expected) == (3, 3)


def test_report_json_is_flat_and_has_null_where_undefined(report: Report, tmp_path: Path) -> None:
    write_report(replace(report, energy_kwh_training=0.25, energy_estimated=True), tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    assert set(written) >= {
        "psds1", "psds2", "collar_f1_macro", "collar_f1_micro", "intersection_f1_macro", "segment_f1_macro",
        "segment_f1_micro", "tagging_f1_macro", "per_class", "files_present", "files_expected", "scorer", "problems",
        "warnings", "energy_kwh_training", "energy_kwh_inference", "energy_kwh_scoring", "energy_estimated",
    }  # fmt: skip
    assert written["energy_kwh_training"] == 0.25 and written["energy_kwh_inference"] is None
    assert set(written["per_class"]) == {"Cat", "Dog", "Speech"}
    dog, cat = written["per_class"]["Dog"], written["per_class"]["Cat"]
    assert (dog["collar_f1"], dog["num_reference"], dog["num_detected"]) == (1.0, 2, 2)
    assert (dog["tp"], dog["fp"], dog["fn"]) == (2, 0, 0)
    assert (cat["collar_f1"], cat["psds1"], cat["num_reference"], cat["tp"], cat["fp"]) == (None, None, 0, 0, 0)
    assert written["scorer"]["rules"] == {
        "ct_mean": "n-1", "overlap": "error", "empty_clips": "count", "time_decimals": 6,
    }  # fmt: skip
    assert written["scorer"]["psds_sampled_thresholds"] == 50
    assert written["intervals"]["psds1"] == [1.0, 1.0]


def test_written_files_follow_the_published_layout_and_can_be_read_back(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    for scenario, criteria in (("scenario1", "dtc0.7_gtc0.7_cttc0.3"), ("scenario2", "dtc0.1_gtc0.1_cttc0.3")):
        tables = sorted((tmp_path / scenario / f"predictions_{criteria}").iterdir())
        assert len(tables) == 50
        assert (tables[0].name, tables[-1].name) == ("predictions_th_0.01.tsv", "predictions_th_0.99.tsv")
    half = tmp_path / "scenario1/predictions_dtc0.7_gtc0.7_cttc0.3/predictions_th_0.51.tsv"
    assert half.read_text().splitlines()[0] == "event_label\tonset\toffset\tfilename"
    assert [e.event_label for e in read_strong(half).of("a.wav")] == ["Dog", "Speech"]
    assert read_strong(tmp_path / "detections.tsv").of("b.wav")[0].offset == pytest.approx(2.048)
    raw = read_score_folder(tmp_path / "scores" / "raw", GRID, DURATIONS)
    filtered = read_score_folder(tmp_path / "scores" / "postprocessed", GRID, DURATIONS)
    assert set(raw) == set(filtered) == {"a", "b", "c"}
    np.testing.assert_array_equal(raw["a"].frame_values, SCORES["a"].frame_values)
    np.testing.assert_array_equal(filtered["a"].frame_values, POST.filter(SCORES["a"]).frame_values)
    assert "Event based metrics" in (tmp_path / "event_f1.txt").read_text()
    assert "Segment based metrics" in (tmp_path / "segment_f1.txt").read_text()
    assert not list(tmp_path.rglob("*.partial"))


def test_detections_are_those_of_the_service(report: Report) -> None:
    for audio_id, scores in SCORES.items():
        assert list(report.evidence.detections.of(f"{audio_id}.wav")) == POST.detect(scores)


def test_missing_clips_are_left_out_counted_and_said() -> None:
    partial = evaluate({"a": SCORES["a"], "c": SCORES["c"]}, TRUTH, DURATIONS, POST)
    assert (partial.files_present, partial.files_expected) == (2, 3)
    assert partial.warnings == ("2 of 3 files present: not comparable with published numbers",)
    assert partial.collar_f1_macro == 1.0  # the events of b are not misses
    assert "2 of 3 files present" in format_table({"student": partial})


def test_the_size_of_the_complete_set_can_be_given() -> None:
    report = evaluate(SCORES, TRUTH, DURATIONS, POST, files_expected=1168)
    assert report.warnings == ("3 of 1168 files present: not comparable with published numbers",)


def test_clips_without_events_count_unless_told_otherwise() -> None:
    noisy = {**SCORES, "c": scores_of((Event(0.0, 5.0, "Dog"),))}
    assert evaluate(noisy, TRUTH, DURATIONS, POST).per_class["Dog"].fp == 1
    assert evaluate(noisy, TRUTH, DURATIONS, POST, rules=Rules(empty_clips="leave_out")).per_class["Dog"].fp == 0


def test_a_clip_that_the_ground_truth_does_not_list_is_a_clip_without_events() -> None:
    truth = EventTable({name: TRUTH.of(name) for name in ("a.wav", "b.wav")})
    noisy = {**SCORES, "c": scores_of((Event(0.0, 5.0, "Dog"),))}
    report = evaluate(noisy, truth, DURATIONS, POST)
    assert report.per_class["Dog"].fp == 1
    assert (report.files_present, report.files_expected) == (3, 3)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_scores_give_a_report_without_problems(value: float) -> None:
    frames = np.full((156, 3), value, np.float32)
    constant = Scores(frames, frames[0], GRID, LABELS, 10.0)
    report = evaluate(dict.fromkeys(("a", "b", "c"), constant), TRUTH, DURATIONS, POST)
    assert report.problems == ()
    assert report.psds1 == 0.0
    json.dumps(report.to_json(), allow_nan=False)


def test_a_ground_truth_without_events_leaves_figures_undefined() -> None:
    report = evaluate(SCORES, EventTable(dict.fromkeys(TRUTH.filenames, ())), DURATIONS, POST)
    assert report.problems == ()
    assert report.psds1 is None and report.collar_f1_macro is None and report.tagging_f1_macro is None


def test_a_metric_that_fails_is_null_and_the_others_stand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("scorer\nbroke")

    monkeypatch.setattr(figures, "f1_at", broken)
    report = evaluate(SCORES, TRUTH, DURATIONS, POST)
    assert report.collar_f1_macro is None and report.per_class["Dog"].tp is None
    assert report.psds1 == pytest.approx(1.0)
    assert report.problems == tuple(
        f"{name} F1 could not be computed: ZeroDivisionError: scorer broke"
        for name in ("collar", "segment", "intersection")
    )
    write_report(report, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["collar_f1_macro"] is None
    assert "collar F1 could not be computed" in format_table({"student": report})


def test_overlapping_ground_truth_costs_psds_and_keeps_collar_f1() -> None:
    truth = EventTable({"a.wav": (Event(1.0, 3.0, "Dog"), Event(2.0, 4.0, "Dog"))})
    report = evaluate({"a": SCORES["a"]}, truth, DURATIONS, POST)
    assert report.psds1 is None and report.collar_f1_macro is not None
    assert report.problems[0].startswith("PSDS1 could not be computed: ground truth: two Dog events of a overlap")


def test_a_tagger_is_scored_by_its_tags(tmp_path: Path) -> None:
    taggers = {audio_id: Scores(None, clip.clip_values, GRID, LABELS, 10.0) for audio_id, clip in SCORES.items()}
    report = evaluate(taggers, TRUTH, DURATIONS, POST)
    assert report.tagging_f1_macro == 1.0 and report.psds1 is None and report.problems == ()
    assert report.warnings == ("the scores have no frames: only tagging is evaluated",)
    write_report(report, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    with pytest.raises(DesedTaskError, match="a has clip scores only"):
        evaluate({**SCORES, "a": taggers["a"]}, TRUTH, DURATIONS, POST)


@pytest.mark.parametrize(
    ("scores", "truth", "sentence"),
    [
        ({"x": SCORES["a"]}, TRUTH, "x has scores but is not in the table of durations"),
        ({}, TRUTH, "no clip to evaluate"),
        (SCORES, EventTable({"a.wav": (Event(0.0, 1.0, "Bird"),)}), "class 'Bird'"),
    ],
)
def test_inputs_that_do_not_fit_are_one_sentence(scores: dict[str, Scores], truth: EventTable, sentence: str) -> None:
    with pytest.raises(DesedTaskError, match=sentence) as refused:
        evaluate(scores, truth, DURATIONS, POST)
    assert "\n" not in str(refused.value)


def test_a_missing_scorer_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(DesedTaskError, match=r'pip install "desed-task\[reference\]"'):
        reference.collar_f1(TRUTH, TRUTH)


def test_tables_have_one_row_per_system_and_per_class(report: Report) -> None:
    systems = {"student": report, "teacher": replace(report, energy_kwh_training=1.5, energy_estimated=True)}
    lines = format_table(systems).splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert lines[2].startswith("| student | 1.0000 (1.000-1.000) | 1.0000 (1.000-1.000) |")
    assert "1.5 (estimated)" in lines[3]
    classes = format_class_table(systems).splitlines()
    assert [line.split("|")[1].strip() for line in classes[2:]] == ["Cat", "Dog", "Speech"]
    assert classes[2].split("|")[3].strip() == "-"
