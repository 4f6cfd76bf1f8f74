"""Our figures beside those of outside scorers: what is asked of whom, and what happens when one cannot answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from score_sets import ScoreSet, draw_set

from desed_task.errors import DesedTaskError
from desed_task.events import Event, EventTable
from desed_task.metrics import event_f1
from desed_task.metrics.auroc import segment_auroc
from desed_task.metrics.deltas import score_deltas
from desed_task.metrics.reference import ComparedFigure, compare, format_comparison, side_by_side
from desed_task.metrics.rules import Rules
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2
from desed_task.metrics.segment import Segments


@pytest.fixture(scope="module")
def data() -> ScoreSet:
    return draw_set(4, num_frames=(20, 40))


def by_figure(rows: list[ComparedFigure]) -> dict[str, ComparedFigure]:
    assert len({row.figure for row in rows}) == len(rows)
    return {row.figure: row for row in rows}


@pytest.mark.usefixtures("exact_scorer")
def test_exact_figures_stand_beside_sed_scores_eval(data: ScoreSet) -> None:
    ours = {
        "psds1": data.psds(PSDS_SCENARIO_1).value,
        "psds2": data.psds(PSDS_SCENARIO_2).value,
        "collar_f1_best_macro": 0.5,
        "segment_f1_best_macro": 0.5,
        "intersection_f1_best_macro": 0.5,
        "segment_auroc": segment_auroc(score_deltas(data.scores, data.truth(), [Segments()])[0]).mean,
        "segment_pauroc": 0.5,
        "energy_kwh_training": 1.0,
    }
    rows = by_figure(compare(ours, data.ground_truth, data.durations, scores=data.scores))
    assert list(rows) == list(ours)[:-1]
    assert {(row.package, row.version) for row in rows.values()} == {("sed-scores-eval", "0.0.4")}
    for name in ("psds1", "psds2"):
        assert rows[name].difference == pytest.approx(0.0, abs=1e-9)
    for row in rows.values():
        assert row.reference is not None
        assert 0.0 <= row.reference <= 1.0


@pytest.mark.usefixtures("exact_scorer")
def test_clips_without_events_are_left_out_where_the_rules_say_so(data: ScoreSet) -> None:
    rules = Rules(empty_clips="leave_out")
    ours = {"psds1": data.psds(PSDS_SCENARIO_1, rules).value}
    assert ours["psds1"] != data.psds(PSDS_SCENARIO_1).value
    (row,) = compare(ours, data.ground_truth, data.durations, scores=data.scores, rules=rules)
    assert row.difference == pytest.approx(0.0, abs=1e-9)


@pytest.mark.usefixtures("exact_scorer")
def test_a_scorer_that_refuses_the_data_leaves_its_reason(data: ScoreSet) -> None:
    touching = EventTable({"clip_1.wav": [Event(0.0, 1.0, "class_0"), Event(1.0, 2.0, "class_0")]})
    ours = {"psds1": 0.5, "nopsds1": 0.4}
    rows = by_figure(compare(ours, touching, data.durations, scores=data.scores))
    assert (rows["psds1"].reference, rows["psds1"].difference) == (None, None)
    assert rows["psds1"].note.startswith("no value: ground truth: two class_0 events of clip_1 touch")
    assert "noPSDS" in rows["nopsds1"].note


@pytest.mark.usefixtures("scorers")
def test_operating_points_and_detections_stand_beside_psds_eval_and_sed_eval(data: ScoreSet) -> None:
    floats = Rules(time_decimals=None)
    points = {0.3: data.at(0.3), 0.6: data.at(0.6)}
    detections, truth = data.at(0.5), data.ground_truth
    collar, segment = event_f1.collar_f1(detections, truth), event_f1.segment_f1(detections, truth)
    ours = {
        "psds1_sampled": data.point_psds(PSDS_SCENARIO_1, points, floats).value,
        "psds2": data.point_psds(PSDS_SCENARIO_2, points, floats).value,
        "collar_f1_macro": collar.macro,
        "collar_f1_micro": collar.micro,
        "segment_f1_macro": segment.macro,
        "segment_f1_micro": segment.micro,
        "intersection_f1_macro": event_f1.intersection_f1(detections, truth, data.durations, rules=floats).macro,
    }
    rows = by_figure(compare(ours, truth, data.durations, points=points, detections=detections))
    assert list(rows) == list(ours)
    assert {row.package for row in rows.values()} == {"psds-eval", "sed-eval"}
    for row in rows.values():
        assert row.difference == pytest.approx(0.0, abs=1e-9), row


def test_what_is_not_given_is_not_compared(data: ScoreSet) -> None:
    ours = {"psds1_sampled": 0.5, "collar_f1_macro": 0.5, "segment_auroc": 0.5, "tagging_f1_macro": 0.5}
    assert compare(ours, data.ground_truth, data.durations) == []


def test_a_scorer_that_is_not_installed_leaves_its_reason(data: ScoreSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> None:
        raise ModuleNotFoundError(f"No module named {module!r}")

    monkeypatch.setattr("importlib.import_module", absent)
    monkeypatch.setattr(side_by_side, "version_of", lambda package: None)
    (row,) = compare({"psds1": 0.5}, data.ground_truth, data.durations, scores=data.scores)
    assert row.reference is None
    assert 'pip install "desed-task[reference]"' in row.note
    assert "sed-scores-eval (not installed)" in format_comparison([row])


def test_a_scorer_that_fails_does_not_cost_the_report(data: ScoreSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*inputs: object, **options: object) -> None:
        raise ZeroDivisionError("in\nits depths")

    monkeypatch.setattr(side_by_side.by_sed_scores_eval, "exact_psds", fail)
    (row,) = compare({"psds1": 0.5}, data.ground_truth, data.durations, scores=data.scores)
    assert row.note == "no value: ZeroDivisionError: in its depths"
    monkeypatch.setattr(side_by_side.by_sed_scores_eval, "exact_psds", _refuse)
    (row,) = compare({"psds1": 0.5}, data.ground_truth, data.durations, scores=data.scores)
    assert row.note == "no value: not like this"


def _refuse(*inputs: object, **options: object) -> None:
    raise DesedTaskError("not like this")


def test_the_table_has_a_row_for_each_figure_and_scorer() -> None:
    row = ComparedFigure("psds1", 0.3344864, 0.33446856, "psds-eval", "0.5.3", "floats")
    lines = format_comparison([row, replace(row, figure="a|b", reference=None)]).splitlines()
    assert lines[0] == "| figure | ours | reference | difference | scorer | why they may differ |"
    assert lines[2] == "| psds1 | 0.334486 | 0.334469 | +1.78e-05 | psds-eval 0.5.3 | floats |"
    assert lines[3] == "| a\\|b | 0.334486 | - | - | psds-eval 0.5.3 | floats |"
