"""PSLA's heads: what they say of frames and clips, by hand."""

from __future__ import annotations

import pytest
import torch

from desed_task.models.psla_heads import Activation, PslaHeadOptions


def test_attention_is_clamped_and_divided_by_its_sum_over_time() -> None:
    # attention .25 and .75 (logits of 1 : 3 and 3 : 1), classes .2 and .6 -> (.25 * .2 + .75 * .6) / 1 = .5
    head = PslaHeadOptions(att_head=1).build_psla_head(2, 1)
    with torch.no_grad():
        head.att.weight.copy_(torch.tensor([[[[1.0]], [[0.0]]]]))
        head.cla.weight.copy_(torch.tensor([[[[0.0]], [[1.0]]]]))
    features = torch.stack([torch.tensor([0.25, 0.75]).logit(), torch.tensor([0.2, 0.6]).logit()])[None]
    predictions = head(features)
    assert predictions.weak_probs.item() == pytest.approx(0.5, abs=1e-6)
    assert predictions.strong_probs.flatten().tolist() == pytest.approx([0.2, 0.6], abs=1e-6)


def test_the_mean_head_takes_the_mean_of_probabilities_and_not_of_logits() -> None:
    head = PslaHeadOptions(att_head=0).build_psla_head(1, 1)
    torch.nn.init.ones_(head.cla.weight)
    assert head(torch.tensor([[[0.1, 0.9]]]).logit() * 2).weak_probs.item() == pytest.approx(0.5, abs=1e-6)
    assert head(torch.tensor([[[0.2, 0.6]]]).logit()).weak_probs.item() == pytest.approx(0.4, abs=1e-6)


def test_head_weights_are_free_as_published_or_sum_to_one() -> None:
    features = torch.full((1, 1, 3), 4.0)
    for softmax_heads, expected in ((False, 1.0), (True, torch.tensor(4.0).sigmoid().item())):
        head = PslaHeadOptions(att_head=2, softmax_heads=softmax_heads).build_psla_head(1, 1)
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
    shapes = {
        name: tuple(value.shape)
        for name, value in PslaHeadOptions(att_head=num_heads).build_psla_head(6, 3).state_dict().items()
    }
    assert shapes.keys() == names
    assert {shape for name, shape in shapes.items() if name.endswith(".weight")} == {(3, 6, 1, 1)}


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "relu", "linear"])
@pytest.mark.parametrize("num_heads", [1, 4])
def test_a_clip_lies_between_its_least_and_its_greatest_frame(num_heads: int, activation: Activation) -> None:
    torch.manual_seed(0)
    options = PslaHeadOptions(att_head=num_heads, att_activation=activation, softmax_heads=True)
    predictions = options.build_psla_head(6, 3)(torch.randn(4, 6, 9))
    assert predictions.strong_logits.shape == (4, 9, 3)
    if num_heads == 1:
        assert (predictions.weak_logits >= predictions.strong_logits.amin(dim=1) - 1e-5).all()
        assert (predictions.weak_logits <= predictions.strong_logits.amax(dim=1) + 1e-5).all()
    assert ((predictions.weak_probs > 0) & (predictions.weak_probs < 1)).all()


@pytest.mark.parametrize("num_heads", [1, 2])
def test_classes_may_compete_for_a_frame_as_in_audio_tagging_done_right(num_heads: int) -> None:
    torch.manual_seed(0)
    head = PslaHeadOptions(att_head=num_heads, att_activation="softmax", cla_activation="softmax").build_psla_head(6, 3)
    predictions = head(torch.randn(4, 6, 9))
    torch.testing.assert_close(predictions.strong_probs.sum(dim=-1), torch.ones(4, 9))
    assert (predictions.weak_probs <= predictions.strong_probs.amax(dim=1) + 1e-5).all()


def test_frames_of_one_head_are_as_sure_as_its_logits() -> None:
    head = PslaHeadOptions(att_head=1).build_psla_head(1, 1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.fill_(1.0)
    assert head(torch.full((1, 1, 2), 99.0)).strong_logits.flatten().tolist() == [100.0, 100.0]


@pytest.mark.parametrize("num_heads", [0, 1, 4])
def test_scores_are_float32_in_mixed_precision(num_heads: int) -> None:
    head = PslaHeadOptions(att_head=num_heads).build_psla_head(6, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = head(torch.randn(2, 6, 5).bfloat16())
    assert predictions.weak_logits.dtype == predictions.strong_logits.dtype == torch.float32
