"""Poolings of frames, by hand, and what PSLA's heads say of frames and clips."""

from __future__ import annotations

import math

import pytest
import torch

from desed_task.models.pooling import (
    AttentionHead,
    AttentionName,
    LinearHead,
    MeanHead,
    MultiHeadAttention,
    PoolingName,
    build_head,
    build_pooling,
    logit_of,
)

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


def test_attention_is_clamped_and_divided_by_its_sum_over_time() -> None:
    # attention .25 and .75 (logits of 1 : 3 and 3 : 1), classes .2 and .6 -> (.25 * .2 + .75 * .6) / 1 = .5
    head = AttentionHead(2, 1)
    with torch.no_grad():
        head.att.weight.copy_(torch.tensor([[[[1.0]], [[0.0]]]]))
        head.cla.weight.copy_(torch.tensor([[[[0.0]], [[1.0]]]]))
    features = torch.stack([torch.tensor([0.25, 0.75]).logit(), torch.tensor([0.2, 0.6]).logit()])[None]
    predictions = head(features)
    assert predictions.weak_probs.item() == pytest.approx(0.5, abs=1e-6)
    assert predictions.strong_probs.flatten().tolist() == pytest.approx([0.2, 0.6], abs=1e-6)


def test_the_mean_head_takes_the_mean_of_probabilities_and_not_of_logits() -> None:
    head = MeanHead(1, 1)
    torch.nn.init.ones_(head.cla.weight)
    assert head(torch.tensor([[[0.1, 0.9]]]).logit() * 2).weak_probs.item() == pytest.approx(0.5, abs=1e-6)
    assert head(torch.tensor([[[0.2, 0.6]]]).logit()).weak_probs.item() == pytest.approx(0.4, abs=1e-6)


def test_head_weights_are_free_as_published_or_sum_to_one() -> None:
    features = torch.full((1, 1, 3), 4.0)
    for softmax_heads, expected in ((False, 1.0), (True, torch.tensor(4.0).sigmoid().item())):
        head = MultiHeadAttention(1, 1, num_heads=2, softmax_heads=softmax_heads)
        with torch.no_grad():
            for name, value in head.named_parameters():
                if name.startswith("cla"):
                    value.fill_(float(name.endswith("weight")))
            head.head_weight.copy_(torch.tensor([0.9, 0.6]))
        predictions = head(features)
        assert predictions.weak_probs.item() == pytest.approx(expected, abs=1e-6)
        assert predictions.strong_probs[0, 2, 0].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("num_heads", "names"),
    [
        (0, {"cla.weight", "cla.bias"}),
        (1, {"att.weight", "att.bias", "cla.weight", "cla.bias"}),
        (4, {"head_weight"} | {f"{a}.{h}.{p}" for a in ("att", "cla") for h in range(4) for p in ("weight", "bias")}),
    ],
)
def test_heads_bear_the_published_names(num_heads: int, names: set[str]) -> None:
    shapes = {name: tuple(value.shape) for name, value in build_head(num_heads, 6, 3).state_dict().items()}
    assert shapes.keys() == names
    assert {shape for name, shape in shapes.items() if name.endswith(".weight")} == {(3, 6, 1, 1)}


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "relu", "linear"])
@pytest.mark.parametrize("num_heads", [1, 4])
def test_a_clip_lies_between_its_least_and_its_greatest_frame(num_heads: int, activation: AttentionName) -> None:
    torch.manual_seed(0)
    predictions = build_head(num_heads, 6, 3, activation, softmax_heads=True)(torch.randn(4, 6, 9))
    assert predictions.strong_logits.shape == (4, 9, 3)
    if num_heads == 1:
        assert (predictions.weak_logits >= predictions.strong_logits.amin(dim=1) - 1e-5).all()
        assert (predictions.weak_logits <= predictions.strong_logits.amax(dim=1) + 1e-5).all()
    assert ((predictions.weak_probs > 0) & (predictions.weak_probs < 1)).all()


def test_scores_are_float32_in_mixed_precision() -> None:
    features = torch.randn(2, 6, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        heads = (LinearHead(6, 3), *(build_head(num_heads, 6, 3) for num_heads in (0, 1, 4)))
        predictions = [head(features.bfloat16()) for head in heads]
    assert {each.weak_logits.dtype for each in predictions} == {torch.float32}
