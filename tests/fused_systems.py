"""Small detectors that listen to pretrained networks, and files of weights for these: chance, drawn from a seed.

Windows of two seconds at 16 kHz. `cnn14` and `ast` are embedders of a conf; their networks are a hundredth of the
published ones. Batch norms have the statistics of noise, and the heads' logits are spread, so that answers differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from desed_task.batch import Inputs
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import NetworkOptions
from desed_task.experiment import SedOptions, describe
from desed_task.options import check_options
from desed_task.system import build_ears, build_model, embedders_of, load_learning

SECONDS, RATE = 2.0, 16_000
CNN14 = {"name": "network", "features": {"name": "panns", "sample_rate": RATE}, "num_classes": 3}
CNN14 |= {"model": {"name": "cnn14", "width": 0.02}}
CNN14_32K = {**CNN14, "features": {"name": "panns", "sample_rate": 2 * RATE}}
AST = {"name": "network", "features": {"name": "kaldi", "target_frames": 208, "std_scale": 2}, "num_classes": 3}
AST |= {"model": {"name": "ast", "model_size": "tiny224", "depth": 1}}
MODEL = {"nb_filters": [4, 8], "pooling": [[2, 4], [2, 4]], "dropout": 0.1, "n_rnn_cell": 8, "rnn_layers": 1}
FEATURES = {"name": "logmel", "n_window": 512, "hop_length": 256, "n_mels": 16}


def write_weights(path: Path, embedder: Mapping[str, Any], seed: int = 0) -> Path:
    """Weights of an embedder of a conf, in a file."""
    options = check_options({**embedder}, NetworkOptions)
    torch.manual_seed(seed)
    built = BuiltEmbedder(options, RATE, SECONDS)
    network = built.network().network
    waveform = torch.randn(4, round(SECONDS * RATE)) * torch.logspace(-3, -1, 4)[:, None]
    with torch.no_grad():
        heard = built.hearing()(waveform)
        for _ in range(3):
            network.train()(Inputs(heard))
    torch.save(network.state_dict(), path)
    return path


def fused_tree(
    embedders: Mapping[str, Any], ways: Mapping[str, str], join: str = "concatenated", **sections: Any
) -> dict[str, Any]:
    """A conf, of data that is nowhere unless `sections` say otherwise."""
    corpus = {"name": "soundscapes", "root": "nowhere", "part": "test"}
    return {
        "labels": ["hum", "hiss"],
        "features": FEATURES,
        "model": {**MODEL, "fusion": {"ways": dict(ways), "join": join}},
        "embedders": dict(embedders),
        "data": {
            "clip_seconds": SECONDS,
            "overlap_frames": 4,
            "train": [{"corpus": corpus, "supervision": "strong", "batch_size": 1}],
            "validation": [{"corpus": corpus}],
            "test": {"corpus": corpus},
        },
        **sections,
    }


def fused_options(
    embedders: Mapping[str, Any], ways: Mapping[str, str], join: str = "concatenated", **sections: Any
) -> SedOptions:
    """The same, checked."""
    return check_options(fused_tree(embedders, ways, join, **sections), SedOptions)


def write_checkpoint(options: SedOptions, path: Path) -> Path:
    """A checkpoint of an untrained student and teacher, whose answers differ from sound to sound."""
    torch.manual_seed(1)
    student, ears = build_model(options).eval(), build_ears(options)
    load_learning(student, options)
    detector = getattr(student, "detector", student)
    ears.make_spare()
    torch.manual_seed(2)  # whatever was drawn for embedders
    waveform = torch.randn(4, round(SECONDS * RATE)) * torch.logspace(-3, -1, 4)[:, None]
    with torch.no_grad():
        heard = ears(waveform)
        for _ in range(10):
            student.train()(heard)
        detector.dense.weight.mul_(10)
        for parameter in detector.fusion.parameters():
            parameter.mul_(3)
    weights = student.eval().state_dict()
    torch.save({"sed_student": weights, "sed_teacher": weights, "desed_task": describe(options)}, path)
    return path


def embedder_names(options: SedOptions) -> list[str]:
    """Of its embedders, in their order."""
    return list(embedders_of(options))
