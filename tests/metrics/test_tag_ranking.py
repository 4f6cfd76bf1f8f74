"""Average precision, AUC and d': by pencil, against scikit-learn and scipy, and the figures that were published."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from desed_task.metrics.dprime import dprime, dprimes
from desed_task.metrics.tag_ranking import TagRanking, mean_defined, rank_tags


def rank_one(scores: list[float], holds: str) -> TagRanking:
    """One class; `holds`: x for a clip that holds it."""
    present = np.array([mark == "x" for mark in holds])
    return rank_tags(np.array(scores, dtype=np.float32)[:, None], present[:, None])


def test_figures_of_a_short_list() -> None:
    # score      .9   .8   .7   .6   .5
    # holds      x    -    x    -    -
    # precision  1/1       2/3
    ranking = rank_one([0.9, 0.8, 0.7, 0.6, 0.5], "x-x--")
    assert ranking.average_precision[0] == pytest.approx((1 + 2 / 3) / 2)
    assert ranking.auc[0] == pytest.approx(5 / 6)  # of six pairs .7 < .8 alone stands wrong


def test_clips_of_one_score_enter_the_list_together_in_any_order() -> None:
    # score      .9   .5 .5 .5   .1
    # holds      -    x  -  x    -
    for holds in ("-x-x-", "-xx--", "--xx-"):
        ranking = rank_one([0.9, 0.5, 0.5, 0.5, 0.1], holds)
        assert ranking.average_precision[0] == pytest.approx(2 / 4)
        assert ranking.auc[0] == pytest.approx((2 * (0 + 0.5 + 1)) / 6)


def test_a_class_that_no_clip_or_every_clip_holds_is_left_out() -> None:
    scores = np.array([[0.9, 0.1, 0.2], [0.1, 0.9, 0.3]], dtype=np.float32)
    ranking = rank_tags(scores, np.array([[True, False, True], [False, False, True]]))
    np.testing.assert_array_equal(ranking.average_precision, [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(ranking.auc, [1.0, np.nan, np.nan])
    assert mean_defined(ranking.auc) == 1.0
    assert np.isnan(mean_defined(np.array([np.nan])))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decimals", [1, 2, 12], ids=["many ties", "some ties", "no ties"])
def test_equal_to_scikit_learn(dtype: type[np.floating], decimals: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(decimals)
    present = rng.random((400, 30)) < np.linspace(0.003, 0.99, 30)
    scores = np.round(rng.random((400, 30)) + 0.2 * present * rng.random((400, 30)), decimals).astype(dtype)
    ranking = rank_tags(scores, present)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes without positives
        precisions = [metrics.average_precision_score(*column) for column in zip(present.T, scores.T, strict=True)]
        areas = [metrics.roc_auc_score(*column) for column in zip(present.T, scores.T, strict=True)]
    defined = (present.sum(axis=0) > 0) & ~present.all(axis=0)
    assert defined.sum() > 25
    np.testing.assert_array_equal(np.isnan(ranking.auc), ~defined)
    np.testing.assert_allclose(ranking.average_precision[defined], np.array(precisions)[defined], rtol=0, atol=1e-12)
    np.testing.assert_allclose(ranking.auc[defined], np.array(areas)[defined], rtol=0, atol=1e-12)


def test_steps_say_where_the_positives_stand() -> None:
    ranking = rank_one([0.9, 0.5, 0.5, 0.5, 0.1], "xx--x")
    np.testing.assert_allclose(ranking.score, [0.9, 0.5, 0.1], rtol=1e-6)
    np.testing.assert_allclose(ranking.below, [0.5, 0.1, -np.inf], rtol=1e-6)
    assert ranking.found.tolist() == [1, 2, 3]
    assert ranking.listed.tolist() == [1, 4, 5]
    assert ranking.above.tolist() == [0, 1, 4]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        rank_one([0.9, bad, 0.1], "x--")


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="must both be"):
        rank_tags(np.zeros((3, 2), np.float32), np.zeros((2, 3), np.bool_))


# The mean AUC and the d' beside it in PSLA's and AST's logs, whose AUC is rounded to six digits: half of the last is
# 1.6e-5 of d' there. The two means of whole runs are exact.
PUBLISHED = [
    (0.974047, 2.749102, 1.6e-5),
    (0.978222, 2.854353, 1.6e-5),
    (0.981043, 2.935611, 1.6e-5),
    (0.961183, 2.495504, 1.6e-5),
    (0.980985, 2.933840, 1.6e-5),
    (0.97358131700829, 2.7382678143739736, 1e-12),
    (0.9496448746251815, 2.321318495830154, 1e-12),
]


@pytest.mark.parametrize(("auc", "published", "tolerance"), PUBLISHED)
def test_published_pairs_of_auc_and_dprime(auc: float, published: float, tolerance: float) -> None:
    assert dprime(auc) == pytest.approx(published, rel=0, abs=tolerance)


def test_dprime_equals_scipys_quantile() -> None:
    special = pytest.importorskip("scipy.special")
    areas: NDArray[np.float64] = np.concatenate((np.linspace(0.001, 0.999, 999), [1e-9, 1 - 1e-9]))
    np.testing.assert_allclose(dprimes(areas), np.sqrt(2) * special.ndtri(areas), rtol=0, atol=1e-12)


def test_dprime_of_guessing_is_0_and_of_perfection_undefined() -> None:
    assert dprime(0.5) == 0.0
    np.testing.assert_array_equal(dprimes(np.array([[0.0, 1.0], [np.nan, 0.5]])), [[np.nan, np.nan], [np.nan, 0.0]])
