"""Figures of taggers over samples of clips: each sample as its list of clips would score; intervals; paired systems."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from desed_task.metrics.bootstrap import draw_samples
from desed_task.metrics.dprime import dprime, dprimes
from desed_task.metrics.tag_ranking import mean_defined, rank_tags
from desed_task.metrics.tag_samples import SampledTags, compare_tags, interval_of_tags, sample_tags


def draw(num_clips: int, num_classes: int, noise: float, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One class per clip; the scores of two classes have many ties."""
    rng = np.random.default_rng(seed)
    present = np.zeros((num_clips, num_classes), dtype=np.bool_)
    present[np.arange(num_clips), rng.integers(num_classes, size=num_clips)] = True
    scores = present + noise * rng.normal(size=present.shape)
    scores[:, :2] = np.round(scores[:, :2])
    return scores.astype(np.float32), present


def test_every_sample_scores_as_its_list_of_clips() -> None:
    scores, present = draw(25, 8, 0.6, 0)
    weights = draw_samples(25, 40, 1)
    sampled = SampledTags(scores, present)(weights)
    undefined = 0
    for sample, counts in enumerate(weights):
        clips = np.repeat(np.arange(25), counts)
        ranking = rank_tags(scores[clips], present[clips])
        undefined += int(np.isnan(ranking.auc).sum())
        expected = {
            "map": mean_defined(ranking.average_precision),
            "mauc": mean_defined(ranking.auc),
            "dprime": dprime(mean_defined(ranking.auc)),
            "dprime_per_class_mean": mean_defined(dprimes(ranking.auc)),
            "accuracy": float((scores[clips].argmax(axis=1) == present[clips].argmax(axis=1)).mean()),
        }
        for name, value in expected.items():
            assert sampled[name][sample] == pytest.approx(value, rel=0, abs=1e-12), name
    assert undefined  # the case in which a sample lacks a class was among them


def test_accuracy_needs_one_class_per_clip() -> None:
    scores, present = draw(20, 3, 0.5, 0)
    present[0] = True
    assert "accuracy" not in SampledTags(scores, present)(draw_samples(20, 2, 0))


def test_an_interval_holds_the_figure_and_shrinks_with_more_clips() -> None:
    widths = []
    for num_clips in (50, 800):
        scores, present = draw(num_clips, 4, 1.0, 3)
        interval = interval_of_tags(scores, present, 200)["map"]
        assert interval.low is not None
        assert interval.high is not None
        assert interval.value == pytest.approx(mean_defined(rank_tags(scores, present).average_precision), abs=1e-12)
        assert interval.low < interval.value < interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] < widths[0] / 2
    assert interval_of_tags(scores, present, 0) == {}


def test_a_difference_is_paired_by_clip() -> None:
    # the same errors in both, and a little more noise in theirs: unpaired, the intervals overlap by far
    _, present = draw(300, 5, 0.0, 5)
    noise, more = (np.random.default_rng(seed).normal(size=present.shape) for seed in (0, 1))
    scores = (present + 0.9 * noise).astype(np.float32)
    worse = scores + (0.5 * more).astype(np.float32)
    apart = compare_tags([scores], [worse], present, 300)["map"]
    alone, other = (interval_of_tags(run, present, 300)["map"] for run in (scores, worse))
    assert apart.value == pytest.approx(alone.value - other.value)
    assert alone.low is not None
    assert other.high is not None
    assert alone.low < other.high
    assert apart.low is not None
    assert apart.low > 0
    assert apart.p_value is not None
    assert apart.p_value < 0.05
    none = compare_tags([scores], [scores], present, 50)["map"]
    assert (none.value, none.p_value) == (0.0, 1.0)


def test_several_runs_of_a_system_count_as_their_mean() -> None:
    first, present = draw(60, 4, 0.8, 7)
    second = first + np.random.default_rng(2).normal(size=first.shape).astype(np.float32)
    weights = draw_samples(60, 100, 0)
    runs = [SampledTags(scores, present) for scores in (first, second)]
    both, each = sample_tags(runs, weights)["map"], [sample_tags([run], weights)["map"] for run in runs]
    assert both.value == pytest.approx((each[0].value + each[1].value) / 2)
    np.testing.assert_allclose(both.sampled, (each[0].sampled + each[1].sampled) / 2, atol=1e-15)


def test_clips_of_one_recording_widen_the_interval() -> None:
    scores, present = draw(40, 4, 1.0, 9)
    fivefold, of_five = np.repeat(scores, 5, axis=0), np.repeat(present, 5, axis=0)
    groups = [str(clip // 5) for clip in range(200)]
    apart, together = (interval_of_tags(fivefold, of_five, 200, groups=by)["map"] for by in (None, groups))
    assert together.low is not None
    assert together.high is not None
    assert apart.low is not None
    assert apart.high is not None
    assert together.high - together.low > 1.5 * (apart.high - apart.low)
