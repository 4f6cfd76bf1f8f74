"""TALNet, TALtrans and the linear model of AudioTagging Done Right against ours: probabilities of clips.

The peer is github.com/lijuncheng16/AudioTaggingDoneRight at COMMIT; it needs no packages beside ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks.peer_network import largest_difference, run_peer
from desed_task.models.tagger import InputShape
from desed_task.models.talnet import TALNet, TALNetOptions, TALTrans, TALTransOptions
from desed_task.models.transformer import Linear, LinearOptions

COMMIT = "15af41d7c70a"
_CODE = """
import argparse, importlib.util, pathlib, sys

def load(name):  # its package imports more than it needs
    folder = next(path for path in map(pathlib.Path, sys.path) if (path / "models" / f"{name}.py").exists())
    spec = importlib.util.spec_from_file_location(name, folder / "models" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

tal, linear = load("Net_mModal_mgpu"), load("linearModels")

def options(mels, embedding, pooling, frames):
    return argparse.Namespace(n_mels=mels, embedding_size=embedding, n_conv_layers=10, n_pool_layers=5,
        n_trans_layers=2, kernel_size=(3, 3), batch_norm=True, dropout=0.0, pooling=pooling, addpos=True,
        transformer_dropout=0.25, target_length=frames)

def case(name, network, heard):
    network = enliven(network, heard)
    with torch.inference_mode():
        said = network(heard)
    save(name, torch.nn.DataParallel(network).state_dict(), heard, {"weak_probs": said})

for pooling in ("max", "ave", "lin", "exp", "att"):
    case(f"TAL {pooling}", tal.TALNet(options(64, 256, pooling, 400)), features(400, 64))
case("TAL", tal.TALNet(options(64, 1024, "att", 400)), features(400, 64))
case("TALtrans", tal.TransformerEncoder(options(64, 1024, "att", 400)), features(400, 64))
case("linear", linear.LinearModel(input_dim=128), features(400, 128))
"""


def rows(peer: Path) -> Iterator[dict[str, Any]]:
    """name, largest_difference (of probabilities), commit."""
    names = (*(f"TAL {pooling}" for pooling in ("max", "ave", "lin", "exp", "att")), "TAL", "TALtrans", "linear")
    for case in run_peer(_CODE, peer, names, source="src"):
        said = case.answer(_build(case.name)).weak_probs
        difference = largest_difference([(said, case.said["weak_probs"])])
        yield {"name": f"ATDR {case.name}", "largest_difference": difference, "commit": COMMIT}


def _build(name: str) -> nn.Module:
    if name == "linear":
        return Linear(LinearOptions(), InputShape(400, 128), 527)
    if name == "TALtrans":
        return TALTrans(TALTransOptions(pooling="att", addpos=True), InputShape(400, 64), 527)
    pooling: Any = name.removeprefix("TAL").strip()
    options = TALNetOptions(pooling=pooling, embedding_size=256) if pooling else TALNetOptions(pooling="att")
    return TALNet(options, InputShape(400, 64), 527)
