"""Embeddings of every family of models: as wide, as often and at the very times that their forms say."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from desed_task.batch import Embedding, Inputs
from desed_task.embeddings.embedder import Embedder, Hearing, MelClock, Network, shape_heard
from desed_task.embeddings.pruning import parameters_in_use, prune
from desed_task.features.frontend import StagedFrontend
from desed_task.models.ast import AST, ASTOptions
from desed_task.models.cifar_resnet import CifarResNet, CifarResNetOptions
from desed_task.models.cnn14 import Cnn14, Cnn14Options
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.densenet import DenseNet, DenseNetOptions
from desed_task.models.efficientnet import EfficientNet, EfficientNetOptions
from desed_task.models.embedding import Embeds
from desed_task.models.fsd50k_crnn import Fsd50kCRNN, Fsd50kCRNNOptions
from desed_task.models.mobilenet import MobileNet, MobileNetOptions
from desed_task.models.resnet import ResNet, ResNetAttention, ResNetAttentionOptions, ResNetOptions
from desed_task.models.tagger import InputShape
from desed_task.models.talnet import TALNet, TALNetOptions, TALTrans, TALTransOptions
from desed_task.models.transformer import Linear, LinearOptions, Transformer, TransformerOptions
from desed_task.models.vgglike import VGGLike, VGGLikeOptions
from desed_task.onnx_runtime import onnxruntime
from desed_task.variants import MODELS

BANDS, MEL_FRAMES, CLASSES = 64, 320, 3
TAL: dict[str, Any] = {"embedding_size": 32, "n_conv_layers": 4, "n_pool_layers": 2}
SMALL: dict[str, tuple[Callable[..., nn.Module], Any]] = {
    "crnn": (CRNN, CRNNOptions(nb_filters=(8, 8, 8), pooling=((2, 4), (2, 4), (1, 4)), n_rnn_cell=8)),
    "vgglike": (VGGLike, VGGLikeOptions(width=4)),
    "fsd50k_crnn": (
        Fsd50kCRNN,
        Fsd50kCRNNOptions(nb_filters=(4, 8, 8), pooling=((2, 3), (2, 3), (2, 2)), n_rnn_cell=8),
    ),
    "resnet": (ResNet, ResNetOptions(depth=10, width=8)),
    "resnet, bottlenecks": (ResNet, ResNetOptions(depth=50, width=4)),
    "resnet_attention": (ResNetAttention, ResNetAttentionOptions(depth=10, width=8)),
    "cifar_resnet": (CifarResNet, CifarResNetOptions(depth=8, width=4)),
    "densenet": (DenseNet, DenseNetOptions(blocks=(2, 2, 2, 2), growth_rate=4, width=8)),
    "densenet, one block": (DenseNet, DenseNetOptions(blocks=(2,), growth_rate=4, width=8)),
    "efficientnet": (EfficientNet, EfficientNetOptions(eff_b=0, width=0.25, depth=0.25)),
    "efficientnet, linear": (
        EfficientNet,
        EfficientNetOptions(eff_b=2, width=0.25, depth=0.25, head="linear", image_size=221),
    ),
    "mobilenet": (MobileNet, MobileNetOptions(width=0.3)),
    "cnn14": (Cnn14, Cnn14Options(width=0.05)),
    "cnn6": (Cnn14, Cnn14Options(architecture="cnn6", width=0.06)),
    "ast": (AST, ASTOptions(model_size="tiny224", depth=2)),
    "tal": (TALNet, TALNetOptions(**TAL)),
    "taltrans": (TALTrans, TALTransOptions(**TAL)),
    "linear": (Linear, LinearOptions(hidden_dim=8)),
    "transformer": (Transformer, TransformerOptions(dim=16, num_heads=2, depth=2)),
}
EVERY = [(name, output) for name, (make, _) in SMALL.items() for output in make.EMBEDDINGS]  # type: ignore[attr-defined]
every_embedding = pytest.mark.parametrize(("name", "output"), EVERY)
# Of AST's tokens and of what follows no time, there is no clock to check.
TIMED = [(name, output) for name, output in EVERY if output in ("frame", "early", "segments")]


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@cache
def build(name: str) -> Any:
    """With random weights and the running statistics of a batch, without which deep networks fade out in eval mode."""
    return _settled(_untrained(name))


def _untrained(name: str) -> nn.Module:
    torch.manual_seed(0)
    make, options = SMALL[name]
    return make(options, InputShape(MEL_FRAMES, BANDS), CLASSES)


def _settled(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()(Inputs(mel(4)))
    return model.eval()


def mel(clips: int, mel_frames: int = MEL_FRAMES) -> Tensor:
    return torch.randn(clips, mel_frames, BANDS, generator=torch.Generator().manual_seed(1))


def test_every_model_of_a_conf_has_embeddings_for_every_clip_and_of_its_times() -> None:
    assert {make.__name__ for make, _ in SMALL.values()} == {getattr(make, "__name__", "") for make in MODELS.values()}
    for make, _ in SMALL.values():
        assert {"frame", "global"} <= set(make.EMBEDDINGS)  # type: ignore[attr-defined]


@every_embedding
def test_an_embedding_is_as_wide_and_as_often_as_its_form_says(name: str, output: str) -> None:
    model = build(name)
    assert isinstance(model, Embeds)
    form = model.embedding_form(output)
    for mel_frames in (MEL_FRAMES, 450):
        values = model.embed(Inputs(mel(2, mel_frames)), output)
        frames = values.shape[1]
        assert values.shape == (2, frames, form.dim)
        if form.step is None:
            assert frames == 1 or output == "tokens"
        elif name != "ast":  # which hears one length
            longest = mel_frames / form.step + 1
            lost = (form.first - (form.step - 1) / 2) * 2 / form.step  # of what is not padded
            assert longest - 2.5 - max(0, lost) <= frames <= longest


def mirrored(name: str) -> Any:
    """With weights that do not tell past from future: what they say of a change lies evenly around it.

    Kernels are the same read backwards, and recurrences too: both directions have the same weights.
    """
    model = _untrained(name)
    time_axis = 2 if name in ("crnn", "cnn14", "cnn6", "tal", "taltrans") else 3  # others hear an image
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_((module.weight + module.weight.flip(time_axis)) / 2)
        if isinstance(module, nn.RNNBase):
            _mirror_directions(module)
    return _settled(model)


def _mirror_directions(recurrence: nn.RNNBase) -> None:
    for name, values in recurrence.named_parameters():
        if name.endswith("_reverse"):
            forward = getattr(recurrence, name.removesuffix("_reverse"))
            hears_both = "weight_ih" in name and "_l0" not in name  # forward and backward layer change places
            values.copy_(forward.roll(forward.shape[1] // 2, 1) if hears_both else forward)


@pytest.mark.parametrize(("name", "output"), TIMED)
def test_what_is_heard_of_a_moment_is_centred_where_the_clock_says(name: str, output: str) -> None:
    model = mirrored(name)
    form = model.embedding_form(output)
    moments = torch.arange(144, 144 + 32)  # every place in an embedding frame of 32 mel frames
    steady = mel(1)[:, :1].repeat(1, MEL_FRAMES, 1)
    changed = steady.repeat(len(moments), 1, 1)
    changed[torch.arange(len(moments)), moments] += 2 * mel(1)[0, 1]
    said, before = model.embed(Inputs(changed), output), model.embed(Inputs(steady), output)
    change = (said - before).square().sum(dim=2)
    expected = (moments - form.first) / form.step
    # Squared again: squeezed excitation is heard a little at all times.
    centre = (change.square() * torch.arange(change.shape[1])).sum(dim=1) / change.square().sum(dim=1)
    assert abs(float((centre - expected).mean())) < 0.06
    assert (change.argmax(dim=1) - expected).abs().max() < 1.6


@every_embedding
def test_clips_do_not_hear_one_another(name: str, output: str) -> None:
    model, heard = build(name), mel(3)
    together = model.embed(Inputs(heard), output)
    alone = model.embed(Inputs(heard[1:2]), output)
    torch.testing.assert_close(alone[0], together[1], atol=1e-4, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", [name for name in SMALL if name not in ("ast", "cnn14", "cnn6")])
def test_the_embedding_of_a_clip_is_the_mean_of_its_frames(name: str) -> None:
    model, inputs = build(name), Inputs(mel(2))
    torch.testing.assert_close(
        model.embed(inputs, "global"), model.embed(inputs, "frame").mean(dim=1, keepdim=True), atol=1e-5, rtol=1e-4
    )


@every_embedding
def test_its_shape_is_known_without_hearing_anything(name: str, output: str) -> None:
    make, options = SMALL[name]
    clock = MelClock(0.0, 0.01)
    with torch.device("meta"):
        network = Network(make(options, InputShape(MEL_FRAMES, BANDS), CLASSES), output)
        shape = shape_heard(network, torch.zeros(1, MEL_FRAMES, BANDS), clock, clock)
    assert (1, shape.frames, shape.dim) == Network(build(name), output)(mel(1)).values.shape


class Folded(StagedFrontend):
    """A front-end of no arithmetic: samples, row by row, as a spectrogram."""

    def spectrum(self, waveform: Tensor) -> Tensor:
        return waveform.reshape(waveform.shape[0], -1, BANDS)

    def compress(self, spectrum: Tensor) -> Tensor:
        return spectrum

    def normalise(self, logarithm: Tensor) -> Tensor:
        return logarithm


@every_embedding
def test_frozen_and_without_the_parts_that_it_does_not_need_it_says_the_same(name: str, output: str) -> None:
    network, heard = Network(build(name), output).eval(), mel(2)
    expected = network(heard).values
    pruned = prune(copy.deepcopy(network), parameters_in_use(network, heard))
    torch.testing.assert_close(pruned(heard).values, expected)
    frozen = Embedder(Hearing(Folded(), 16_000, 16_000), pruned).to(torch.device("cpu"))
    assert not list(frozen.parameters())
    torch.testing.assert_close(frozen(heard.flatten(1)).values, expected)


class Values(nn.Module):
    """The values of an embedding alone, as a graph gives them."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, heard: Tensor) -> Tensor:
        embedding: Embedding = self.network(heard)
        return embedding.values


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("resnet", "early"),
        ("mobilenet", "frame"),
        ("efficientnet", "early"),
        ("tal", "global"),
        ("transformer", "frame"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::torch.jit.TracerWarning")
def test_its_graph_says_the_same(name: str, output: str, tmp_path: Any) -> None:
    network, path = Values(Network(build(name), output)).eval(), tmp_path / "embedder.onnx"
    torch.onnx.export(network, (mel(2),), path, input_names=["heard"], output_names=["values"], dynamo=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    heard = mel(2).flip(0)
    (values,) = session.run(None, {"heard": heard.numpy()})
    np.testing.assert_allclose(values, network(heard).detach().numpy(), atol=1e-4)
