"""The networks of fsd50k-pytorch against ours: equal random weights, equal features, logits of clips.

The peer is github.com/SarthakYadav/fsd50k-pytorch at COMMIT; it needs no packages beside ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.peer_network import largest_difference, run_peer
from desed_task.models.densenet import DenseNet, DenseNetOptions
from desed_task.models.fsd50k_crnn import Fsd50kCRNN, Fsd50kCRNNOptions
from desed_task.models.resnet import ResNet, ResNetOptions
from desed_task.models.tagger import InputShape
from desed_task.models.vgglike import VGGLike, VGGLikeOptions

COMMIT = "49b70777f020"
_SHAPE = InputShape(101, 96)
_CODE = """
import importlib.util, os, pathlib, types
# torchvision has since dropped this module.
utils = types.ModuleType("torchvision.models.utils")
utils.load_state_dict_from_url = None
sys.modules["torchvision.models.utils"] = utils
folder = pathlib.Path(os.environ["PEER"]) / "src" / "models"
sys.modules["src"] = types.ModuleType("src")
sys.modules["src.models"] = types.ModuleType("src.models")

def load(name):  # its package imports what it trains with
    spec = importlib.util.spec_from_file_location(f"src.models.{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"src.models.{name}"] = module
    spec.loader.exec_module(module)
    return module

load("netvlad")
resnet, densenet = load("resnet"), load("densenet")
for name, network in {
    "VGG-like": load("vgglike").VGGLike(200),
    "CRNN": load("crnn").CRNN(96, 200),
    "ResNet-18": resnet.resnet18(num_classes=200, pool="avgpool"),
    "ResNet-34": resnet.resnet34(num_classes=200, pool="avgpool"),
    "ResNet-50": resnet.resnet50(num_classes=200, pool="avgpool"),
    "DenseNet-121": densenet.densenet121(num_classes=200),
}.items():
    heard = features(101, 96)
    image = heard.transpose(1, 2).unsqueeze(1)
    network = enliven(network, image, inner=10.0)
    with torch.inference_mode():
        logits = network(image)
    # As its Lightning module saved them.
    save(name, {"state_dict": {f"net.{key}": value for key, value in network.state_dict().items()}}, heard,
         {"weak_logits": logits})
"""
_OURS: dict[str, Callable[[], nn.Module]] = {
    "VGG-like": lambda: VGGLike(VGGLikeOptions(), _SHAPE, 200),
    "CRNN": lambda: Fsd50kCRNN(Fsd50kCRNNOptions(), _SHAPE, 200),
    "ResNet-18": lambda: ResNet(ResNetOptions(depth=18), _SHAPE, 200),
    "ResNet-34": lambda: ResNet(ResNetOptions(depth=34), _SHAPE, 200),
    "ResNet-50": lambda: ResNet(ResNetOptions(depth=50), _SHAPE, 200),
    "DenseNet-121": lambda: DenseNet(DenseNetOptions(), _SHAPE, 200),
}


def rows(peer: Path) -> Iterator[dict[str, Any]]:
    """name, largest_difference (of logits, as a share of the largest), commit."""
    for case in run_peer(_CODE, peer, tuple(_OURS)):
        logits, published = case.answer(_OURS[case.name]()).weak_logits, case.said["weak_logits"]
        difference = largest_difference([(logits, published)]) / max(1.0, float(published.abs().max()))
        yield {"name": f"fsd50k-pytorch {case.name}", "largest_difference": difference, "commit": COMMIT}
