"""Files of GISE-51: exported weights and Lightning checkpoints of every network, begun from with other classes.

The files are made here from small networks with random weights, in the names and the wrapping of the published ones.
"""

from __future__ import annotations

import sys
import types
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from desed_task.errors import CheckpointError
from desed_task.models.cifar_resnet import CifarResNet, CifarResNetOptions
from desed_task.models.densenet import DenseNet, DenseNetOptions
from desed_task.models.efficientnet import EfficientNet, EfficientNetOptions
from desed_task.models.resnet import ResNet, ResNetOptions
from desed_task.models.tagger import InputShape
from desed_task.published.taggers import load_initial

SHAPE = InputShape(100, 64)
EXPORTED = "mAP=0.5635_dprime=1.8195_num_classes=3.pth"
SMALL: dict[str, Callable[[int], nn.Module]] = {
    "resnet": lambda classes: ResNet(ResNetOptions(depth=10, width=4), SHAPE, classes),
    "cifar_resnet": lambda classes: CifarResNet(CifarResNetOptions(depth=8, width=4), SHAPE, classes),
    "densenet": lambda classes: DenseNet(DenseNetOptions(blocks=(1, 1), growth_rate=4, width=8), SHAPE, classes),
    "efficientnet": lambda classes: EfficientNet(
        EfficientNetOptions(eff_b=0, width=0.1, depth=0.1, head="linear", image_size=221), SHAPE, classes
    ),
}
every_network = pytest.mark.parametrize("name", SMALL)


def published(name: str) -> dict[str, Tensor]:
    """A state dict of the published network: random numbers by its names."""
    generator = torch.Generator().manual_seed(7)
    return {
        key.removeprefix("effnet."): torch.rand(value.shape, generator=generator) if value.dim() else value + 5
        for key, value in SMALL[name](3).state_dict().items()
    }


def exported(folder: Path, weights: dict[str, Tensor]) -> Path:
    torch.save(weights, folder / EXPORTED)
    return folder / EXPORTED


def of_lightning(folder: Path, weights: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Path:
    """As train_gise_mixtures.py saved it: weights below `net.`, those of the loss, the command line with transforms."""
    module = types.ModuleType("src.data.transforms")
    module.Compose = type("Compose", (), {"__module__": module.__name__, "__qualname__": "Compose"})  # type: ignore[attr-defined]
    for package in ("src", "src.data", "src.data.transforms"):
        monkeypatch.setitem(sys.modules, package, module)
    transforms = module.Compose()
    transforms.transforms = [500]
    content = {
        "epoch": 12,
        "state_dict": {f"net.{key}": value for key, value in weights.items()} | {"criterion.pos_weight": torch.ones(3)},
        "hyper_parameters": {"args": Namespace(gpus="0, 1"), "tr_tfs": transforms, "cfg": {"opt": {"lr": 1e-3}}},
    }
    path = folder / "epoch=12_train_loss=0.061_val_mAP=0.562.ckpt"
    torch.save(content, path)
    return path


def require_loaded(model: nn.Module, weights: dict[str, Tensor], head: tuple[str, ...] = ()) -> None:
    for key, value in model.state_dict().items():
        if not (head and key.startswith(head)):
            assert torch.equal(value, weights[key.removeprefix("effnet.")]), key


@every_network
def test_exported_weights_load_head_and_all(name: str, tmp_path: Path) -> None:
    weights, model = published(name), SMALL[name](3)
    report = load_initial(model, exported(tmp_path, weights))
    assert (report.head, report.left_out) == ((), ())
    require_loaded(model, weights)


@every_network
def test_a_lightning_checkpoint_loads_and_nothing_of_it_is_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, model = published(name), SMALL[name](3)
    path = of_lightning(tmp_path, weights, monkeypatch)
    monkeypatch.delitem(sys.modules, "src.data.transforms")
    load_initial(model, path)
    require_loaded(model, weights)
    assert "src.data.transforms" not in sys.modules


@every_network
@pytest.mark.parametrize("classes", [2, 50])
def test_another_number_of_classes_gets_a_new_head_and_all_else_is_begun_from(
    name: str, classes: int, tmp_path: Path
) -> None:
    weights, model = published(name), SMALL[name](classes)
    head: tuple[str, ...] = type(model).HEAD  # type: ignore[attr-defined]
    before = {key: value.clone() for key, value in model.state_dict().items() if key.startswith(head)}
    report = load_initial(model, exported(tmp_path, weights))
    require_loaded(model, weights, head)
    assert set(report.head) == set(before)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    assert {key.rpartition(".")[2] for key in report.left_out} == {"weight", "bias"}


@pytest.mark.parametrize(
    ("file", "model", "message"),
    [
        ("cifar_resnet", "resnet", "holds weights of the narrow ResNet of GISE-51, the conf's model is no published"),
        ("efficientnet", "cifar_resnet", "holds weights of EfficientNet of GISE-51"),
        ("resnet", "densenet", "the weights do not fit the conf's model; missing: features.conv0.weight"),
    ],
)
def test_weights_of_another_network_are_refused_and_the_model_stays(
    file: str, model: str, message: str, tmp_path: Path
) -> None:
    ours = SMALL[model](3)
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        load_initial(ours, exported(tmp_path, published(file)))
    assert all(torch.equal(value, before[key]) for key, value in ours.state_dict().items())


def test_a_layer_that_is_missing_is_named(tmp_path: Path) -> None:
    weights: dict[str, Any] = published("cifar_resnet")
    del weights["layer2.0.conv1.weight"]
    with pytest.raises(CheckpointError, match=r"missing: layer2\.0\.conv1\.weight"):
        load_initial(SMALL["cifar_resnet"](3), exported(tmp_path, weights))
