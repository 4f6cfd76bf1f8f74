"""F1 at given and at best thresholds, by hand, by trying every threshold, and by sed_scores_eval."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from score_sets import ScoreSet, draw_set, runs_at

from desed_task.errors import DesedTaskError
from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.collar import Collar
from desed_task.metrics.counts import F1
from desed_task.metrics.deltas import Criterion, Deltas, score_deltas
from desed_task.metrics.f1 import best_f1, f1_at, f1_curve
from desed_task.metrics.intersection import Intersection
from desed_task.metrics.segment import Segments
from desed_task.scores import ScoreTable

CRITERIA: dict[str, Criterion] = {"collar": Collar(), "segment": Segments(), "intersection": Intersection(0.5, 0.5)}
PAIR = LabelSet(["Cat", "Dog"])


def deltas_of(data: ScoreSet, criterion: Criterion) -> Deltas:
    (deltas,) = score_deltas(data.scores, data.truth(), [criterion])
    return deltas


# Seconds 0 1 2 3 score .9 .7 .5 .3 for Dog, which is there in 0 and 2; nothing but .2 for Cat, which is never there.
# threshold below   .9     .7     .5    .3
# tp, fp            1, 0   1, 1   2, 1  2, 2
# F1                2/3    1/2    4/5   2/3
@pytest.fixture
def four_seconds() -> Deltas:
    values = np.array([[0.2, 0.9], [0.2, 0.7], [0.2, 0.5], [0.2, 0.3]], dtype=np.float32)
    events = EventTable({"a.wav": [Event(0, 1, "Dog"), Event(2, 3, "Dog")]})
    data = ScoreSet({"a": ScoreTable(np.arange(5.0), values, PAIR)}, events, {"a.wav": 4.0}, PAIR)
    return deltas_of(data, Segments())


def test_the_best_threshold_lies_midway_to_the_next_score(four_seconds: Deltas) -> None:
    best = best_f1(four_seconds)
    dog = best.per_class["Dog"]
    assert (dog.num_reference, dog.num_detected, dog.tp, dog.fp, dog.fn) == (2, 3, 2, 1, 0)
    assert best.macro == best.micro == pytest.approx(4 / 5)
    assert best.thresholds["Dog"] == pytest.approx(0.4, abs=1e-7)


def test_a_class_without_reference_is_best_left_undetected(four_seconds: Deltas) -> None:
    best = best_f1(four_seconds)
    assert best.thresholds["Cat"] == np.inf
    assert best.per_class["Cat"].num_detected == 0
    assert best.per_class["Cat"].f1 is None


def test_a_decision_is_score_above_threshold(four_seconds: Deltas) -> None:
    for threshold, counts in ((0.95, (0, 0)), (float(np.float32(0.9)), (0, 0)), (0.6, (1, 1)), (-1.0, (2, 2))):
        dog = f1_at(four_seconds, threshold).per_class["Dog"]
        assert (dog.tp, dog.fp) == counts


def test_thresholds_of_each_class(four_seconds: Deltas) -> None:
    f1 = f1_at(four_seconds, {"Cat": 0.1, "Dog": 0.4})
    assert f1.per_class["Cat"].fp == 4
    assert f1.macro == pytest.approx(4 / 5)
    assert f1.micro == pytest.approx(4 / 9)
    assert f1_at(four_seconds, [0.1, 0.4]) == f1 == f1_at(four_seconds, np.array([0.1, 0.4]))
    with pytest.raises(DesedTaskError, match="there is no threshold for Cat"):
        f1_at(four_seconds, {"Dog": 0.4})
    with pytest.raises(DesedTaskError, match="do not fit 2 classes"):
        f1_at(four_seconds, [0.1, 0.2, 0.3])


def test_the_curve_has_a_point_where_counts_change(four_seconds: Deltas) -> None:
    curve = f1_curve(four_seconds, "Dog")
    assert curve.thresholds == pytest.approx([0.9, 0.7, 0.5, 0.3])
    assert curve.precision == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert curve.recall == pytest.approx([1 / 2, 1 / 2, 1, 1])
    assert curve.f1 == pytest.approx([2 / 3, 1 / 2, 4 / 5, 2 / 3])
    assert np.isnan(f1_curve(four_seconds, "Cat").f1).all()


def test_everything_may_be_best() -> None:
    table = ScoreTable(np.arange(3.0), np.array([[0.5, 0.5], [0.5, 0.5]], dtype=np.float32), PAIR)
    events = EventTable({"a.wav": [Event(0, 2, "Dog")]})
    best = best_f1(deltas_of(ScoreSet({"a": table}, events, {"a.wav": 2.0}, PAIR), Segments()))
    assert (best.macro, best.thresholds["Dog"]) == (1.0, -np.inf)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbouring_numbers_are_told_apart(dtype: type) -> None:
    high = dtype(0.7)
    values = np.array([[0.0, high], [0.0, np.nextafter(high, dtype(0))]], dtype=dtype)
    events = EventTable({"a.wav": [Event(0, 1, "Dog")]})
    data = ScoreSet({"a": ScoreTable(np.arange(3.0), values, PAIR)}, events, {"a.wav": 2.0}, PAIR)
    best = best_f1(deltas_of(data, Segments()))
    assert best.macro == 1.0
    assert (values[:, 1] > dtype(best.thresholds["Dog"])).tolist() == [True, False]


# ---- every threshold, and every weight -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("seed", range(6))
def test_the_best_is_the_best_of_all_thresholds_and_its_threshold_gives_it(seed: int, name: str) -> None:
    data = draw_set(seed, num_clips=5, silent_seconds=20.0)
    data = data.map_values(lambda values: np.round(values, 1))
    deltas = deltas_of(data, CRITERIA[name])
    best = best_f1(deltas)
    every = np.unique(np.concatenate([table.values for table in data.scores.values()])).astype(np.float64)
    tried = [f1_at(deltas, threshold) for threshold in [-np.inf, *every.tolist()]]
    for label, counts in best.per_class.items():
        of_class = [f1.per_class[label].f1 for f1 in tried]
        assert counts.f1 == (None if of_class[0] is None else max(f1 for f1 in of_class if f1 is not None))
    assert f1_at(deltas, best.thresholds) == best
    for label in data.labels:
        f1 = f1_curve(deltas, label).f1
        if len(f1) and not np.isnan(f1).any():
            assert max(0.0, f1.max()) == pytest.approx(best.per_class[label].f1)


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("seed", range(4))
def test_weights_repeat_clips(seed: int, name: str) -> None:
    data = draw_set(seed, num_clips=5, silent_seconds=20.0)
    weights = np.random.default_rng(seed).integers(0, 3, 5)
    weights[weights.argmin()] = 0
    deltas, repeated = deltas_of(data, CRITERIA[name]), deltas_of(repeat(data, weights), CRITERIA[name])
    assert best_f1(deltas, weights) == best_f1(repeated)
    assert f1_at(deltas, 0.4, weights) == f1_at(repeated, 0.4)
    curve, of_repeated = f1_curve(deltas, "class_0", weights), f1_curve(repeated, "class_0")
    if len(of_repeated.f1) and not np.isnan(of_repeated.f1).any():
        assert curve.f1.max(initial=0.0) == of_repeated.f1.max()


def repeat(data: ScoreSet, weights: NDArray[np.int64]) -> ScoreSet:
    clips = [(name, copy) for name, weight in zip(data.durations, weights, strict=True) for copy in range(weight)]
    names = [f"{copy}_{name}" for name, copy in clips]
    scores = {f"{copy}_{name.removesuffix('.wav')}": data.scores[name.removesuffix(".wav")] for name, copy in clips}
    events = EventTable({new: data.ground_truth.of(name) for new, (name, _) in zip(names, clips, strict=True)})
    return ScoreSet(
        scores, events, {new: data.durations[name] for new, (name, _) in zip(names, clips, strict=True)}, data.labels
    )


# ---- against sed_scores_eval -----------------------------------------------------------------------------------------


def short_events(seed: int) -> ScoreSet:
    """Many events of 0.1 to 0.3 s, some 50 ms apart, so that detections reach several of them."""
    rng = np.random.default_rng(seed)
    scores, events, durations = {}, {}, {}
    for clip in range(3):
        edges = np.round(np.arange(81) * 0.06, 6)
        times = np.cumsum(rng.choice([0.05, 0.1, 0.2, 0.3], 40))
        pairs = np.round(times.reshape(-1, 2), 6).tolist()
        events[f"{clip}.wav"] = [Event(on, off, str(rng.choice(PAIR.names))) for on, off in pairs if off < edges[-1]]
        values = np.round(rng.random((80, 2)), 1).astype(np.float32)
        scores[str(clip)], durations[f"{clip}.wav"] = ScoreTable(edges, values, PAIR), float(edges[-1])
    return ScoreSet(scores, EventTable(events), durations, PAIR)


def sets() -> dict[str, ScoreSet]:
    drawn = {
        f"{kind} {seed}": draw_set(seed, num_clips=5, silent_seconds=12.0, dtype=np.float64, **options)
        for kind, options in {
            "even": {},
            "uneven": {"even_frames": False},
            "one frame": {"num_frames": (1, 1)},
            "short frames": {"frame_seconds": 0.07},
        }.items()
        for seed in range(4)
    }
    ties = {f"ties {seed}": draw_set(seed, num_clips=5, silent_seconds=12.0) for seed in range(4)}
    ties = {name: data.map_values(lambda values: np.round(values, 1)) for name, data in ties.items()}
    constant = draw_set(3, num_clips=4, silent_seconds=12.0).map_values(lambda values: np.full_like(values, 0.5))
    return {**drawn, **ties, "constant": constant, **{f"short {seed}": short_events(seed) for seed in range(8)}}


SETS = sets()


@pytest.mark.usefixtures("exact_scorer")
@pytest.mark.parametrize("name", ["collar", "segment", "intersection"])
@pytest.mark.parametrize("case", SETS)
def test_best_f1_equals_sed_scores_eval(case: str, name: str) -> None:
    from desed_task.metrics.reference import by_sed_scores_eval

    data = SETS[case]
    theirs = getattr(by_sed_scores_eval, f"best_{name}_f1")(data.scores, data.ground_truth, data.durations)
    ours = best_f1(deltas_of(data, CRITERIA[name]))
    assert ours.macro == pytest.approx(theirs.macro, abs=1e-9)
    for label, f1 in theirs.per_class.items():
        assert ours.per_class[label].f1 == pytest.approx(f1, abs=1e-9)
    same = all(ours.thresholds[label] == pytest.approx(at, abs=1e-7) for label, at in theirs.thresholds.items())
    if same:  # of thresholds with the same F1, each may take another
        assert ours.micro == pytest.approx(theirs.micro, abs=1e-9)


@pytest.mark.usefixtures("exact_scorer")
def test_thresholds_are_mostly_those_of_sed_scores_eval() -> None:
    from desed_task.metrics.reference import by_sed_scores_eval

    same = total = 0
    for data in SETS.values():
        theirs = by_sed_scores_eval.best_collar_f1(data.scores, data.ground_truth, data.durations)
        ours = best_f1(deltas_of(data, Collar())).thresholds
        same += sum(ours[label] == pytest.approx(at, abs=1e-7) for label, at in theirs.thresholds.items())
        total += len(theirs.thresholds)
    assert same > 0.9 * total


@pytest.mark.usefixtures("exact_scorer")
@pytest.mark.parametrize("threshold", [0.15, 0.55, 0.85])
@pytest.mark.parametrize("case", list(SETS)[::3])
def test_f1_at_a_threshold_equals_sed_scores_eval(case: str, threshold: float) -> None:
    data = SETS[case]
    theirs = collar_f1_of_sed_scores_eval(data, threshold)
    ours = f1_at(deltas_of(data, Collar()), threshold)
    for label, f1 in theirs.items():
        assert ours.per_class[label].f1 == pytest.approx(f1, abs=1e-9)


def collar_f1_of_sed_scores_eval(data: ScoreSet, threshold: float) -> dict[str, float]:
    import pandas
    from sed_scores_eval import collar_based

    labels = data.ground_truth.labels()
    frames = {
        name: pandas.DataFrame(
            {"onset": table.edges[:-1], "offset": table.edges[1:]}
            | {label: table.values[:, table.labels.index(label)].astype(np.float64) for label in labels}
        )
        for name, table in data.scores.items()
    }
    events = {
        name: [(e.onset, e.offset, e.event_label) for e in of_clip]
        for name, of_clip in data.ground_truth.by_audio_id().items()
    }
    options = {"onset_collar": 0.2, "offset_collar": 0.2, "offset_collar_rate": 0.2}
    f1, *_ = collar_based.fscore(frames, events, threshold, **options)
    return {label: float(f1[label]) for label in labels}


def test_f1_knows_what_was_detected() -> None:
    data = SETS["even 1"]
    f1: F1 = f1_at(deltas_of(data, Collar()), 0.5)
    for label, counts in f1.per_class.items():
        detected = [e for table in data.scores.values() for e in runs_at(table, 0.5) if e.event_label == label]
        assert counts.num_detected == len(detected)
