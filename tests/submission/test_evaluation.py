"""A submission's figures, checked with a pencil and against the published ones.

seconds    0    2    4    6    8    10
a.wav      |Cat------|    |Dog-|          scores above .5:  Cat 0-4, Dog 6-8
b.wav           |Dog------------|                           Dog 2-7: one second too short, collar 1.2 s
c.wav      |    Cat  |                                      Cat 1-4
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sound_submissions import (
    LABELS,
    SCORES,
    write_evaluation_set,
    write_lines,
    write_package,
    write_points,
    write_sound,
)

from desed_task.metrics.rules import Rules
from desed_task.submission.evaluation import EvaluatedSystem, Measuring, evaluate_system
from desed_task.submission.evaluation_set import EvaluationSet, read_evaluation_set
from desed_task.submission.packages import open_submission
from desed_task.submission.ranking import EDITION_2022, EDITION_2023
from desed_task.submission.results import system_json
from desed_task.submission.standings import standing_of
from desed_task.submission.system_views import view_of

QUICK = Measuring(num_samples=0)


@pytest.fixture
def evaluation_set(tmp_path: Path) -> EvaluationSet:
    return read_evaluation_set(*write_evaluation_set(tmp_path / "set"))


def evaluated(path: Path, evaluation_set: EvaluationSet, measuring: Measuring = QUICK) -> EvaluatedSystem:
    with open_submission(path, evaluation_set) as submission:
        return evaluate_system(submission.systems[0].label, submission.systems[0], evaluation_set, measuring)


def test_scores_give_every_figure(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    report = evaluated(write_sound(tmp_path)["scores"], evaluation_set).report
    assert (report.psds1, report.psds2, report.collar_f1_macro, report.intersection_f1_macro) == (1, 1, 1, 1)
    # segments of 1 s with Dog: 2 + 6 there, 2 + 5 found
    assert report.per_class["Dog"].segment_f1 == pytest.approx(14 / 15)
    assert report.scorer["psds"] == "exact, over all thresholds"


def test_decisions_in_a_run_give_its_f1s_and_scores_its_psds(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    sound = write_sound(tmp_path)
    (tmp_path / "run").mkdir()
    sound["scores"].rename(tmp_path / "run" / "scores")
    sound["events.tsv"].rename(tmp_path / "run" / "detections.tsv")
    report = evaluated(tmp_path / "run", evaluation_set).report
    # decisions: a Cat 0.1-4 hit, b Dog hit, a Dog missed, c Cat 0-3 one second early: missed and a false alarm
    assert report.psds1 == 1
    assert report.per_class["Cat"].collar_f1 == pytest.approx(1 / 2)
    assert report.per_class["Dog"].collar_f1 == pytest.approx(2 / 3)
    assert report.scorer["f1"] == "the submitted decisions"


def test_decisions_may_be_of_any_class_of_the_scores(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    """Bird is a class of the system, but nothing of the ground truth."""
    for audio_id, windows in SCORES.items():
        rows = [(*window, 0.0) for window in windows]
        write_lines(tmp_path / "run/scores" / f"{audio_id}.tsv", ("onset", "offset", "Cat", "Dog", "Bird"), *rows)
    header = ("filename", "onset", "offset", "event_label")
    write_lines(tmp_path / "run" / "detections.tsv", header, ("a.wav", 0, 4, "Cat"), ("b.wav", 1, 2, "Bird"))
    report = evaluated(tmp_path / "run", evaluation_set, Measuring(num_samples=20)).report
    assert report.per_class["Cat"].collar_f1 == pytest.approx(2 / 3)
    assert report.collar_f1_micro == pytest.approx(2 / 6)
    assert report.intervals["collar_f1_macro"].low is not None


def test_one_event_list_has_f1s_only_and_says_so(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    report = evaluated(write_sound(tmp_path)["events.tsv"], evaluation_set).report
    assert (report.psds1, report.psds2) == (None, None)
    assert report.collar_f1_micro == pytest.approx(4 / 7)
    assert any("F1s only" in warning for warning in report.warnings)


def test_operating_points_say_that_psds_is_over_them(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    report = evaluated(write_sound(tmp_path)["points"], evaluation_set).report
    assert report.psds2 is not None
    assert report.collar_f1_micro == pytest.approx(4 / 7)
    assert any(warning.startswith("PSDS over 3 given operating points") for warning in report.warnings)


def test_without_a_point_at_the_threshold_there_are_no_f1s(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    points = write_sound(tmp_path)["points"]
    (points / "predictions_th_0.50.tsv").unlink()
    report = evaluated(points, evaluation_set).report
    assert report.collar_f1_macro is None
    assert report.collar_f1_best_macro is not None
    assert any("no operating point at 0.5" in warning for warning in report.warnings)


def test_only_the_order_of_scores_counts(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    sound = write_sound(tmp_path)
    for audio_id, windows in SCORES.items():
        rows = [(onset, offset, 100 * cat - 50, 100 * dog - 50) for onset, offset, cat, dog in windows]
        write_lines(tmp_path / "logits" / f"{audio_id}.tsv", ("onset", "offset", "Cat", "Dog"), *rows)
    ours = evaluated(sound["scores"], evaluation_set)
    logits = evaluated(tmp_path / "logits", evaluation_set, replace(QUICK, threshold=0.0))
    assert logits.report.psds1 == ours.report.psds1
    assert logits.report.collar_f1_macro == ours.report.collar_f1_macro


def test_missing_clips_are_left_out_and_told(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    scores = write_sound(tmp_path)["scores"]
    (scores / "c.tsv").unlink()
    system = evaluated(scores, evaluation_set)
    assert system.audio_ids == ("a", "b")
    assert (system.report.files_present, system.report.files_expected) == (2, 3)
    assert system.report.warnings == ("2 of 3 files present: not comparable with published numbers",)
    assert system.report.per_class["Cat"].num_reference == 1


def test_the_mean_of_three_runs_with_spread_and_interval(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_package(tmp_path / "package")
    run = tmp_path / "package" / LABELS[0] / f"{LABELS[0]}_run3.output"
    table = (run / "b.tsv").read_text()
    (run / "b.tsv").write_text(table.replace("0.73", "0.13"))  # the third run misses the long Dog
    system = evaluated(tmp_path / "package", evaluation_set, Measuring(num_samples=20))
    # half of the Dog events: mean over classes .75, less their deviation .25
    assert [one.report.psds1 for one in system.runs] == [1, 1, 0.5]
    assert system.report.psds1 == pytest.approx(2.5 / 3)
    assert system.spreads["psds1"].std == pytest.approx(0.5 / 3**0.5)
    assert system.report.intervals["psds1"].value == pytest.approx(2.5 / 3)
    assert system.report.energy_kwh_training == 1.717
    tree = json.loads(json.dumps(system_json(system), allow_nan=False))
    assert list(tree["runs"]) == ["run1", "run2", "run3"]
    assert tree["spread_over_runs"]["psds1"]["runs"] == 3
    assert tree["meta"]["label"] == LABELS[0]


def test_systems_are_ranked_against_the_baseline_of_the_set(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    sound = write_sound(tmp_path)
    measuring = Measuring(num_samples=20)
    ours, baseline = (evaluated(sound[name], evaluation_set, measuring) for name in ("points", "scores"))
    standing = standing_of(ours, EDITION_2023, baseline)
    assert ours.report.psds1 is not None
    assert ours.report.psds2 is not None
    assert standing.ranking_score.value == pytest.approx((ours.report.psds1 + ours.report.psds2) / 2)
    assert standing.against_baseline["psds1"].difference == pytest.approx(ours.report.psds1 - 1)
    assert not standing_of(baseline, EDITION_2023, baseline).against_baseline
    of_2022 = standing_of(baseline, EDITION_2022)
    assert of_2022.ranking_score.value == pytest.approx((1 / 0.315 + 1 / 0.547) / 2)


def test_systems_on_other_clips_than_the_baseline_are_not_compared(
    tmp_path: Path, evaluation_set: EvaluationSet
) -> None:
    sound = write_sound(tmp_path)
    baseline = evaluated(sound["scores"], evaluation_set, Measuring(num_samples=5))
    (sound["scores"] / "c.tsv").unlink()
    standing = standing_of(evaluated(sound["scores"], evaluation_set), EDITION_2023, baseline)
    assert not standing.against_baseline
    assert any("other clips" in remark for remark in standing.remarks)


def test_the_page_shows_the_worst_clips_and_the_operating_curve(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    sound = write_sound(tmp_path)
    points = evaluated(sound["points"], evaluation_set)
    view = view_of(points, standing_of(points, EDITION_2023), QUICK)
    assert [timeline.audio_id for timeline in view.timelines] == ["c", "a"]
    statuses = {event.event_label: event.status for event in view.timelines[1].reference}
    assert statuses == {"Cat": "found", "Dog": "missed"}
    assert [event.status for event in view.timelines[0].detected] == ["false"]
    curve = view.operating_curve
    assert curve is not None
    assert curve.thresholds.tolist() == [0.25, 0.5, 0.75]
    assert curve.f1 == pytest.approx([7 / 12] * 3)
    assert curve.given is not None
    assert curve.given.f1 == pytest.approx(points.report.collar_f1_macro)


def test_the_operating_curve_of_scores_meets_the_f1_at_the_threshold(
    tmp_path: Path, evaluation_set: EvaluationSet
) -> None:
    scores = evaluated(write_sound(tmp_path)["scores"], evaluation_set)
    view = view_of(scores, standing_of(scores, EDITION_2023), QUICK)
    assert view.timelines == ()
    assert view.operating_curve is not None
    assert view.operating_curve.given is not None
    assert view.operating_curve.given.f1 == pytest.approx(scores.report.collar_f1_macro)
    assert view.operating_curve.best is not None
    assert view.operating_curve.best.f1 == 1


def test_clips_without_events_are_left_out_where_the_rules_say_so(tmp_path: Path) -> None:
    tables = write_evaluation_set(tmp_path / "set")
    with tables[1].open("a") as stream:
        stream.write("d.wav\t10\n")
    write_points(tmp_path / "points")
    counted = evaluated(tmp_path / "points", read_evaluation_set(*tables))
    left_out = evaluated(tmp_path / "points", read_evaluation_set(*tables, Rules(empty_clips="leave_out")))
    assert (len(counted.audio_ids), len(left_out.audio_ids)) == (4, 3)
    assert left_out.report.scorer["rules"]["empty_clips"] == "leave_out"


@pytest.mark.parametrize(
    ("rules", "psds2", "collar_f1"),
    [
        (Rules(time_decimals=None), 0.52810003, 0.39873),
        pytest.param(Rules(ct_mean="n", time_decimals=None), 0.53269560, 0.39873, marks=pytest.mark.slow),
    ],
)
def test_the_published_student(rules: Rules, psds2: float, collar_f1: float, shared_data: Path) -> None:
    folder = shared_data / "reference" / "dcase2021_student"
    tables = folder / "validation.tsv", folder / "validation_durations.tsv"
    report = evaluated(folder, read_evaluation_set(*tables, rules)).report
    assert report.psds1 == pytest.approx(0.33446856, abs=1e-6)
    assert report.psds2 == pytest.approx(psds2, abs=1e-6)
    assert report.intersection_f1_macro == pytest.approx(0.63741705, abs=1e-6)
    assert report.collar_f1_macro == pytest.approx(collar_f1, abs=2e-5)
    assert report.segment_f1_macro == pytest.approx(0.69353, abs=2e-5)
    assert report.segment_f1_micro == pytest.approx(0.75466, abs=2e-5)
