"""What all convolutional taggers keep to, at small size: frames of any length, clips kept apart, gradients."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from desed_task.batch import Inputs
from desed_task.embeddings.ears import Ears
from desed_task.export import ProbabilityGraph, trace_graph
from desed_task.features.frontend import StagedFrontend
from desed_task.models.cifar_resnet import CifarResNet, CifarResNetOptions
from desed_task.models.densenet import DenseNet, DenseNetOptions
from desed_task.models.efficientnet import EfficientNet, EfficientNetOptions
from desed_task.models.efficientnet_trunk import EfficientNetTrunk
from desed_task.models.fsd50k_crnn import Fsd50kCRNN, Fsd50kCRNNOptions
from desed_task.models.resnet import ResNet, ResNetAttention, ResNetAttentionOptions, ResNetOptions
from desed_task.models.tagger import InputShape
from desed_task.models.vgglike import VGGLike, VGGLikeOptions
from desed_task.onnx_runtime import onnxruntime

BANDS, CLASSES = 64, 3
SHAPE = InputShape(100, BANDS)
SMALL_EFFICIENTNET = {"eff_b": 0, "width": 0.25, "depth": 0.25}
SMALL: dict[str, tuple[Callable[..., nn.Module], Any]] = {
    "vgglike": (VGGLike, VGGLikeOptions(width=4)),
    "fsd50k_crnn": (
        Fsd50kCRNN,
        Fsd50kCRNNOptions(nb_filters=(4, 8, 8), pooling=((2, 3), (2, 3), (2, 2)), n_rnn_cell=4),
    ),
    "resnet": (ResNet, ResNetOptions(depth=10, width=8)),
    "resnet, bottlenecks": (ResNet, ResNetOptions(depth=50, width=4)),
    "resnet_attention": (ResNetAttention, ResNetAttentionOptions(depth=10, width=8)),
    "cifar_resnet": (CifarResNet, CifarResNetOptions(depth=8, width=4)),
    "densenet": (DenseNet, DenseNetOptions(blocks=(2, 2, 2, 2), growth_rate=4, width=8)),
    "densenet, two blocks": (DenseNet, DenseNetOptions(blocks=(2, 2), growth_rate=4, width=8)),
    "efficientnet, 4 heads": (EfficientNet, EfficientNetOptions(**SMALL_EFFICIENTNET)),
    "efficientnet, 1 head": (EfficientNet, EfficientNetOptions(**SMALL_EFFICIENTNET, att_head=1)),
    "efficientnet, mean": (EfficientNet, EfficientNetOptions(**SMALL_EFFICIENTNET, att_head=0)),
    "efficientnet, linear": (EfficientNet, EfficientNetOptions(**SMALL_EFFICIENTNET, head="linear", image_size=221)),
}
every_tagger = pytest.mark.parametrize("name", SMALL)


def build(name: str, bands: int = BANDS) -> nn.Module:
    """With random weights and the running statistics of a batch, without which deep networks fade out in eval mode."""
    torch.manual_seed(0)
    make, options = SMALL[name]
    model = make(options, InputShape(100, bands), CLASSES)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    model.train()(mel(8, 200, bands))
    return model


def mel(clips: int, mel_frames: int, bands: int = BANDS) -> Inputs:
    return Inputs(torch.randn(clips, mel_frames, bands, generator=torch.Generator().manual_seed(1)))


@every_tagger
@pytest.mark.parametrize("mel_frames", [1, 65, 300])
def test_a_clip_of_any_length_has_frames_and_a_score(name: str, mel_frames: int) -> None:
    model, options = build(name).eval(), SMALL[name][1]
    predictions = model(mel(2, mel_frames))
    frames = predictions.strong_logits.shape[1]
    assert predictions.strong_logits.shape == (2, frames, CLASSES)
    assert predictions.weak_logits.shape == (2, CLASSES)
    assert predictions.weak_logits.isfinite().all()
    if mel_frames > options.time_pooling:  # frames lie on the grid, but for those of which padding or its lack decides
        assert abs(frames - mel_frames / options.time_pooling) <= 4.5


@every_tagger
def test_frames_are_as_long_as_the_options_say(name: str) -> None:
    model, options = build(name).eval(), SMALL[name][1]
    lengths = [model(mel(1, 200 + 10 * frames * options.time_pooling)).strong_logits.shape[1] for frames in (0, 1)]
    assert lengths[1] - lengths[0] == 10


@every_tagger
def test_clips_do_not_hear_one_another(name: str) -> None:
    model, inputs = build(name).eval(), mel(3, 120)
    together = model(inputs)
    for clip in range(3):
        alone = model(Inputs(inputs.mel[clip : clip + 1]))
        torch.testing.assert_close(alone.weak_logits[0], together.weak_logits[clip], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alone.strong_logits[0], together.strong_logits[clip], atol=1e-5, rtol=1e-4)


@every_tagger
def test_every_parameter_learns(name: str) -> None:
    model = build(name).train()
    predictions = model(mel(8, 200))
    weak = nn.functional.binary_cross_entropy_with_logits(predictions.weak_logits, torch.ones(8, CLASSES))
    (weak + predictions.strong_logits.square().mean()).backward()
    idle = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.abs().sum() > 0]
    assert idle == []


@every_tagger
def test_a_copy_is_another_model_of_the_same_mind(name: str) -> None:
    model = build(name).eval()
    teacher = copy.deepcopy(model)
    before = teacher(mel(2, 120)).weak_logits
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(0.5)
    assert torch.equal(teacher(mel(2, 120)).weak_logits, before)
    assert not torch.equal(model(mel(2, 120)).weak_logits, before)


@every_tagger
def test_the_head_is_all_that_depends_on_the_classes(name: str) -> None:
    make, options = SMALL[name]
    one, other = (make(options, SHAPE, classes).state_dict() for classes in (3, 5))
    differ = {key for key in one if one[key].shape != other[key].shape}
    assert differ
    head: tuple[str, ...] = make.HEAD  # type: ignore[attr-defined]
    assert all(key.startswith(head) for key in differ)
    assert {key for key in one if key.startswith(head)} - differ <= {"attention.head_weight"}


@every_tagger
def test_scores_stay_in_float32_in_mixed_precision(name: str) -> None:
    model = build(name).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(mel(2, 120))
    assert mixed.weak_logits.dtype == mixed.strong_logits.dtype == torch.float32
    torch.testing.assert_close(mixed.weak_probs, model(mel(2, 120)).weak_probs, atol=0.1, rtol=0)


class Folded(StagedFrontend):
    """A front-end of no arithmetic: samples, row by row, as a spectrogram."""

    def spectrum(self, waveform: Tensor) -> Tensor:
        return waveform.reshape(waveform.shape[0], -1, BANDS)

    def compress(self, spectrum: Tensor) -> Tensor:
        return spectrum

    def normalise(self, logarithm: Tensor) -> Tensor:
        return logarithm


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"efficientnet, 1 head", "efficientnet, mean", "resnet"}))
def test_its_graph_hears_any_length(name: str) -> None:
    graph = ProbabilityGraph(Ears(Folded()), build(name).eval())
    session = onnxruntime.InferenceSession(trace_graph(graph), providers=["CPUExecutionProvider"])
    for clips, mel_frames in ((1, 3), (3, 150), (2, 331)):
        waveform = mel(clips, mel_frames).mel.flatten(1)
        for exported, expected in zip(session.run(None, {"waveform": waveform.numpy()}), graph(waveform), strict=True):
            np.testing.assert_allclose(exported, expected.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "least"), [("vgglike", 34), ("fsd50k_crnn", 44), ("densenet", 29), ("densenet, two blocks", 5)]
)
def test_too_few_bands_are_refused_in_a_sentence(name: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"needs at least {least} mel bands and the front-end gives {least - 1}; "):
        build(name, bands=least - 1)
    model = build(name, bands=least).eval()
    assert model(mel(1, 100, least)).weak_logits.isfinite().all()


@pytest.mark.parametrize("eff_b", range(8))
def test_an_efficientnet_hears_just_as_many_bands_as_it_says(eff_b: int) -> None:
    options = EfficientNetOptions(eff_b=eff_b, width=0.1, depth=0.1)
    least = options.trunk_shape.least_size
    trunk = EfficientNetTrunk(options.trunk_shape, drop_connect=0.0, batch_norm_momentum=0.1).eval()
    assert trunk(torch.zeros(1, 1, least, 100)).shape[2] == 1
    if least > 1:
        with pytest.raises(RuntimeError):
            trunk(torch.zeros(1, 1, least - 1, 100))
