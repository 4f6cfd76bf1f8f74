"""Segment AUROC by hand, as a probability, and by the ROC points of sed_scores_eval."""

from __future__ import annotations

import numpy as np
import pytest
from score_sets import ScoreSet, draw_set

from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.auroc import segment_auroc
from desed_task.metrics.deltas import Deltas, point_deltas, score_deltas
from desed_task.metrics.segment import Segments
from desed_task.scores import ScoreTable

PAIR = LabelSet(["Cat", "Dog"])


def deltas_of(data: ScoreSet) -> Deltas:
    (deltas,) = score_deltas(data.scores, data.truth(), [Segments()])
    return deltas


def seconds(scores: list[float], active: list[int]) -> ScoreSet:
    """A Dog's scores in each second of a clip, and the seconds in which it is there."""
    values = np.array([[0.5, score] for score in scores], dtype=np.float32)
    events = EventTable({"a.wav": [Event(second + 0.2, second + 0.8, "Dog") for second in active]})
    edges = np.arange(len(scores) + 1.0)
    return ScoreSet({"a": ScoreTable(edges, values, PAIR)}, events, {"a.wav": float(len(scores))}, PAIR)


# scores .9 .7 .5 .3, there in 0 and 2: of the four pairs (active, not) three are in order
def test_the_area_is_the_share_of_pairs_in_order() -> None:
    auroc = segment_auroc(deltas_of(seconds([0.9, 0.7, 0.5, 0.3], [0, 2])))
    assert auroc.mean == pytest.approx(3 / 4)
    assert auroc.per_class == {"Dog": pytest.approx(3 / 4)}  # the Cat is never there


def test_equal_scores_count_half() -> None:
    assert segment_auroc(deltas_of(seconds([0.5, 0.5, 0.5, 0.5], [0]))).mean == pytest.approx(0.5)


# ratio 1/2 from rate 0 on, straight up to 1 at rate 1/2:  up to rate 1/4 the mean of the ratio is 1/2
# up to 3/4: (1/2 * 1/2 + 1 * 1/4) / (3/4) = 2/3
@pytest.mark.parametrize(("max_fpr", "share"), [(0.25, 1 / 2), (0.75, 2 / 3), (1.0, 3 / 4)])
def test_a_part_of_the_curve(max_fpr: float, share: float) -> None:
    assert segment_auroc(deltas_of(seconds([0.9, 0.7, 0.5, 0.3], [0, 2])), max_fpr).mean == pytest.approx(share)


# two scores tie at .7: the line from (0, 0) to (1/3, 1), of which up to rate 1/6 half lies below
def test_points_are_joined_by_lines() -> None:
    auroc = segment_auroc(deltas_of(seconds([0.7, 0.7, 0.2, 0.1], [0])), 1 / 6)
    assert auroc.mean == pytest.approx((1 / 2) / 2)


def test_the_correction_gives_guessing_one_half_and_a_perfect_score_one() -> None:
    guessing, perfect = seconds([0.5] * 4, [0]), seconds([0.9, 0.1, 0.1, 0.1], [0])
    for data, value in ((guessing, 0.5), (perfect, 1.0)):
        auroc = segment_auroc(deltas_of(data), 0.1, mcclish_correction=True)
        assert auroc.mean == pytest.approx(value)


def test_no_class_with_a_curve_is_undefined() -> None:
    assert segment_auroc(deltas_of(seconds([0.9, 0.1], [0, 1]))).mean is None  # there all the time
    assert segment_auroc(deltas_of(seconds([0.9, 0.1], []))).mean is None


def test_operating_points_are_refused() -> None:
    data = seconds([0.9, 0.7, 0.5, 0.3], [0, 2])
    (deltas,) = point_deltas({0.8: data.at(0.8)}, data.truth(), [Segments()])
    with pytest.raises(ValueError, match="operating points do not give them"):
        segment_auroc(deltas)
    with pytest.raises(ValueError, match="max_fpr must be above 0"):
        segment_auroc(deltas, 0.0)


@pytest.mark.parametrize("seed", range(8))
def test_pairs_in_order_with_weights(seed: int) -> None:
    data = draw_set(seed, num_clips=5, silent_seconds=7.5).map_values(lambda values: np.round(values, 1))
    weights = np.random.default_rng(seed).integers(0, 4, 5)
    deltas = deltas_of(data)
    auroc = segment_auroc(deltas, weights=weights)
    rows = deltas.rows
    for number, label in enumerate(data.labels):
        own = slice(deltas.first_row[number], deltas.first_row[number + 1])
        weight, scores = weights[rows.clip[own]], rows.threshold[own]
        there, not_there = weight * rows.true_positives[own], weight * rows.false_positives[own]
        if there.sum() and not_there.sum():
            order = np.sign(scores[:, None] - scores[None, :]) / 2 + 0.5
            pairs = (there[:, None] * not_there[None, :] * order).sum() / (there.sum() * not_there.sum())
            assert auroc.per_class[label] == pytest.approx(pairs)
        else:
            assert label not in auroc.per_class


@pytest.mark.usefixtures("exact_scorer")
@pytest.mark.parametrize("max_fpr", [1.0, 0.1, 0.35])
@pytest.mark.parametrize("seed", range(8))
def test_the_area_below_the_points_of_sed_scores_eval(seed: int, max_fpr: float) -> None:
    from sed_scores_eval import segment_based

    data = draw_set(seed, num_clips=5, silent_seconds=7.5)
    if seed % 2:
        data = data.map_values(lambda values: np.round(values, 1))
    ours = segment_auroc(deltas_of(data), max_fpr)
    for label, area in ours.per_class.items():
        curves = segment_based.roc_curve(*inputs(data, label), segment_length=1.0)
        ratio, rate, *_ = curves[label]
        kept = rate <= max_fpr
        end = np.interp(max_fpr, rate[np.argsort(rate, kind="stable")], ratio)
        expected = np.trapezoid(np.append(ratio[kept], end), np.append(rate[kept], max_fpr)) / max_fpr
        assert area == pytest.approx(expected, abs=1e-9)


def inputs(data: ScoreSet, label: str) -> tuple[object, object, object]:
    import pandas

    frames = {
        name: pandas.DataFrame(
            {
                "onset": table.edges[:-1],
                "offset": table.edges[1:],
                label: table.values[:, table.labels.index(label)].astype(np.float64),
            }
        )
        for name, table in data.scores.items()
    }
    events = {
        name: [(e.onset, e.offset, e.event_label) for e in of_clip if e.event_label == label]
        for name, of_clip in data.ground_truth.by_audio_id().items()
    }
    return frames, events, {name.removesuffix(".wav"): seconds for name, seconds in data.durations.items()}
