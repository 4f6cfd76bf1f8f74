"""The networks of GISE-51-pytorch against ours: equal random weights, equal features, logits of clips.

The peer is github.com/SarthakYadav/GISE-51-pytorch at COMMIT; it needs no packages beside ours. Some files are as its
Lightning modules saved them, with crops and masks among the hyper-parameters, some as its --export_weights wrote them.
What ours exports after loading must be the very tensors of that file, by the same names in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.peer_network import PeerCase, largest_difference, run_peer
from desed_task.errors import DesedTaskError
from desed_task.models.cifar_resnet import CifarResNet, CifarResNetOptions
from desed_task.models.densenet import DenseNet, DenseNetOptions
from desed_task.models.efficientnet import EfficientNet, EfficientNetOptions
from desed_task.models.resnet import ResNet, ResNetOptions
from desed_task.models.tagger import InputShape
from desed_task.published.tagger_files import read_tagger_weights
from desed_task.published.weight_export import published_weights

COMMIT = "2cf816ed14db"
_SHAPE = InputShape(501, 221)
_CODE = """
import os, pathlib
# torchvision has since dropped this module; its augmentations import OpenCV and librosa, which nothing here uses.
utils = types.ModuleType("torchvision.models.utils")
utils.load_state_dict_from_url = None
sys.modules["torchvision.models.utils"] = utils
for name in ("cv2", "librosa"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["cv2"].setNumThreads = lambda number: None

from src.data.transforms import get_transforms_v2
from src.models.model_helper import model_helper

hyper_parameters = {"tr_tfs": get_transforms_v2(True, 500), "val_tfs": get_transforms_v2(False, 1000), "cw": None}

for name, conf in {
    "ResNet-18": ("resnet", 18), "ResNet-34": ("resnet", 34), "ResNet-50": ("resnet", 50),
    "ResNet-20": ("cifar_resnet", 20), "ResNet-44": ("cifar_resnet", 44), "ResNet-56": ("cifar_resnet", 56),
    "EfficientNet-B0": ("efficientnet", "b0"), "EfficientNet-B1": ("efficientnet", "b1"),
    "DenseNet-121": ("densenet", 121),
}.items():
    heard = features(501, 221)
    image = heard.transpose(1, 2).unsqueeze(1)
    network = model_helper({"arch": conf[0], "model_depth": conf[1], "num_classes": 51, "pool": "avgpool"})
    network = enliven(network, image, inner=10.0)
    with torch.inference_mode():
        logits = network(image)
    weights = network.state_dict()
    if conf[0] != "resnet":
        lightning = {f"net.{key}": value for key, value in weights.items()}
        weights = {"state_dict": lightning, "hyper_parameters": hyper_parameters, "epoch": 1}
    save(name, weights, heard, {"weak_logits": logits})
"""
_OURS: dict[str, Callable[[], nn.Module]] = {
    **{f"ResNet-{depth}": lambda depth=depth: ResNet(ResNetOptions(depth=depth), _SHAPE, 51) for depth in (18, 34, 50)},  # type: ignore[misc]
    **{
        f"ResNet-{depth}": lambda depth=depth: CifarResNet(CifarResNetOptions(depth=depth), _SHAPE, 51)  # type: ignore[misc]
        for depth in (20, 44, 56)
    },
    "DenseNet-121": lambda: DenseNet(DenseNetOptions(), _SHAPE, 51),
    **{
        f"EfficientNet-B{size}": lambda size=size: EfficientNet(  # type: ignore[misc]
            EfficientNetOptions(eff_b=size, head="linear", image_size=221), _SHAPE, 51
        )
        for size in (0, 1)
    },
}


def rows(peer: Path) -> Iterator[dict[str, Any]]:
    """name, largest_difference (of logits, as a share of the largest), commit."""
    for case in run_peer(_CODE, peer, tuple(_OURS)):
        model = _OURS[case.name]()
        logits, published = case.answer(model).weak_logits, case.said["weak_logits"]
        _require_same_names(case, model)
        difference = largest_difference([(logits, published)]) / max(1.0, float(published.abs().max()))
        yield {"name": f"GISE-51-pytorch {case.name}", "largest_difference": difference, "commit": COMMIT}


def _require_same_names(case: PeerCase, model: nn.Module) -> None:
    """What we export loads strictly into the published network."""
    theirs, ours = read_tagger_weights(case.checkpoint), published_weights(model)
    if list(theirs) != list(ours) or any(not torch.equal(ours[name], values) for name, values in theirs.items()):
        raise DesedTaskError(f"{case.name}: the weights that we export are not the published ones")
