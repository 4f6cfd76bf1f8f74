"""Parts that an embedding does not need are left out, and nothing that is said changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fused_systems import AST, CNN14, RATE, SECONDS, write_weights
from torch import nn

from desed_task.batch import Inputs
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import NetworkOptions
from desed_task.embeddings.ears import Ears
from desed_task.embeddings.embedder import Network
from desed_task.embeddings.pruning import LeftOut, parameters_in_use, prune
from desed_task.errors import CheckpointError
from desed_task.features.logmel import LogMel, LogMelOptions
from desed_task.models.cnn14 import Cnn14, Cnn14Options
from desed_task.models.tagger import InputShape
from desed_task.options import check_options

CASES = [
    (embedder, output)
    for embedder, outputs in (
        (CNN14, ("frame", "segments", "clip")),
        (AST, ("frame", "tokens", "global")),
    )
    for output in outputs
]


def network_of(output: str) -> Network:
    torch.manual_seed(0)
    return Network(Cnn14(Cnn14Options(width=0.05), InputShape(100, 64), 5), output)


HEARD = torch.randn(2, 96, 64, generator=torch.Generator().manual_seed(1))


def test_of_cnn14_frame_needs_the_batch_norm_and_three_blocks() -> None:
    in_use = parameters_in_use(network_of("frame"), HEARD)
    assert {name.split(".")[1] for name in in_use} == {"bn0", "conv_block1", "conv_block2", "conv_block3"}
    network = prune(network_of("frame"), in_use)
    left_out = [name for name, part in network.network.named_children() if isinstance(part, LeftOut)]
    assert left_out == ["conv_block4", "conv_block5", "conv_block6", "fc1", "fc_audioset"]
    assert {name for name, _ in network.named_parameters()} == in_use


def test_another_embedding_of_what_is_left_is_refused() -> None:
    network = prune(network_of("frame"), parameters_in_use(network_of("frame"), HEARD))
    with pytest.raises(RuntimeError, match="left out"):
        network.network.embed(Inputs(HEARD), "segments")


def test_a_single_parameter_without_use_no_longer_learns() -> None:
    """Beside one in use it cannot be left out with its part."""

    class Half(nn.Module):
        EMBEDDINGS = ("frame",)

        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))

        def embedding_form(self, output: str) -> object:
            return None

        def embed(self, inputs: Inputs, output: str) -> torch.Tensor:
            return inputs.mel * self.used

    network = Network(Half(), "frame")
    network.form = network.form or Network(network_of("frame").network, "frame").form
    prune(network, parameters_in_use(network, torch.ones(1, 2, 3)))
    assert {name: parameter.requires_grad for name, parameter in network.named_parameters()} == {
        "network.used": True,
        "network.idle": False,
    }


@pytest.mark.parametrize(("embedder", "output"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_it_says_what_the_whole_network_says(tmp_path: Path, embedder: dict[str, object], output: str) -> None:
    weights = write_weights(tmp_path / "w.pt", {**embedder, "output": output})
    options = check_options({**embedder, "output": output, "weights": str(weights)}, NetworkOptions)
    built = BuiltEmbedder(options, RATE, SECONDS)
    waveform = 0.1 * torch.randn(2, round(SECONDS * RATE), generator=torch.Generator().manual_seed(2))
    whole = built.trained_network().eval()
    with torch.no_grad():
        expected = whole(built.hearing()(waveform)).values
    frozen = built.embedder()
    assert torch.equal(frozen(waveform).values, expected)
    assert sum(b.numel() for b in frozen.network.buffers()) <= sum(
        t.numel() for t in (*whole.parameters(), *whole.buffers())
    )
    learner = built.learner()
    assert all(parameter.requires_grad for parameter in learner.parameters())
    learner.eval()(built.hearing()(waveform)).values.sum().backward()
    assert all(parameter.grad is not None for parameter in learner.parameters())


def test_a_mode_that_needs_weights_says_so() -> None:
    options = check_options(dict(CNN14), NetworkOptions)
    with pytest.raises(CheckpointError, match="no weights are named for network"):
        BuiltEmbedder(options, RATE, SECONDS).embedder()


def test_made_where_one_only_listens_it_can_be_heard_in_a_training(tmp_path: Path) -> None:
    """Tensors that are made in inference mode stay out of autograd for ever."""
    weights = write_weights(tmp_path / "w.pt", CNN14)
    built = BuiltEmbedder(check_options({**CNN14, "weights": str(weights)}, NetworkOptions), RATE, SECONDS)
    with torch.inference_mode():
        ears = Ears(LogMel(LogMelOptions(n_mels=16)), spare={"e": built.embedder})
        ears(torch.zeros(1, round(SECONDS * RATE)))
    heard = ears(torch.zeros(1, round(SECONDS * RATE))).embeddings["e"].values
    factor = torch.ones(1, requires_grad=True)
    (factor * heard).sum().backward()
    assert factor.grad is not None
