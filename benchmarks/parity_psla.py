"""PSLA's EfficientNets and ResNet-50 against ours: equal random weights, equal features, probabilities of clips.

Of the EfficientNets the feature maps before the pooling are compared too. The peer is github.com/YuanGongND/psla at
COMMIT. It needs `pip install --no-deps --target PEER/packages efficientnet_pytorch==0.7.1`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peer_network import PeerCase, largest_difference, run_peer
from desed_task.models.efficientnet import EfficientNet, EfficientNetOptions
from desed_task.models.resnet import ResNetAttention, ResNetAttentionOptions
from desed_task.models.tagger import InputShape

COMMIT = "76aedd19ad31"
# name: eff_b, attention heads, mel frames, activation of attention and classes.
_CASES: dict[str, tuple[int, int, int, Any]] = {
    f"B{eff_b} {heads} heads": (eff_b, heads, 3000 if (eff_b, heads) == (2, 4) else 1056, "sigmoid")
    for eff_b in (0, 1, 2)
    for heads in (4, 1, 0)
}
# As AudioTagging Done Right has it.
_CASES["B0 4 heads, softmax"] = (0, 4, 1024, "softmax")
_RESNET = "ResNet-50"
_CODE = """
import contextlib, io
from models.Models import EffNetAttention, ResNetAttention

hear = features

def case(name, network, mel_frames, features):
    heard = hear(mel_frames, 128)
    network = enliven(network, heard)
    for parameter, values in network.attention.named_parameters():
        if values.dim() > 1:  # several heads begin with smaller weights than one
            values.data.mul_(5.0 if parameter.count(".") == 1 else 20.0)
    if hasattr(network.attention, "head_weight"):
        torch.nn.init.uniform_(network.attention.head_weight, 0.1, 0.3)
    with torch.inference_mode():
        said = {"weak_probs": network(heard)} | features(network, heard)
    save(name, torch.nn.DataParallel(network).state_dict(), heard, said)

def of_efficientnet(network, heard):
    return {"features": network.effnet.extract_features(heard.unsqueeze(1).transpose(2, 3))}

with contextlib.redirect_stdout(io.StringIO()):
    for name, (eff_b, heads, mel_frames, activation) in __CASES__.items():
        network = EffNetAttention(label_dim=527, b=eff_b, pretrain=False, head_num=heads)
        network.attention.att_activation = network.attention.cla_activation = activation
        case(name, network, mel_frames, of_efficientnet)
    case("__RESNET__", ResNetAttention(label_dim=527, pretrain=False), 1056, lambda network, heard: {})
"""


def rows(peer: Path) -> Iterator[dict[str, Any]]:
    """name, largest_difference (of probabilities, and of feature maps as a share of the largest feature), commit."""
    code = _CODE.replace("__CASES__", repr(_CASES)).replace("__RESNET__", _RESNET)
    for case in run_peer(code, peer, (*_CASES, _RESNET), source="src"):
        yield {"name": f"PSLA {case.name}", "largest_difference": _difference(case), "commit": COMMIT}


def _difference(case: PeerCase) -> float:
    if case.name == _RESNET:
        resnet = ResNetAttention(ResNetAttentionOptions(), InputShape(1056, 128), 527)
        return largest_difference([(case.answer(resnet).weak_probs, case.said["weak_probs"])])
    eff_b, heads, mel_frames, activation = _CASES[case.name]
    options = EfficientNetOptions(eff_b=eff_b, att_head=heads, att_activation=activation, cla_activation=activation)
    model = EfficientNet(options, InputShape(mel_frames, 128), 527)
    probs, features = case.answer(model).weak_probs, case.said["features"]
    largest = features.abs().max()
    heard = _features(model.effnet, case.heard)
    return largest_difference([(probs, case.said["weak_probs"]), (heard / largest, features / largest)])


def _features(trunk: nn.Module, heard: Tensor) -> Tensor:
    with torch.inference_mode():
        features: Tensor = trunk(heard.transpose(1, 2).unsqueeze(1))
    return features
