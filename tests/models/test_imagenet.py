"""ImageNet weights become those of trunks with one input channel; where they are not is said in a sentence."""

from __future__ import annotations

import urllib.error
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from desed_task.batch import Inputs
from desed_task.errors import FetchError
from desed_task.models.densenet import DenseNet, DenseNetOptions
from desed_task.models.efficientnet import EfficientNet, EfficientNetOptions
from desed_task.models.resnet import ResNet, ResNetAttention, ResNetAttentionOptions, ResNetOptions
from desed_task.models.tagger import InputShape

SHAPE = InputShape(64, 64)
RESNET18, DENSENET121 = "resnet18-f37072fd.pth", "densenet121-a639ec97.pth"
EFFICIENTNET_B0 = "tf_efficientnet_b0_aa-827b6e33.pth"


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's folder of fetched files, empty, on a machine without network."""

    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


def randomised(network: nn.Module) -> dict[str, Tensor]:
    """Random weights, statistics included."""
    torch.manual_seed(0)
    state = network.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            fan_in = value[0].numel() if value.dim() > 1 else 1
            value.normal_(0, fan_in**-0.5) if value.dim() > 1 else value.uniform_(0.5, 1.5)
            state[name] = value
    return state


@pytest.mark.parametrize(
    ("make", "options", "file"),
    [
        (ResNet, ResNetOptions(pretrained="imagenet"), RESNET18),
        (ResNetAttention, ResNetAttentionOptions(pretrained="imagenet", depth=18), RESNET18),
        (DenseNet, DenseNetOptions(pretrained="imagenet"), DENSENET121),
        (EfficientNet, EfficientNetOptions(pretrained="imagenet", eff_b=0), EFFICIENTNET_B0),
    ],
)
def test_weights_that_cannot_be_had_are_named_with_their_place(
    make: Callable[..., Any], options: Any, file: str, checkpoints: Path
) -> None:
    with torch.device("meta"):
        model = make(options, SHAPE, 3)
    with pytest.raises(FetchError) as refused:
        model.load_pretrained()
    assert file in str(refused.value)
    assert str(checkpoints) in str(refused.value)
    assert "set pretrained to null" in str(refused.value)


def test_a_broken_file_is_named_too(checkpoints: Path) -> None:
    (checkpoints / RESNET18).write_bytes(b"half a file")
    with pytest.raises(FetchError, match=RESNET18):
        ResNet(ResNetOptions(pretrained="imagenet"), SHAPE, 3).load_pretrained()


def heard_as_grey(ours: nn.Module, theirs: nn.Module, features: Callable[[Tensor], Tensor], size: int) -> None:
    """What ours hears in an image of one channel, theirs sees in a grey one."""
    image = torch.randn(1, 1, size, size)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), features(image.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4)


def test_a_resnet_hears_what_torchvisions_sees_in_grey(checkpoints: Path) -> None:
    theirs = torchvision.models.resnet18()
    torch.save(randomised(theirs), checkpoints / RESNET18)
    for ours in (
        ResNet(ResNetOptions(pretrained="imagenet"), SHAPE, 3),
        ResNetAttention(ResNetAttentionOptions(pretrained="imagenet", depth=18), SHAPE, 3),
    ):
        before = {name: value.clone() for name, value in ours.state_dict().items()}
        ours.load_pretrained()
        trunk = ours if isinstance(ours, ResNet) else ours.model
        theirs.fc = nn.Identity()
        grey = torch.randn(1, 64, 64)
        with torch.no_grad():
            seen = theirs.eval()(grey.transpose(1, 2).unsqueeze(1).expand(-1, 3, -1, -1))
            heard = trunk.eval().feature_map(grey).mean(dim=2)
        torch.testing.assert_close(heard, seen, atol=1e-4, rtol=1e-4)
        assert_head_is_untouched(ours, before)


def test_a_densenet_hears_what_torchvisions_sees_in_grey(checkpoints: Path) -> None:
    theirs = torchvision.models.densenet121()
    torch.save(as_published(randomised(theirs)), checkpoints / DENSENET121)
    ours = DenseNet(DenseNetOptions(pretrained="imagenet"), SHAPE, 3)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    ours.load_pretrained()
    heard_as_grey(ours.eval().features, theirs.eval(), theirs.features, 64)
    assert_head_is_untouched(ours, before)


def as_published(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names in torchvision's file, which are older than its code: `denselayer1.norm.1.weight`."""
    renamed = {}
    for name, value in weights.items():
        for layer in ("norm1", "norm2", "conv1", "conv2"):
            old = name.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.")
            if "denselayer" in name and old != name:
                renamed[old] = value
                break
        else:
            renamed[name] = value
    return renamed


def test_an_efficientnet_hears_what_timms_sees_in_grey_at_the_size_of_its_padding(checkpoints: Path) -> None:
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("tf_efficientnet_b0")
    torch.save(randomised(theirs), checkpoints / EFFICIENTNET_B0)
    ours = EfficientNet(EfficientNetOptions(pretrained="imagenet", eff_b=0), SHAPE, 3)
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    ours.load_pretrained()
    heard_as_grey(ours.eval().effnet, theirs.eval(), theirs.forward_features, 224)
    assert_head_is_untouched(ours, before)
    assert ours(Inputs(torch.randn(1, 64, 64))).weak_logits.isfinite().all()


def test_a_stem_may_start_at_random_as_published(checkpoints: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.save(randomised(timm.create_model("tf_efficientnet_b0")), checkpoints / EFFICIENTNET_B0)
    ours = EfficientNet(EfficientNetOptions(pretrained="imagenet", eff_b=0, stem="random"), SHAPE, 3)
    stem, head = ours.effnet._conv_stem.weight.clone(), ours.effnet._conv_head.weight.clone()
    ours.load_pretrained()
    assert torch.equal(ours.effnet._conv_stem.weight, stem)
    assert not torch.equal(ours.effnet._conv_head.weight, head)


def assert_head_is_untouched(model: Any, before: Mapping[str, Tensor]) -> None:
    names = [name for name in before if name.startswith(model.HEAD)]
    assert names
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in names)


@pytest.mark.parametrize(
    ("make", "fields"),
    [
        (ResNetOptions, {"width": 32}),
        (ResNetAttentionOptions, {"depth": 10}),
        (DenseNetOptions, {"growth_rate": 12}),
        (EfficientNetOptions, {"depth": 0.5}),
    ],
)
def test_there_are_no_weights_of_other_sizes(make: Callable[..., Any], fields: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"there are no ImageNet weights of .*; .*, or set pretrained to null"):
        make(pretrained="imagenet", **fields)


def test_without_a_name_nothing_is_read(checkpoints: Path) -> None:
    ResNet(ResNetOptions(depth=10, width=4), SHAPE, 3).load_pretrained()
    EfficientNet(EfficientNetOptions(width=0.1, depth=0.1), SHAPE, 3).load_pretrained()
