"""Checkpoints of small taggers of every family, with random weights that say something of what they hear."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tagging_clips import LABELS
from torch import nn

from desed_task.batch import Inputs
from desed_task.options import check_options
from desed_task.system import build_frontend, build_grid, build_model, describe
from desed_task.tagging import TASK, TaggingOptions
from desed_task.training.checkpointing import write_checkpoint

# Front-end and model, as published systems pair them, at a size that a test can afford.
FAMILIES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ast": (
        {"name": "kaldi", "n_mels": 32, "target_frames": 112, "padding": "zero"},
        {"name": "ast", "model_size": "tiny224", "depth": 1, "fstride": 16, "tstride": 16},
    ),
    "efficientnet": (
        {"name": "kaldi", "n_mels": 32, "mean": -4.6476, "std": 4.5699, "std_scale": 1.0},
        {"name": "efficientnet", "eff_b": 0, "width": 0.25, "depth": 0.25},
    ),
    "cnn14": ({"name": "panns", "sample_rate": 8000}, {"name": "cnn14", "architecture": "cnn6", "width": 0.0625}),
    "cnn14 on segments": (
        {"name": "panns", "sample_rate": 8000},
        {"name": "cnn14", "architecture": "cnn6", "width": 0.0625, "decision": "att"},
    ),
    "vgglike": ({"name": "fsd50k_mel"}, {"name": "vgglike", "width": 4}),
    "crnn of fsd50k": (
        {"name": "fsd50k_mel"},
        {"name": "fsd50k_crnn", "nb_filters": [4, 8, 8], "pooling": [[2, 5], [2, 4], [2, 2]], "n_rnn_cell": 4},
    ),
    "resnet": ({"name": "fsd50k_spectrogram"}, {"name": "resnet", "depth": 10, "width": 8}),
    "densenet": (
        {"name": "fsd50k_mel"},
        {"name": "densenet", "blocks": [2, 2], "growth_rate": 4, "width": 8},
    ),
    "cifar_resnet": ({"name": "fsd50k_spectrogram"}, {"name": "cifar_resnet", "depth": 8, "width": 4}),
    "efficientnet of gise": (
        {"name": "fsd50k_spectrogram"},
        {"name": "efficientnet", "eff_b": 0, "width": 0.25, "depth": 0.25, "head": "linear", "image_size": 221},
    ),
    "mobilenet": ({"name": "efficientat"}, {"name": "mobilenet", "width": 0.1}),
    "taltrans": (
        {"name": "tal", "n_mels": 32, "target_frames": 40},
        {"name": "taltrans", "embedding_size": 32, "n_conv_layers": 4, "n_pool_layers": 2},
    ),
    "transformer": ({"name": "logmel", "n_mels": 32}, {"name": "transformer", "dim": 16, "num_heads": 2, "depth": 1}),
}


def tagger_options(family: str, data: Mapping[str, Any] | None = None) -> TaggingOptions:
    """Options of a family, its clips 1 s long and 0.5 s apart; `data` adds to the section."""
    features, model = FAMILIES[family]
    corpus = {"name": "manifest", "table": "nowhere.csv"}
    tree = {
        "labels": list(LABELS),
        "features": features,
        "model": model,
        "data": {
            "clip_seconds": 1.0,
            "view": {"hop_seconds": 0.5, "tail": "shift"},
            "train": [{"corpus": corpus, "batch_size": 1}],
            "validation": corpus,
            **(data or {}),
        },
    }
    return check_options(tree, TaggingOptions)


def write_tagger(family: str, path: Path, data: Mapping[str, Any] | None = None) -> Path:
    """A checkpoint at `path`, which is returned."""
    options = tagger_options(family, data)
    torch.manual_seed(0)
    model, frontend = build_model(options), build_frontend(options)
    _listen_once(model, frontend, build_grid(options).num_samples(1.0))
    write_checkpoint({"model": model.state_dict(), "desed_task": {"task": TASK, **describe(options)}}, path)
    return path


def _listen_once(model: nn.Module, frontend: nn.Module, num_samples: int) -> None:
    """Running statistics of a batch, without which deep networks fade out, and a head that makes differences heard."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    loudness = torch.logspace(-3, 0, 8)[:, None]
    with torch.no_grad():
        noise = loudness * torch.randn(8, num_samples, generator=torch.Generator().manual_seed(1))
        noise[::2] = loudness[::2] * torch.sin(torch.arange(num_samples) * torch.linspace(0.02, 0.4, 4)[:, None])
        inputs = Inputs(frontend(noise))
        model.train()(inputs)
        head = [values for name, values in model.named_parameters() if name.startswith(model.HEAD) and values.ndim > 1]
        for _ in range(12):
            if (model.eval()(inputs).weak_probs.amax(0) - model(inputs).weak_probs.amin(0)).max() > 0.05:
                break
            for values in head:
                values.mul_(1.5)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
