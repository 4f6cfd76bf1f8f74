"""Convolutional taggers at their published size: numbers of parameters, their names, and how many frames there are.

Numbers and names are of the published code (fsd50k-pytorch, GISE-51-pytorch, PSLA), networks on the meta device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from desed_task.models.cifar_resnet import CifarResNet, CifarResNetOptions
from desed_task.models.densenet import DenseNet, DenseNetOptions
from desed_task.models.efficientnet import EfficientNet, EfficientNetOptions
from desed_task.models.fsd50k_crnn import Fsd50kCRNN, Fsd50kCRNNOptions
from desed_task.models.resnet import ResNet, ResNetAttention, ResNetAttentionOptions, ResNetOptions
from desed_task.models.tagger import InputShape
from desed_task.models.vgglike import VGGLike, VGGLikeOptions

FSD50K = InputShape(101, 96)
GISE = InputShape(501, 221)
PSLA = InputShape(1056, 128)
COUNTS: list[tuple[Callable[..., nn.Module], Any, InputShape, int, int]] = [
    (VGGLike, VGGLikeOptions(), FSD50K, 200, 348_040),
    (Fsd50kCRNN, Fsd50kCRNNOptions(), FSD50K, 200, 948_680),
    (ResNet, ResNetOptions(depth=18), FSD50K, 200, 11_272_840),
    (ResNet, ResNetOptions(depth=34), FSD50K, 200, 21_381_000),
    (ResNet, ResNetOptions(depth=50), FSD50K, 200, 23_911_560),
    (ResNet, ResNetOptions(depth=18), GISE, 51, 11_196_403),
    (ResNet, ResNetOptions(depth=34), GISE, 51, 21_304_563),
    (ResNet, ResNetOptions(depth=50), GISE, 51, 23_606_259),
    (DenseNet, DenseNetOptions(), FSD50K, 200, 7_152_584),
    (DenseNet, DenseNetOptions(), GISE, 51, 6_999_859),
    (CifarResNet, CifarResNetOptions(depth=20), GISE, 51, 1_079_955),
    (CifarResNet, CifarResNetOptions(depth=44), GISE, 51, 2_631_827),
    (CifarResNet, CifarResNetOptions(depth=56), GISE, 51, 3_407_763),
    (ResNetAttention, ResNetAttentionOptions(), PSLA, 527, 25_661_406),
    (EfficientNet, EfficientNetOptions(eff_b=0), PSLA, 527, 9_407_672),
    (EfficientNet, EfficientNetOptions(eff_b=1), PSLA, 527, 11_913_308),
    (EfficientNet, EfficientNetOptions(eff_b=2), PSLA, 527, 13_640_766),
    (EfficientNet, EfficientNetOptions(eff_b=2, att_head=1), PSLA, 527, 9_185_504),
    (EfficientNet, EfficientNetOptions(eff_b=2, att_head=0), PSLA, 527, 8_442_961),
    (EfficientNet, EfficientNetOptions(eff_b=2), PSLA, 200, 9_954_822),
    (EfficientNet, EfficientNetOptions(eff_b=0, head="linear", image_size=221), GISE, 51, 4_072_303),
    (EfficientNet, EfficientNetOptions(eff_b=1, head="linear", image_size=221), GISE, 51, 6_577_939),
]


def on_meta(make: Callable[..., Any], options: Any, shape: InputShape = PSLA, num_classes: int = 527) -> Any:
    with torch.device("meta"):
        return make(options, shape, num_classes).eval()


@pytest.mark.parametrize(
    ("make", "options", "shape", "num_classes", "count"), COUNTS, ids=[f"{row[1].name}-{row[-1]}" for row in COUNTS]
)
def test_a_network_has_as_many_parameters_as_published(
    make: Callable[..., nn.Module], options: Any, shape: InputShape, num_classes: int, count: int
) -> None:
    assert sum(value.numel() for value in on_meta(make, options, shape, num_classes).parameters()) == count


def test_defaults_are_the_published_networks() -> None:
    assert (ResNetOptions().depth, ResNetAttentionOptions().depth, ResNetAttentionOptions().att_head) == (18, 50, 1)
    options = EfficientNetOptions()
    assert (options.eff_b, options.att_head, options.drop_connect) == (2, 4, 0.2)
    assert [EfficientNetOptions(eff_b=b).trunk_shape.channels for b in range(3)] == [1280, 1280, 1408]


@pytest.mark.parametrize("mel_frames", [1056, 3000])
def test_psla_leaves_four_rows_and_a_frame_of_32(mel_frames: int) -> None:
    features = on_meta(EfficientNet, EfficientNetOptions()).effnet(torch.empty(1, 1, 128, mel_frames, device="meta"))
    assert features.shape == (1, 1408, 4, {1056: 33, 3000: 94}[mel_frames])


def test_a_second_of_fsd50k() -> None:
    image = torch.empty(1, 1, 96, 101, device="meta")
    assert on_meta(VGGLike, VGGLikeOptions(), FSD50K).features(image).shape == (1, 128, 16, 17)
    assert on_meta(Fsd50kCRNN, Fsd50kCRNNOptions(), FSD50K).cnn(image).shape == (1, 128, 1, 10)
    assert on_meta(DenseNet, DenseNetOptions(), FSD50K).features(image).shape == (1, 1024, 3, 3)


def norm(name: str) -> Iterator[str]:
    yield from (f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"))


def parameters(name: str) -> Iterator[str]:
    yield from (f"{name}.{part}" for part in ("weight", "bias"))


def psla_names() -> Iterator[str]:
    yield "effnet._conv_stem.weight"
    yield from norm("effnet._bn0")
    for block in range(23):
        here = f"effnet._blocks.{block}"
        if block > 1:  # the first two do not expand
            yield f"{here}._expand_conv.weight"
            yield from norm(f"{here}._bn0")
        yield f"{here}._depthwise_conv.weight"
        yield from norm(f"{here}._bn1")
        yield from parameters(f"{here}._se_reduce")
        yield from parameters(f"{here}._se_expand")
        yield f"{here}._project_conv.weight"
        yield from norm(f"{here}._bn2")
    yield "effnet._conv_head.weight"
    yield from norm("effnet._bn1")
    yield "attention.head_weight"
    for head in range(4):
        yield from parameters(f"attention.att.{head}")
        yield from parameters(f"attention.cla.{head}")


def test_names_of_psla() -> None:
    state = on_meta(EfficientNet, EfficientNetOptions()).state_dict()
    assert len(state) == 523
    assert set(state) == set(psla_names())
    assert state["effnet._conv_stem.weight"].shape == (32, 1, 3, 3)
    assert state["attention.att.3.weight"].shape == (527, 1408, 1, 1)
    assert state["attention.head_weight"].shape == (4,)


def test_names_of_the_vgg_like_network() -> None:
    convolutions = (0, 3, 6, 10, 13, 17, 20)
    expected = [name for index in convolutions for name in parameters(f"features.{index}")]
    expected += [name for index in convolutions for name in norm(f"features.{index + 1}")]
    state = on_meta(VGGLike, VGGLikeOptions(), FSD50K, 200).state_dict()
    assert set(state) == {*expected, "fc.weight", "fc.bias"}
    assert state["fc.weight"].shape == (200, 256)


def test_names_of_the_crnn() -> None:
    expected = {name for block in range(3) for name in parameters(f"cnn.cnn_block{block}.conv")}
    expected |= {name for block in range(3) for name in norm(f"cnn.cnn_block{block}.bn")}
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        expected |= {f"rnn.rnn.{kind}_l0", f"rnn.rnn.{kind}_l0_reverse"}
    state = on_meta(Fsd50kCRNN, Fsd50kCRNNOptions(), FSD50K, 200).state_dict()
    assert set(state) == {*expected, "rnn.embedding.weight", "rnn.embedding.bias"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ((ResNet, ResNetOptions(depth=18)), "resnet18"),
        ((ResNet, ResNetOptions(depth=50)), "resnet50"),
        ((DenseNet, DenseNetOptions()), "densenet121"),
        ((DenseNet, DenseNetOptions(blocks=(6, 12, 36, 24), growth_rate=48, width=96)), "densenet161"),
    ],
)
def test_names_and_shapes_are_those_of_torchvision_but_for_one_channel(ours: Any, theirs: str) -> None:
    with torch.device("meta"):
        published = torchvision.models.get_model(theirs, num_classes=200).state_dict()
    state = on_meta(*ours, FSD50K, 200).state_dict()
    assert list(state) == list(published)
    differ = [name for name in state if state[name].shape != published[name].shape]
    assert differ == ["conv1.weight" if "resnet" in theirs else "features.conv0.weight"]


def cifar_names(blocks: int) -> Iterator[str]:
    yield "conv1.weight"
    yield from norm("bn1")
    for stage in (1, 2, 3):
        for block in range(blocks):
            for number in (1, 2):
                yield f"layer{stage}.{block}.conv{number}.weight"
                yield from norm(f"layer{stage}.{block}.bn{number}")
    yield from parameters("linear")


@pytest.mark.parametrize(("depth", "blocks"), [(20, 3), (44, 7), (56, 9)])
def test_names_of_gises_narrow_resnets_whose_shortcuts_have_none(depth: int, blocks: int) -> None:
    state = on_meta(CifarResNet, CifarResNetOptions(depth=depth), GISE, 51).state_dict()
    assert list(state) == list(cifar_names(blocks))
    assert (state["layer2.0.conv1.weight"].shape, state["linear.weight"].shape) == ((64, 32, 3, 3), (51, 128))


def test_names_of_pslas_resnet() -> None:
    with torch.device("meta"):
        trunk = torchvision.models.resnet50().state_dict()
    state = on_meta(ResNetAttention, ResNetAttentionOptions()).state_dict()
    head = {"attention.att.weight", "attention.att.bias", "attention.cla.weight", "attention.cla.bias"}
    assert set(state) == {f"model.{name}" for name in trunk if not name.startswith("fc.")} | head


@pytest.mark.parametrize(
    ("options", "added"),
    [
        # 260 -> 130 -> 65 -> 33 -> 17 -> 9: the odd sizes get an even number, half of it before and half after
        (EfficientNetOptions(eff_b=2), [1, 1, 4, 2, 4]),
        # 224 -> 112 -> 56 -> 28 -> 14 -> 7: even throughout, the odd one goes to the end
        (EfficientNetOptions(eff_b=0), [1, 1, 3, 1, 3]),
        # 240 -> 120 -> 60 -> 30 -> 15 -> 8
        (EfficientNetOptions(eff_b=1), [1, 1, 3, 1, 4]),
        # 221 -> 111 -> 56 -> 28 -> 14 -> 7
        (EfficientNetOptions(eff_b=0, image_size=221), [2, 2, 3, 1, 3]),
    ],
)
def test_padding_is_that_of_the_nominal_image(options: EfficientNetOptions, added: list[int]) -> None:
    shape = options.trunk_shape
    assert [shape.stem_padding, *(block.padding for block in shape.blocks() if block.stride == 2)] == added


def test_initial_weights_of_fsd50ks_resnets() -> None:
    torch.manual_seed(0)
    model = ResNet(ResNetOptions(depth=18), FSD50K, 200)
    norms = torch.cat([module.weight for module in model.modules() if isinstance(module, nn.BatchNorm2d)])
    assert norms.mean().item() == pytest.approx(1.0, abs=2e-3)
    assert norms.std().item() == pytest.approx(0.02, abs=1e-3)
    kernel = model.layer4[1].conv2.weight
    assert kernel.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
