"""The CRNN against the published network: its size, its parameter names and shapes, and what it computes.

The computation is compared with one written out here from the description, layer by layer and without the layers'
classes: it knows state dict names only.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from desed_task.batch import Inputs
from desed_task.models.blocks import GLU, ContextGating
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.tagger import InputShape

# Channels of the seven published blocks, before and after.
CHANNELS = (1, 16, 32, 64, 128, 128, 128, 128)
CELLS, CLASSES = 128, 10

SMALL: dict[str, Any] = {"nb_filters": (3, 4), "pooling": ((2, 2), (1, 2)), "n_rnn_cell": 5}


def published_table() -> dict[str, tuple[int, ...]]:
    """Name and shape of every entry of a published checkpoint's `sed_student`."""
    table: dict[str, tuple[int, ...]] = {}
    for block, (before, after) in enumerate(pairwise(CHANNELS)):
        table[f"cnn.cnn.conv{block}.weight"] = (after, before, 3, 3)
        table[f"cnn.cnn.conv{block}.bias"] = (after,)
        for name in ("weight", "bias", "running_mean", "running_var"):
            table[f"cnn.cnn.batchnorm{block}.{name}"] = (after,)
        table[f"cnn.cnn.batchnorm{block}.num_batches_tracked"] = ()
        table[f"cnn.cnn.glu{block}.linear.weight"] = (after, after)
        table[f"cnn.cnn.glu{block}.linear.bias"] = (after,)
    for layer, heard in ((0, 128), (1, 2 * CELLS)):
        for direction in ("", "_reverse"):
            table[f"rnn.rnn.weight_ih_l{layer}{direction}"] = (3 * CELLS, heard)
            table[f"rnn.rnn.weight_hh_l{layer}{direction}"] = (3 * CELLS, CELLS)
            table[f"rnn.rnn.bias_ih_l{layer}{direction}"] = (3 * CELLS,)
            table[f"rnn.rnn.bias_hh_l{layer}{direction}"] = (3 * CELLS,)
    for head in ("dense", "dense_softmax"):
        table[f"{head}.weight"] = (CLASSES, 2 * CELLS)
        table[f"{head}.bias"] = (CLASSES,)
    return table


def random_weights(table: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in table.items()}
    variances = {name: values.abs() + 0.5 for name, values in weights.items() if name.endswith("running_var")}
    counts = {name: torch.tensor(7) for name in weights if name.endswith("num_batches_tracked")}
    return weights | variances | counts


def small_model(seed: int = 0, **options: Any) -> CRNN:
    torch.manual_seed(seed)
    return CRNN(CRNNOptions(**{**SMALL, **options}), InputShape(0, 8), 3)


def mel(batch: int = 2, mel_frames: int = 13, bands: int = 8) -> Inputs:
    return Inputs(torch.rand(batch, mel_frames, bands, generator=torch.Generator().manual_seed(1)))


@pytest.fixture(scope="module")
def baseline() -> CRNN:
    return CRNN(CRNNOptions(), InputShape(626, 128), CLASSES).eval()


def test_the_baseline_has_1_112_420_parameters(baseline: CRNN) -> None:
    assert sum(parameter.numel() for parameter in baseline.parameters()) == 1_112_420


def test_ten_seconds_are_156_frames_of_ten_classes(baseline: CRNN) -> None:
    with torch.inference_mode():
        predictions = baseline(mel(1, 626, 128))
    assert predictions.strong_logits is not None
    assert predictions.strong_logits.shape == (1, 156, 10)
    assert predictions.weak_logits.shape == (1, 10)


def test_a_published_checkpoint_loads_by_name(baseline: CRNN) -> None:
    table = published_table()
    assert {name: tuple(values.shape) for name, values in baseline.state_dict().items()} == table
    model = CRNN(CRNNOptions(), InputShape(626, 128), CLASSES)
    weights = random_weights(table)
    model.load_state_dict(weights, strict=True)
    torch.testing.assert_close(model.cnn.cnn.glu3.linear.weight, weights["cnn.cnn.glu3.linear.weight"])
    torch.testing.assert_close(model.rnn.rnn.weight_hh_l1_reverse, weights["rnn.rnn.weight_hh_l1_reverse"])


def gru_direction(x: Tensor, weights: Mapping[str, Tensor], suffix: str, reverse: bool) -> Tensor:
    """One direction of one GRU layer, step by step: (frames, features) -> (frames, cells)."""
    w_ih, w_hh = weights[f"rnn.rnn.weight_ih_{suffix}"], weights[f"rnn.rnn.weight_hh_{suffix}"]
    b_ih, b_hh = weights[f"rnn.rnn.bias_ih_{suffix}"], weights[f"rnn.rnn.bias_hh_{suffix}"]
    state = torch.zeros(w_hh.shape[1])
    states = []
    for frame in x.flip(0) if reverse else x:
        heard, remembered = (w_ih @ frame + b_ih).chunk(3), (w_hh @ state + b_hh).chunk(3)
        reset, update = torch.sigmoid(heard[0] + remembered[0]), torch.sigmoid(heard[1] + remembered[1])
        new = torch.tanh(heard[2] + reset * remembered[2])
        state = (1 - update) * new + update * state
        states.append(state)
    output = torch.stack(states)
    return output.flip(0) if reverse else output


def plain_forward(
    weights: Mapping[str, Tensor], clip: Tensor, pooling: tuple[tuple[int, int], ...]
) -> tuple[Tensor, Tensor]:
    """One clip (mel_frames, mel_bands) -> strong (frames, classes) and weak (classes,) probabilities, as published."""
    x = clip[None]
    for block, (time, frequency) in enumerate(pooling):
        kernels, bias = weights[f"cnn.cnn.conv{block}.weight"], weights[f"cnn.cnn.conv{block}.bias"]
        x = functional.conv2d(x[None], kernels, bias, padding=1)[0]
        norm = {
            name: weights[f"cnn.cnn.batchnorm{block}.{name}"][:, None, None]
            for name in ("weight", "bias", "running_mean", "running_var")
        }
        x = (x - norm["running_mean"]) / torch.sqrt(norm["running_var"] + 1e-3) * norm["weight"] + norm["bias"]
        linear = torch.einsum("oc,ctf->otf", weights[f"cnn.cnn.glu{block}.linear.weight"], x)
        x = (linear + weights[f"cnn.cnn.glu{block}.linear.bias"][:, None, None]) * torch.sigmoid(x)
        channels, frames, bands = x.shape[0], x.shape[1] // time, x.shape[2] // frequency
        x = (
            x[:, : frames * time, : bands * frequency]
            .reshape(channels, frames, time, bands, frequency)
            .mean(dim=(2, 4))
        )
    x = x.permute(1, 0, 2).reshape(x.shape[1], -1)  # per frame: channel by channel, its bands inside
    for layer in (0, 1):
        x = torch.cat(
            [gru_direction(x, weights, f"l{layer}", False), gru_direction(x, weights, f"l{layer}_reverse", True)], dim=1
        )
    strong = torch.sigmoid(x @ weights["dense.weight"].T + weights["dense.bias"])
    over_classes = torch.exp(x @ weights["dense_softmax.weight"].T + weights["dense_softmax.bias"])
    attention = (over_classes / over_classes.sum(dim=1, keepdim=True)).clamp(1e-7, 1.0)
    return strong, (strong * attention).sum(dim=0) / attention.sum(dim=0)


@torch.no_grad()
def test_it_computes_what_the_description_says() -> None:
    model = small_model()
    model(mel(8))  # gives the batch norms statistics that are not 0 and 1
    model.eval()
    inputs = mel(2)
    predictions = model(inputs)
    for clip in range(2):
        strong, weak = plain_forward(model.state_dict(), inputs.mel[clip], SMALL["pooling"])
        assert strong.shape == (6, 3)  # 13 mel frames, pooled by 2
        torch.testing.assert_close(predictions.strong_probs[clip], strong, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(predictions.weak_probs[clip], weak, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_bands_left_after_the_pooling_are_kept_apart() -> None:
    model = small_model(pooling=((1, 2), (1, 2))).eval()
    strong, _ = plain_forward(model.state_dict(), mel(1).mel[0], ((1, 2), (1, 2)))
    torch.testing.assert_close(model(mel(1)).strong_probs[0], strong, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_glu_gates_with_its_input_and_context_gating_with_its_map() -> None:
    x = torch.tensor([[[[2.0]], [[-1.0]]]])  # one clip, two channels, one frame, one band
    for gate in (GLU(2), ContextGating(2)):
        gate.linear.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, 3.0]]))
        gate.linear.bias.copy_(torch.tensor([0.0, 1.0]))
        mapped = torch.tensor([1.0, -2.0])  # 2 - 1 + 0, -3 + 1
        heard = torch.tensor([2.0, -1.0])
        expected = mapped * torch.sigmoid(heard) if isinstance(gate, GLU) else heard * torch.sigmoid(mapped)
        torch.testing.assert_close(gate(x).flatten(), expected)


@torch.no_grad()
def test_without_attention_a_clip_is_the_mean_of_its_frames() -> None:
    model = small_model(attention=False).eval()
    predictions = model(mel())
    assert not hasattr(model, "dense_softmax")
    torch.testing.assert_close(predictions.weak_probs, predictions.strong_probs.mean(dim=1))


@torch.no_grad()
def test_evaluation_is_deterministic_and_training_is_not() -> None:
    model = small_model(dropout=0.5)
    assert not torch.equal(model(mel()).weak_logits, model(mel()).weak_logits)
    model.eval()
    assert torch.equal(model(mel()).weak_logits, model(mel()).weak_logits)


@torch.no_grad()
def test_a_clip_does_not_hear_its_neighbours_in_the_batch() -> None:
    model = small_model().eval()
    together = model(mel(2)).strong_probs
    alone = model(Inputs(mel(2).mel[1:])).strong_probs
    torch.testing.assert_close(alone[0], together[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["glu", "cg", "relu", "leakyrelu"])
def test_gradient_reaches_every_parameter(activation: str) -> None:
    model = small_model(activation=activation, dropout=0.0)
    predictions = model(mel(4))
    (predictions.strong_probs.sum() + predictions.weak_probs.square().sum()).backward()
    # A bias before a batch norm moves nothing; rounding leaves it a gradient that is only nearly 0.
    still = [
        name for name, values in model.named_parameters() if values.grad is None or not values.grad.abs().sum() > 0
    ]
    assert still == []


def test_gradient_stays_finite_when_the_clip_scores_saturate() -> None:
    model = small_model(dropout=0.0)
    with torch.no_grad():
        model.dense.bias.fill_(60.0)
    predictions = model(mel())
    predictions.weak_logits.sum().backward()
    assert torch.isfinite(predictions.weak_logits).all()
    assert all(torch.isfinite(values.grad).all() for values in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nb_filters": (4,)}, "nb_filters has 1 entries and pooling 2"),
        ({"nb_filters": (), "pooling": ()}, "at least 1 item"),
        ({"nb_filters": (4, 0)}, "greater than or equal to 1"),
        ({"pooling": ((1, 2), (0, 2))}, "greater than or equal to 1"),
        ({"kernel_size": 4}, "kernel_size 4 is even"),
        ({"rnn_layers": 1, "dropout_recurrent": 0.2}, "dropout_recurrent acts between GRU layers"),
        ({"rnn_type": "BGRU"}, "Extra inputs are not permitted"),
    ],
)
def test_contradictory_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CRNNOptions(**{**SMALL, **options})


def test_pooling_all_bands_away_is_refused() -> None:
    with pytest.raises(ValueError, match=r"leaves nothing of features\.n_mels 2"):
        CRNN(CRNNOptions(**SMALL), InputShape(0, 2), 3)
