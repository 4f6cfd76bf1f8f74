"""AST against ours: equal random weights, equal features, logits; and its two ways to begin from other weights.

The peer is github.com/YuanGongND/ast at COMMIT. It needs
`pip install --no-deps --target PEER/packages timm==0.4.5`, the one version it accepts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.peer_network import PeerCase, largest_difference, run_peer
from desed_task.models.ast import AST, ASTOptions
from desed_task.models.tagger import InputShape

COMMIT = "31088be8a3f6"
# name: model_size, fstride, tstride, mel frames, classes.
_CASES: dict[str, tuple[Any, int, int, int, int]] = {
    "base384 10 x 10": ("base384", 10, 10, 1024, 527),
    "base384 16 x 16": ("base384", 16, 16, 512, 50),
    "small224 14 x 12": ("small224", 14, 12, 400, 200),
    "tiny224 10 x 10": ("tiny224", 10, 10, 128, 35),
    # From the published checkpoint of 10 s, shortened and prolonged; from DeiT, cut and interpolated.
    "AudioSet to 512 frames": ("base384", 10, 10, 512, 50),
    "AudioSet to 1200 frames": ("base384", 10, 10, 1200, 50),
    "ImageNet to 1024 frames": ("tiny224", 10, 10, 1024, 50),
    "ImageNet to 100 frames": ("base384", 10, 10, 100, 50),
}
_CODE = """
import os, pathlib
import timm
from models.ast_models import ASTModel
CASES = __CASES__
create = timm.create_model
timm.create_model = lambda name, pretrained=False: create(name)  # as if its random weights had been ImageNet's

def ast(case, **start):
    size, fstride, tstride, frames, classes = case
    return ASTModel(classes, fstride, tstride, 128, frames, model_size=size, verbose=False, **start)

def sharpen(weights):  # attention that is not nearly uniform, positions that weigh
    for key, value in weights.items():
        if key.endswith(("qkv.weight", "fc1.weight", "pos_embed")):
            value.data.mul_(3.0)
    return weights

folder = pathlib.Path("../../pretrained_models")
folder.mkdir()
published = sharpen(torch.nn.DataParallel(ast(("base384", 10, 10, 1024, 527), imagenet_pretrain=False)).state_dict())
torch.save(published, folder / "audioset_10_10_0.4593.pth")
for name, case in CASES.items():
    seed = len(name)
    torch.manual_seed(seed)
    if name.startswith("AudioSet"):
        network, weights = ast(case, audioset_pretrain=True), published
    elif name.startswith("ImageNet"):
        weights = sharpen(create({"tiny224": "vit_deit_tiny_distilled_patch16_224",
                                  "base384": "vit_deit_base_distilled_patch16_384"}[case[0]]).state_dict())
        timm.create_model = lambda name, pretrained=False: loaded(create(name))
        loaded = lambda model: (model.load_state_dict(weights), model)[1]
        network = ast(case)
    else:
        timm.create_model = lambda name, pretrained=False: create(name)
        network = ast(case, imagenet_pretrain=False)
        weights = sharpen(torch.nn.DataParallel(network).state_dict())
    heard = features(case[3], 128)
    with torch.inference_mode():
        logits = enliven(network, heard)(heard)
    head = {f"mlp_head.{key}": value for key, value in network.mlp_head.state_dict().items()}
    save(name, weights, heard, {"weak_logits": logits.float(), **head})
"""


def rows(peer: Path) -> Iterator[dict[str, Any]]:
    """name, largest_difference (of logits), commit."""
    for case in run_peer(_CODE.replace("__CASES__", repr(_CASES)), peer, tuple(_CASES), source="src"):
        yield {"name": f"AST {case.name}", "largest_difference": _difference(case), "commit": COMMIT}


def _difference(case: PeerCase) -> float:
    size, fstride, tstride, mel_frames, num_classes = _CASES[case.name]
    options = ASTOptions(model_size=size, fstride=fstride, tstride=tstride)
    model = AST(options, InputShape(mel_frames, 128), num_classes)
    case.answer(model)
    # Networks that begin from other weights have a head of their own, at random on both sides.
    head = {name: values for name, values in case.said.items() if name.startswith("mlp_head.")}
    model.load_state_dict(head, strict=False)
    with torch.inference_mode():
        tokens = model.v(case.heard)
        logits = model.mlp_head((tokens[:, 0] + tokens[:, 1]) / 2)
    return largest_difference([(logits, case.said["weak_logits"])])
