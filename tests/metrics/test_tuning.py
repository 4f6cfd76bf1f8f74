"""Best operating points, figures of clips with different settings, and the gain of tuning, against plain recomputation.

The fast way picks rows of deltas; the plain way filters each clip anew and scores the list.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.best_point import best_point
from desed_task.metrics.counts import macro_f1
from desed_task.metrics.deltas import Criterion, point_deltas, score_deltas
from desed_task.metrics.f1 import best_f1, f1_at
from desed_task.metrics.folds import FoldSettings
from desed_task.metrics.psds import criterion_of, psds
from desed_task.metrics.truth import Truth, build_truth
from desed_task.metrics.tuned import tune
from desed_task.metrics.tuning import DECISIONS, OBJECTIVES, SCENARIOS, Tuning, build_tuning
from desed_task.postprocessing.pipeline import PostProcessing
from desed_task.postprocessing.search import Settings
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid

GRID = FrameGrid(10, 1, 1)  # frames of 0.1 s
LABELS = LabelSet(["a", "b", "c"])
WINDOWS, SECONDS = [1, 3, 9], np.array([0.0, 0.3, 0.9])
DEFAULT = Settings(np.array([1, 1, 1]), np.full(3, 0.5))
NUM_CLIPS, NUM_FRAMES = 12, 50
FOLDS = np.arange(NUM_CLIPS) % 3
OF_FOLDS = [
    Settings(np.array([0, 2, 1]), np.array([0.5, 0.3, 0.7])),
    Settings(np.array([1, 2, 0]), np.array([0.4, 0.6, 0.5])),
    Settings(np.array([0, 0, 1]), np.array([0.6, 0.5, 0.2])),
]


def draw_run(seed: int) -> dict[str, Scores]:
    rng = np.random.default_rng(seed)
    run = {}
    for clip in range(NUM_CLIPS):
        values = 0.6 * rng.random((NUM_FRAMES, 3)) + 0.35 * activity(clip)
        run[f"clip_{clip}"] = Scores(values.astype(np.float32), np.zeros(3, np.float32), GRID, LABELS, 5.0)
    return run


def events_of(clip: int) -> list[Event]:
    """A long `a`, two short `b`s; no clip has a `c` but the first four."""
    events = [Event(0.5, 2.5, "a"), Event(1.0, 1.4, "b"), Event(3.0, 3.3, "b")]
    return events + ([Event(2.0, 4.5, "c")] if clip < 4 else [])


def activity(clip: int) -> NDArray[np.float64]:
    active = np.zeros((NUM_FRAMES, 3))
    for event in events_of(clip):
        active[round(event.onset * 10) : round(event.offset * 10), LABELS.index(event.event_label)] = 1
    return active


@pytest.fixture(scope="module")
def truth() -> Truth:
    table = EventTable({f"clip_{clip}": events_of(clip) for clip in range(NUM_CLIPS)})
    return build_truth(table, {f"clip_{clip}": 5.0 for clip in range(NUM_CLIPS)}, LABELS)


def tuning_of(objective: str, runs: list[dict[str, Scores]], truth: Truth) -> Tuning:
    tables = [{audio_id: scores.table() for audio_id, scores in run.items()} for run in runs]
    return build_tuning(objective, tables, truth, WINDOWS, DEFAULT.thresholds)


def postprocessing(settings: Settings) -> PostProcessing:
    seconds = tuple(SECONDS[settings.lengths].tolist())
    return PostProcessing(LABELS, GRID, seconds, tuple(settings.thresholds.tolist()))


def value_of(tuning: Tuning, name: str, chosen: FoldSettings) -> float:
    return float(tuning.figures(chosen)[name](np.ones((1, NUM_CLIPS), np.int32))[0])


# scores          .9   .8   .7   .6   .4
# true positives  +1        +1                2 events
# false alarms         +1        +1   +1      F1: 2/3, 1/2, 4/5, 2/3, 4/7
ROWS = (np.array([0.9, 0.8, 0.7, 0.6, 0.4], np.float32), np.array([1, 0, 1, 0, 0]), np.array([0, 1, 0, 1, 1]))


def test_the_threshold_lies_midway_below_the_best_point() -> None:
    assert best_point(*ROWS, 2, default=0.5) == pytest.approx((4 / 5, 0.65))


def test_the_default_stays_where_it_is_as_good() -> None:
    assert best_point(*ROWS, 2, default=0.61) == pytest.approx((4 / 5, 0.61))


def test_of_equally_good_ranges_the_nearest_to_the_default_is_taken() -> None:
    # F1 of one event: .9 -> 1; a false alarm comes at .8 and goes at .4: again 1 below
    rows = np.array([0.9, 0.8, 0.4]), np.array([1, 0, 0]), np.array([0, 1, -1])
    assert best_point(*rows, 1, default=0.5) == (1.0, 0.2)
    assert best_point(*rows, 1, default=0.7) == (1.0, 0.85)


def test_neighbouring_points_that_are_equally_good_are_one_range() -> None:
    rows = np.array([0.9, 0.7, 0.6, 0.2]), np.array([1, 0, 0, 0]), np.array([0, 0, 0, 1])
    assert best_point(*rows, 1, default=0.1) == (1.0, 0.55)


def test_a_class_without_events_or_never_found_keeps_the_default() -> None:
    assert np.isnan(best_point(*ROWS, 0, default=0.5)[0])
    assert best_point(*ROWS, 0, default=0.5)[1] == 0.5
    assert best_point(ROWS[0], np.zeros(5, int), ROWS[2], 2, default=0.45) == (0.0, 0.45)
    assert best_point(ROWS[0][:0], ROWS[1][:0], ROWS[2][:0], 2, default=0.45) == (0.0, 0.45)


def test_a_score_of_zero_passes_no_threshold() -> None:
    rows = np.array([0.5, 0.0]), np.array([1, 1]), np.array([0, 0])
    assert best_point(*rows, 2, default=0.9) == pytest.approx((2 / 3, 0.25))


def test_neighbouring_float32_scores_are_told_apart() -> None:
    low = np.float32(0.7)
    high = np.nextafter(low, np.float32(1))
    f1, threshold = best_point(np.array([high, low]), np.array([1, 0]), np.array([0, 1]), 1, default=0.1)
    assert f1 == 1.0
    assert low <= np.float32(threshold) < high


@pytest.mark.parametrize("name", sorted(DECISIONS))
def test_thresholds_reach_the_best_f1_of_each_class(name: str, truth: Truth) -> None:
    run = draw_run(0)
    tuning = tuning_of(name, [run], truth)
    weights = (FOLDS != 1).astype(np.int64)
    measured = tuning.measure(weights)
    for position in range(len(WINDOWS)):
        deltas = tuning.decisions[0][position]
        expected = [counts.f1 for counts in best_f1(deltas, weights).per_class.values()]
        np.testing.assert_allclose(measured.class_figures[position], np.array(expected, dtype=float), atol=1e-12)
        reached = f1_at(deltas, measured.thresholds[position], weights)
        assert macro_f1(reached.per_class) == pytest.approx(float(np.mean(np.array(expected, dtype=float))), abs=1e-12)


@pytest.mark.parametrize("name", sorted(DECISIONS))
def test_pooled_decisions_are_those_of_each_clips_fold(name: str, truth: Truth) -> None:
    run = draw_run(1)
    of_fold = [postprocessing(settings) for settings in OF_FOLDS]
    clips = zip(run.items(), FOLDS.tolist(), strict=True)
    detected = EventTable({audio_id: of_fold[fold].detect(scores) for (audio_id, scores), fold in clips})
    criterion: Criterion = DECISIONS[name]
    (deltas,) = point_deltas({0.5: detected}, truth, [criterion])
    expected = macro_f1(f1_at(deltas, 0.4).per_class)
    assert value_of(tuning_of(name, [run], truth), name, FoldSettings(OF_FOLDS, FOLDS)) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["psds1", "psds2"])
def test_pooled_scores_are_filtered_as_each_clips_fold_says(name: str, truth: Truth) -> None:
    run, scenario = draw_run(2), SCENARIOS["psds1+psds2"][name]
    of_fold = [postprocessing(settings) for settings in OF_FOLDS]
    clips = zip(run.items(), FOLDS.tolist(), strict=True)
    filtered = {audio_id: of_fold[fold].filter(scores).table() for (audio_id, scores), fold in clips}
    (deltas,) = score_deltas(filtered, truth, [criterion_of(scenario)])
    tuning = tuning_of("psds1+psds2", [run], truth)
    expected = psds(deltas, scenario).value
    assert value_of(tuning, name, FoldSettings(OF_FOLDS, FOLDS)) == pytest.approx(expected, abs=1e-12)


def test_the_joint_figure_is_that_of_the_classes_filtered_so(truth: Truth) -> None:
    tuning = tuning_of("psds1+psds2", [draw_run(3)], truth)
    settings = OF_FOLDS[0]
    measured = tuning.measure(np.ones(NUM_CLIPS, dtype=np.int64))
    whole = FoldSettings([settings], np.zeros(NUM_CLIPS, dtype=np.intp))
    expected = value_of(tuning, "psds1+psds2", whole)
    assert measured.joint_figure(settings.lengths) == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx(sum(value_of(tuning, name, whole) for name in ("psds1", "psds2")))


def test_figures_of_several_runs_are_means_and_thresholds_are_shared(truth: Truth) -> None:
    runs = [draw_run(4), draw_run(5)]
    both = tuning_of("collar_f1", runs, truth)
    each = [tuning_of("collar_f1", [run], truth) for run in runs]
    chosen = FoldSettings(OF_FOLDS, FOLDS)
    mean = np.mean([value_of(tuning, "collar_f1", chosen) for tuning in each])
    assert value_of(both, "collar_f1", chosen) == pytest.approx(float(mean))
    ones = np.ones(NUM_CLIPS, dtype=np.int64)
    counts = [tuning.decisions[0][1] for tuning in each]
    rows = [(d.rows, slice(d.first_row[0], d.first_row[1])) for d in counts]
    columns = ("threshold", "true_positives", "false_positives")
    thresholds, found, false = (np.concatenate([getattr(r, name)[s] for r, s in rows]) for name in columns)
    pooled = best_point(thresholds, found, false, 2 * NUM_CLIPS, 0.5)
    measured = both.measure(ones)
    assert (measured.best_f1[1, 0], measured.thresholds[1, 0]) == pytest.approx(pooled)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_gains_in_sample_and_says_what_it_gains_out_of_fold(objective: str, truth: Truth) -> None:
    tuning = tuning_of(objective, [draw_run(6)], truth)
    tuned = tune(tuning, DEFAULT, SECONDS, FOLDS, list(truth.audio_ids), 20, 0)
    figure = tuned.figures[objective]
    assert figure.untuned is not None and figure.in_sample_not_a_result is not None and figure.out_of_fold is not None
    assert figure.in_sample_not_a_result >= figure.untuned - 1e-12
    assert figure.gain.value == pytest.approx(figure.out_of_fold - figure.untuned)
    assert next(iter(tuned.figures)) == objective
    assert len(tuned.of_folds) == 3


def test_a_class_that_no_fold_knows_keeps_its_settings() -> None:
    table = EventTable({f"clip_{clip}": events_of(9) for clip in range(NUM_CLIPS)})
    truth = build_truth(table, {f"clip_{clip}": 5.0 for clip in range(NUM_CLIPS)}, LABELS)
    tuned = tune(tuning_of("psds1", [draw_run(7)], truth), DEFAULT, SECONDS, FOLDS, list(truth.audio_ids), 5, 0)
    assert tuned.without_events == ["c"]
    assert (tuned.seconds(tuned.chosen)["c"], tuned.thresholds(tuned.chosen)["c"]) == (0.3, 0.5)
    assert all(settings.lengths[2] == 1 for settings in tuned.of_folds)
    assert tuned.to_json()["classes"]["c"]["in_sample_psds1_by_length"] == [None, None, None]
