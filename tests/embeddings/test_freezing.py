"""Frozen networks of every kind, recurrent ones too: they say the same, hold no parameter, and can be copied."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from desed_task.batch import Inputs
from desed_task.embeddings.embedder import freeze
from desed_task.models.tagger import InputShape
from desed_task.variants import MODELS, Model

MEL_FRAMES, BANDS = 64, {"fsd50k_crnn": 96}
KINDS = {
    "cnn14": {"width": 0.02},
    "ast": {"model_size": "tiny224", "depth": 1},
    "fsd50k_crnn": {},
    "tal": {"embedding_size": 64},
    "resnet_attention": {},
    "crnn": {"nb_filters": [4, 8], "pooling": [[2, 8], [2, 8]], "n_rnn_cell": 4, "dropout_recurrent": 0.3},
}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    options = TypeAdapter(Model).validate_python({"name": name, **KINDS[name]})
    return MODELS[name](options, InputShape(MEL_FRAMES, BANDS.get(name, 64)), 4)


def heard_by(name: str) -> Inputs:
    return Inputs(torch.randn(2, MEL_FRAMES, BANDS.get(name, 64), generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize("name", KINDS)
def test_a_frozen_network_says_the_same_and_has_no_parameter(name: str) -> None:
    network = build(name).eval()
    heard = heard_by(name)
    with torch.no_grad():
        expected = network(heard).weak_logits
    freeze(network.train())
    gc.collect()
    said = network(heard).weak_logits  # with gradients allowed: there is nothing that wants any
    torch.testing.assert_close(said, expected)
    assert not said.requires_grad
    assert list(network.parameters()) == [] and network.state_dict() == {}
    assert not any(part.training for part in network.modules())


@pytest.mark.parametrize("name", ["ast", "fsd50k_crnn", "tal", "crnn"])
def test_its_copy_is_as_good_and_moves_on_its_own(name: str) -> None:
    """A recurrent layer must take the weights that were moved, not those that it began with."""
    network, heard = build(name), heard_by(name)
    freeze(network)
    expected = network(heard).weak_logits
    other = copy.deepcopy(network)
    torch.testing.assert_close(other(heard).weak_logits, expected)
    other.to(torch.float64)
    said = other(Inputs(heard.mel.double())).weak_logits
    torch.testing.assert_close(said.float(), expected, rtol=1e-3, atol=1e-4)
    for buffer in other.buffers():
        if buffer.is_floating_point():
            buffer.zero_()
    assert torch.equal(network(heard).weak_logits, expected)


@pytest.mark.parametrize("name", ["fsd50k_crnn", "crnn"])
def test_weights_of_a_recurrent_layer_are_kept_once(name: str) -> None:
    network = build(name)
    freeze(network)
    network(heard_by(name))
    layer = next(part for part in network.modules() if isinstance(part, nn.RNNBase))
    assert all(
        kept is layer.get_buffer(of) for kept, of in zip(layer._flat_weights, layer._flat_weights_names, strict=True)
    )
