"""Clip pooling: windows one after the other, or all at once, and no exponent overflows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desed_task.clip_pooling import ClipPool, MaxPool, MeanPool, SoftPool, SoftSums, logits_of, soft_mean

POOLS: list[Callable[[], ClipPool]] = [MaxPool, MeanPool, *(lambda e=e: SoftPool(e) for e in (0.0, 1.5, 200.0, -3.0))]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.sampled_from(range(len(POOLS))))
def test_windows_in_batches_are_pooled_as_at_once(num_windows: int, batches: list[int], which: int) -> None:
    probs = np.random.default_rng(num_windows).random((num_windows, 4)) ** 8
    whole, bit_by_bit = POOLS[which](), POOLS[which]()
    whole.add(probs)
    edges = np.minimum(np.cumsum([0, *batches]), num_windows)
    for first, last in zip([*edges], [*edges[1:], num_windows], strict=True):
        if last > first:
            bit_by_bit.add(probs[first:last])
    np.testing.assert_allclose(bit_by_bit.pooled(), whole.pooled(), rtol=1e-6)
    assert whole.pooled().dtype == np.float32


def test_soft_is_the_weighted_mean_of_logits() -> None:
    probs = np.array([[0.2], [0.9]])
    logits = logits_of(probs)
    weights = np.exp(1.5 * logits) / np.exp(1.5 * logits).sum()
    pool = SoftPool(1.5)
    pool.add(probs)
    assert pool.pooled()[0] == pytest.approx(1 / (1 + np.exp(-(weights * logits).sum())), rel=1e-6)


@pytest.mark.parametrize("logits", [[-800.0, 800.0], [800.0, -800.0], [0.0, 0.0]])
def test_far_apart_logits_overflow_in_no_order(logits: list[float]) -> None:
    sums = SoftSums(8.0)
    for logit in logits:
        sums.add(np.array([[logit]]))
    assert sums.mean()[0] == pytest.approx(max(logits))
    assert soft_mean(np.array(logits)[:, None], 8.0)[0] == pytest.approx(max(logits))
