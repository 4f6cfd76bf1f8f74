"""Poolings of frames and the linear head, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from desed_task.models.pooling import LinearHead, PoolingName, build_pooling, logit_of

# One clip, two frames, one class.
PROBS = torch.tensor([[[0.2], [0.6]]])
EXP = (0.2 * math.exp(0.2) + 0.6 * math.exp(0.6)) / (math.exp(0.2) + math.exp(0.6))


@pytest.mark.parametrize(
    ("name", "pooled"), [("max", 0.6), ("ave", 0.4), ("lin", (0.04 + 0.36) / 0.8), ("exp", EXP), ("att", 0.5)]
)
def test_a_pooling_weighs_its_frames(name: PoolingName, pooled: float) -> None:
    one_to_three = torch.tensor([[[0.0], [math.log(3.0)]]])
    assert build_pooling(name)(PROBS, one_to_three).item() == pytest.approx(pooled, abs=1e-6)


@pytest.mark.parametrize("name", ["max", "ave", "lin", "exp", "att"])
def test_silence_pools_to_silence(name: PoolingName) -> None:
    silence = torch.zeros(2, 5, 3)
    assert torch.equal(build_pooling(name)(silence, torch.randn(2, 5, 3)), torch.zeros(2, 3))


def test_certainty_has_a_logit() -> None:
    logits = logit_of(torch.tensor([0.0, 0.5, 1.0, 1.3]))
    assert logits.isfinite().all()
    assert logits[1] == 0
    assert logits[2] == logits[3] > 15


def test_a_linear_layer_scores_frames_and_their_mean() -> None:
    head = LinearHead(2, 1)
    torch.nn.init.ones_(head.weight)
    torch.nn.init.zeros_(head.bias)
    predictions = head(torch.tensor([[[1.0, 3.0], [0.0, 2.0]]]))
    assert predictions.strong_probs.logit().flatten().tolist() == pytest.approx([1.0, 5.0], abs=1e-4)
    assert predictions.weak_logits.item() == 3.0


def test_scores_are_float32_in_mixed_precision() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = LinearHead(6, 3)(torch.randn(2, 6, 5).bfloat16())
    assert predictions.weak_logits.dtype == torch.float32
