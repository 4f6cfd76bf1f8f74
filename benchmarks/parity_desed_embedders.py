"""The embedders of the DESED baselines against ours: equal random weights, every number of their embeddings.

The peer is github.com/DCASE-REPO/DESED_task at COMMIT, its networks recipes/dcase2022_task4_baseline/local. It needs
librosa and `pip install --no-deps --target PEER/packages timm==0.4.5 torchlibrosa==0.1.0`.

Its `frame` is (values, frames) of a clip; that of AST holds all tokens, which ours calls `tokens`. PANNs are heard from
the waveform, behind front-ends of their own; AST from features. Differences are those of embeddings divided by their
largest value.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peer_network import PeerCase, largest_difference, run_peer
from desed_task.batch import Inputs
from desed_task.features.panns import PANNs, PANNsOptions
from desed_task.models.ast import AST, ASTOptions
from desed_task.models.cnn14 import Cnn14, Cnn14Options
from desed_task.models.tagger import InputShape
from desed_task.published.taggers import load_initial

COMMIT = "c6bcb45b8b98"
SECONDS, RATE = 10, 16000
_CODE = """
from local.ast.ast_models import ASTModel
from local.panns.models import Cnn14_16k

def keep(name, network, heard):
    enliven(network, heard)
    with torch.inference_mode():
        said = network(heard)
    save(name, network.state_dict(), heard, {name: values.clone() for name, values in said.items()})

keep("Cnn14_16k", Cnn14_16k(), waveforms(160000))
network = ASTModel(527, 10, 10, 128, 1024, imagenet_pretrain=False, audioset_pretrain=False, verbose=False)
for key, value in network.named_parameters():  # attention that is not nearly uniform, positions that weigh
    if key.endswith(("qkv.weight", "fc1.weight", "pos_embed")):
        value.data.mul_(3.0)
keep("ASTModel", network, features(1024, 128))
"""
# theirs: ours
_OUTPUTS = {"Cnn14_16k": {"global": "global", "frame": "frame"}, "ASTModel": {"global": "global", "frame": "tokens"}}


def rows(peer: Path) -> Iterator[dict[str, Any]]:
    """name, largest_difference (of embeddings, relative to the largest value), commit; for each embedding."""
    for case in run_peer(_CODE, peer, tuple(_OUTPUTS), source="recipes/dcase2022_task4_baseline"):
        model, heard = _ours(case)
        load_initial(model, case.checkpoint)
        for theirs, ours in _OUTPUTS[case.name].items():
            with torch.inference_mode():
                embedding = model.eval().embed(Inputs(heard), ours)
            published = case.said[theirs]
            published = published.transpose(1, 2) if theirs == "frame" else published.unsqueeze(1)
            largest = float(published.abs().max())
            difference = largest_difference([(embedding / largest, published / largest)])
            yield {"name": f"{case.name} {theirs}", "largest_difference": difference, "commit": COMMIT}


def _ours(case: PeerCase) -> tuple[AST | Cnn14, Tensor]:
    """Our network, and what it hears."""
    if case.name == "ASTModel":
        return AST(ASTOptions(), InputShape(1024, 128), 527), case.heard
    mel = PANNs(PANNsOptions(sample_rate=RATE))(case.heard)
    return Cnn14(Cnn14Options(), InputShape(mel.shape[1], mel.shape[2]), 527), mel
