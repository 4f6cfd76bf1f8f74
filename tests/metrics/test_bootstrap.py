"""Bootstrap samples equal scoring the resampled clips; intervals, paired differences, contributions of clips."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.bootstrap import Samples, draw_samples, sample_figures
from desed_task.metrics.collar import Collar
from desed_task.metrics.comparison import clip_contributions, clip_counts, clip_differences
from desed_task.metrics.deltas import Criterion, Deltas, score_deltas
from desed_task.metrics.f1 import best_f1, f1_at
from desed_task.metrics.intersection import Intersection
from desed_task.metrics.psds import criterion_of, psds
from desed_task.metrics.resampled import Figure, SampledBestF1, SampledF1, SampledPsds, Weights, one_by_one
from desed_task.metrics.rules import LEGACY_RULES, Rules
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2, IntersectionCriteria, PsdsScenario
from desed_task.metrics.truth import build_truth
from desed_task.scores import ScoreTable

LABELS = LabelSet(("a", "b", "c"))
# So few clips reach 100 false alarms per hour at once; the others let many points through.
LENIENT = PsdsScenario(IntersectionCriteria(0.5, 0.4, 0.3), alpha_ct=1.0, alpha_st=0.5, max_efpr=2000.0)
ENDLESS = PsdsScenario(IntersectionCriteria(0.1, 0.1, 0.1), alpha_ct=0.3, alpha_st=0.0, max_efpr=1e6)
NO_ORACLE = PsdsScenario(IntersectionCriteria(0.5, 0.4, 0.3), alpha_ct=0.0, alpha_st=0.5, max_efpr=2000.0)
SCENARIOS = (PSDS_SCENARIO_1, PSDS_SCENARIO_2, LENIENT, ENDLESS)
EVERY_CLASS = dict.fromkeys(LABELS, 0.5)

Clips = dict[str, tuple[tuple[Event, ...], ScoreTable, float]]


def random_clips(seed: int, num_clips: int = 7) -> Clips:
    """Clips of 1 to 30 frames, with scores of few values (ties), classes that are rare, clips without events."""
    random = np.random.default_rng(seed)
    clips: Clips = {}
    for clip in range(num_clips):
        frames = int(random.integers(1, 31))
        edges = np.arange(frames + 1) * 0.2
        values = random.integers(0, 1 + int(random.integers(1, 12)), (frames, len(LABELS))) / 11
        events = []
        for number, label in enumerate(LABELS):
            if random.random() < 0.7 / (1 + number):
                onset = float(random.integers(0, frames)) * 0.2
                length = 0.2 * float(random.integers(1, 6))
                events.append(Event(onset, onset + length, label))
                first, last = round(onset / 0.2), min(round((onset + length) / 0.2), frames)
                values[first:last, number] = np.minimum(1.0, values[first:last, number] + 0.3)
        clips[f"clip{clip}"] = tuple(events), ScoreTable(edges, values.astype(np.float32), LABELS), 7.0 + clip / 8
    return clips


def deltas_of(clips: Clips, criteria: list[Criterion], rules: Rules | None = None) -> list[Deltas]:
    table = EventTable({name: events for name, (events, _, _) in clips.items()})
    durations = {name: duration for name, (_, _, duration) in clips.items()}
    truth = build_truth(table, durations, LABELS, rules or Rules())
    return score_deltas({name: scores for name, (_, scores, _) in clips.items()}, truth, criteria)


def drawn(clips: Clips, weights: NDArray[np.int32]) -> Clips:
    """The list of clips that the weights stand for, repeated clips under names of their own."""
    return {
        f"{name}_copy{copy}": clip
        for (name, clip), weight in zip(clips.items(), weights.tolist(), strict=True)
        for copy in range(weight)
    }


def assert_equal(sampled: float, expected: float | None) -> None:
    assert sampled == pytest.approx(np.nan if expected is None else expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rules", [Rules(), LEGACY_RULES], ids=["default", "legacy"])
def test_samples_equal_scoring_the_resampled_list(seed: int, rules: Rules) -> None:
    clips = random_clips(seed)
    criteria: list[Criterion] = [*(criterion_of(scenario) for scenario in SCENARIOS), Intersection(0.5, 0.5), Collar()]
    deltas = deltas_of(clips, criteria, rules)
    weights = np.concatenate((draw_samples(len(clips), 6, seed), np.eye(len(clips), dtype=np.int32)[:2]))
    sampled = [SampledPsds(of_one, scenario)(weights) for of_one, scenario in zip(deltas, SCENARIOS, strict=False)]
    realistic = SampledPsds(deltas[2], NO_ORACLE, oracle=False)(weights)
    f1s = {k: (SampledBestF1(deltas[k])(weights), SampledF1(deltas[k], EVERY_CLASS)(weights)) for k in (-2, -1)}
    micro = SampledF1(deltas[-1], EVERY_CLASS, average="micro")(weights)
    for sample, row in enumerate(weights):
        again = deltas_of(drawn(clips, row), criteria, rules)
        for position, scenario in enumerate(SCENARIOS):
            assert_equal(sampled[position][sample], psds(again[position], scenario).value)
        assert_equal(realistic[sample], psds(again[2], NO_ORACLE, oracle=False).value)
        for k, (best, at_half) in f1s.items():
            assert_equal(best[sample], best_f1(again[k]).macro)
            assert_equal(at_half[sample], f1_at(again[k], 0.5).macro)
        assert_equal(micro[sample], f1_at(again[-1], 0.5).micro)


@pytest.mark.parametrize("seed", range(20, 24))
def test_a_long_list_where_most_rows_are_beyond_the_highest_rate(seed: int) -> None:
    clips = random_clips(seed, num_clips=60)
    deltas = deltas_of(clips, [criterion_of(scenario) for scenario in SCENARIOS])
    weights = draw_samples(len(clips), 10, seed)
    for of_one, scenario in zip(deltas, SCENARIOS, strict=True):
        one = one_by_one(lambda w, d=of_one, s=scenario: psds(d, s, weights=w).value)
        np.testing.assert_allclose(SampledPsds(of_one, scenario)(weights), one(weights), atol=1e-9)


# seconds   0    1    2    3    4    5
# one       |----a----|                     said .9 from 0 to 2: found
# two            |----b----|                said of a instead, at .7 from 1 to 3: missed, and a false alarm of a
# three                                     nothing, nothing said
def three_clips() -> Clips:
    edges, silent = np.arange(6.0), np.zeros((5, 3), dtype=np.float32)
    one, two = silent.copy(), silent.copy()
    one[0:2, 0], two[1:3, 0] = 0.9, 0.7
    events = (Event(0.0, 2.0, "a"),), (Event(1.0, 3.0, "b"),), ()
    names, scores = ("one", "two", "three"), (one, two, silent)
    return {
        name: (of_clip, ScoreTable(edges, values, LABELS), 5.0)
        for name, of_clip, values in zip(names, events, scores, strict=True)
    }


def test_f1_of_a_sample_by_hand() -> None:
    (deltas,) = deltas_of(three_clips(), [Intersection(0.5, 0.5)])
    # a: 1 found, 1 false alarm: 2/3; b: missed: 0
    weights = np.array([[1, 1, 1], [2, 1, 0], [1, 0, 2], [0, 0, 3]], dtype=np.int32)
    # the second sample: a: 2 found, 1 false alarm, 4/5; the third: only a, all right; the last: no events
    np.testing.assert_allclose(SampledF1(deltas, EVERY_CLASS)(weights), [1 / 3, 2 / 5, 1.0, np.nan])
    # micro: 2 tp / (2 tp + fp + fn)
    micro = SampledF1(deltas, EVERY_CLASS, average="micro")(weights)
    np.testing.assert_allclose(micro, [2 / 4, 4 / 6, 1.0, np.nan])
    # above .7 the false alarm goes
    np.testing.assert_allclose(SampledBestF1(deltas)(weights), [1 / 2, 1 / 2, 1.0, np.nan])
    assert SampledF1(deltas, dict.fromkeys(LABELS, 0.8))(weights)[0] == pytest.approx(1 / 2)
    # a score equal to its threshold, in float32, is none
    assert SampledF1(deltas, dict.fromkeys(LABELS, 0.7))(weights)[0] == pytest.approx(1 / 2)


def test_a_class_without_a_threshold_is_refused() -> None:
    (deltas,) = deltas_of(three_clips(), [Intersection(0.5, 0.5)])
    with pytest.raises(ValueError, match="no threshold for b"):
        SampledF1(deltas, {"a": 0.5, "c": 0.5})


def test_deltas_without_cross_triggers_are_refused_where_they_count() -> None:
    (deltas,) = deltas_of(three_clips(), [Intersection(0.1, 0.1)])
    with pytest.raises(ValueError, match="no cross-triggers"):
        SampledPsds(deltas, PSDS_SCENARIO_2)


def test_counts_of_clips_name_the_worst_first() -> None:
    (deltas,) = deltas_of(three_clips(), [Intersection(0.5, 0.5)])
    counts = clip_counts(deltas, EVERY_CLASS)
    assert counts.worst(3) == ["two"]
    assert {label: (c.tp, c.fp, c.fn) for label, c in counts.of_clip("two").items()} == {"a": (0, 1, 0), "b": (0, 0, 1)}
    assert {label: (c.tp, c.fp, c.fn) for label, c in counts.of_clip("one").items()} == {"a": (1, 0, 0)}
    assert counts.of_clip("three") == {}


def test_a_contribution_is_what_the_figure_loses_without_the_clip() -> None:
    (deltas,) = deltas_of(three_clips(), [Intersection(0.5, 0.5)])
    figure = SampledF1(deltas, EVERY_CLASS)
    left_out: list[int] = []
    contributions = clip_contributions(figure, 3, left_out.append)
    # all: 1/3; without one: a is absent, b missed: 0; without two: 1; without three: the same
    np.testing.assert_allclose(contributions, [1 / 3, 1 / 3 - 1.0, 0.0])
    assert sum(left_out) == 3
    # a system that also finds b in two: a 2/3, b 1 -> the clip is worth 5/6 - 1
    assert [clip for clip, _ in clip_differences(np.array([1 / 3, -1 / 6, 0.0]), contributions)] == [1]


def test_a_clip_without_which_nothing_is_defined_has_no_contribution() -> None:
    clips = three_clips()
    (deltas,) = deltas_of({name: clips[name] for name in ("one", "three")}, [Intersection(0.5, 0.5)])
    contributions = clip_contributions(SampledF1(deltas, EVERY_CLASS), 2)
    np.testing.assert_allclose(contributions, [np.nan, 0.0])
    assert clip_differences(contributions, np.zeros(2)) == []


def test_drawing_is_seeded_and_every_sample_is_as_long_as_the_list() -> None:
    weights = draw_samples(50, 30, seed=1)
    assert weights.shape == (30, 50)
    assert set(weights.sum(axis=1).tolist()) == {50}
    assert np.array_equal(weights, draw_samples(50, 30, seed=1))
    assert not np.array_equal(weights, draw_samples(50, 30, seed=2))
    assert len(set(weights.sum(axis=0).tolist())) > 1  # ordinary draws: some clips come more often than others


def test_a_balanced_bootstrap_draws_each_clip_equally_often() -> None:
    weights = draw_samples(50, 30, seed=1, balanced=True)
    assert set(weights.sum(axis=1).tolist()) == {50}
    assert set(weights.sum(axis=0).tolist()) == {30}
    assert weights.max() > 1


@pytest.mark.parametrize("balanced", [False, True])
def test_clips_of_one_source_are_drawn_together(balanced: bool) -> None:
    groups = ["x", "y", "x", "z", "y", "x"]
    weights = draw_samples(6, 40, seed=3, groups=groups, balanced=balanced)
    assert np.array_equal(weights[:, 0], weights[:, 2])
    assert np.array_equal(weights[:, 0], weights[:, 5])
    assert np.array_equal(weights[:, 1], weights[:, 4])
    assert set(weights[:, [0, 1, 3]].sum(axis=1).tolist()) == {3}


@pytest.mark.parametrize(("clips", "samples", "groups"), [(0, 5, None), (5, 0, None), (3, 2, ["x", "y"])])
def test_samples_of_nothing_are_refused(clips: int, samples: int, groups: list[str] | None) -> None:
    with pytest.raises(ValueError, match=r"no samples|do not fit"):
        draw_samples(clips, samples, 0, groups=groups)


def mean_of(values: list[float]) -> Figure:
    """The weighed mean of one value per clip: a figure whose bootstrap is known."""
    return one_by_one(lambda w: float(w @ np.array(values)) / float(w.sum()))


def test_the_interval_of_a_mean_is_that_of_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(10.0, 2.0, 400)
    weights = draw_samples(400, 4000, seed=0)
    interval = sample_figures([{"mean": mean_of(values.tolist())}], weights)["mean"].interval()
    half_width = 1.96 * values.std() / 20
    assert interval.value == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.03)
    narrow = sample_figures([{"mean": mean_of(values.tolist())}], weights)["mean"].interval(0.5)
    assert interval.low < narrow.low < narrow.high < interval.high


def test_pairing_sees_a_difference_that_the_intervals_hide() -> None:
    values = np.random.default_rng(0).normal(10.0, 2.0, 100)
    weights = draw_samples(100, 999, seed=0)
    better = sample_figures([{"mean": mean_of((values + 0.1).tolist())}], weights)["mean"]
    worse = sample_figures([{"mean": mean_of(values.tolist())}], weights)["mean"]
    assert better.interval().low < worse.interval().high
    difference = better.difference(worse)
    assert difference.low == pytest.approx(0.1)
    assert difference.high == pytest.approx(0.1)
    assert difference.p_value == pytest.approx(2 / 1000)


def test_the_p_value_by_hand() -> None:
    # of the differences 1, 1, 1, -1, nan: one is at or below 0, so 2 * (1 + 1) / (4 + 1)
    one, other = Samples(1.0, np.array([1.0, 1.0, 1.0, -1.0, np.nan])), Samples(0.5, np.zeros(5))
    difference = one.difference(other)
    assert difference.p_value == pytest.approx(4 / 5)
    assert difference.value == pytest.approx(0.5)
    assert difference.undefined == 1
    assert one.difference(one).p_value == 1.0


def test_samples_of_other_draws_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        Samples(0.0, np.zeros(3)).difference(Samples(0.0, np.zeros(4)))


def test_a_figure_that_is_nowhere_defined_has_no_interval() -> None:
    samples = sample_figures([{"none": one_by_one(lambda w: None)}], draw_samples(3, 4, 0))["none"]
    interval = samples.interval()
    assert (interval.value, interval.low, interval.high, interval.undefined) == (None, None, None, 4)
    assert samples.difference(samples).p_value is None


def test_runs_are_averaged_within_each_sample() -> None:
    weights = draw_samples(4, 10, seed=0)
    runs = [{"mean": mean_of([1.0, 2.0, 3.0, 4.0])}, {"mean": mean_of([3.0, 3.0, 3.0, 3.0])}]
    both = sample_figures(runs, weights)["mean"]
    assert both.value == pytest.approx((2.5 + 3.0) / 2)
    np.testing.assert_allclose(both.sampled, (weights @ np.array([1.0, 2.0, 3.0, 4.0]) / 4 + 3.0) / 2)


def test_threads_change_nothing_and_progress_counts_every_sample() -> None:
    clips = random_clips(5)
    (deltas,) = deltas_of(clips, [criterion_of(LENIENT)])
    weights, finished = draw_samples(len(clips), 50, 0), list[int]()
    figures = {"psds": SampledPsds(deltas, LENIENT)}
    alone = sample_figures([figures], weights, progress=finished.append)
    assert sum(finished) == 50
    together = sample_figures([{"psds": SampledPsds(deltas, LENIENT)}], weights, num_threads=3)
    np.testing.assert_array_equal(alone["psds"].sampled, together["psds"].sampled)


@pytest.mark.parametrize("runs", [[], [{"x": one_by_one(lambda w: 0.0)}, {"y": one_by_one(lambda w: 0.0)}]])
def test_runs_need_the_same_figures(runs: list[dict[str, Figure]]) -> None:
    with pytest.raises(ValueError, match="the same figures"):
        sample_figures(runs, draw_samples(2, 2, 0))


def test_weights_are_small_numbers_of_one_type() -> None:
    weights: Weights = draw_samples(5, 2, 0)
    assert weights.dtype == np.int32
