"""Names and shapes of published checkpoints, typed from what was published and not taken from any network of ours.

`filled` makes weights of them that are told apart row by row and yet take next to no room: every tensor counts up along
its first axis of more than one value and repeats itself, with strides of 0, along the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]

_NORM = ("weight", "bias", "running_mean", "running_var")
_CHANNELS = (1, 64, 128, 256, 512, 1024, 2048)
# PANNs: bins of the spectrum, samples of the window
FRONTENDS = {16000: (257, 512), 32000: (513, 1024)}
FRONTEND_NAMES = (
    "spectrogram_extractor.stft.conv_real.weight",
    "spectrogram_extractor.stft.conv_imag.weight",
    "logmel_extractor.melW",
)


def cnn14(sample_rate: int) -> Shapes:
    """Cnn14_16k (84 tensors), Cnn14 and Cnn14_DecisionLevelMax, under `model` of the file."""
    bins, samples = FRONTENDS[sample_rate]
    shapes: Shapes = dict.fromkeys(FRONTEND_NAMES[:2], (bins, 1, samples)) | {FRONTEND_NAMES[2]: (bins, 64)}
    shapes |= _norm("bn0", 64)
    for block in range(1, 7):
        before, channels = _CHANNELS[block - 1 : block + 1]
        here = f"conv_block{block}"
        shapes[f"{here}.conv1.weight"] = (channels, before, 3, 3)
        shapes[f"{here}.conv2.weight"] = (channels, channels, 3, 3)
        shapes |= _norm(f"{here}.bn1", channels) | _norm(f"{here}.bn2", channels)
    shapes |= {"fc1.weight": (2048, 2048), "fc1.bias": (2048,)}
    return shapes | {"fc_audioset.weight": (527, 2048), "fc_audioset.bias": (527,)}


def _norm(name: str, channels: int) -> Shapes:
    return {f"{name}.{part}": (channels,) for part in _NORM} | {f"{name}.num_batches_tracked": ()}


def ast(dim: int = 768, depth: int = 12, patches: int = 12 * 101, classes: int = 527) -> Shapes:
    """AST's own file (159 tensors), two heads of ImageNet that nothing uses among them."""
    trunk: Shapes = {
        **{"cls_token": (1, 1, dim), "dist_token": (1, 1, dim), "pos_embed": (1, patches + 2, dim)},
        **{"patch_embed.proj.weight": (dim, 1, 16, 16), "patch_embed.proj.bias": (dim,)},
        **_pair("norm", dim),
        **_pair("head", 1000, dim),
        **_pair("head_dist", 1000, dim),
    }
    for block in range(depth):
        here = f"blocks.{block}"
        trunk |= _pair(f"{here}.norm1", dim) | _pair(f"{here}.norm2", dim)
        trunk |= _pair(f"{here}.attn.qkv", 3 * dim, dim) | _pair(f"{here}.attn.proj", dim, dim)
        trunk |= _pair(f"{here}.mlp.fc1", 4 * dim, dim) | _pair(f"{here}.mlp.fc2", dim, 4 * dim)
    head = _pair("mlp_head.0", dim) | _pair("mlp_head.1", classes, dim)
    return {f"module.v.{name}": shape for name, shape in trunk.items()} | {f"module.{n}": s for n, s in head.items()}


def _pair(name: str, rows: int, *columns: int) -> Shapes:
    return {f"{name}.weight": (rows, *columns), f"{name}.bias": (rows,)}


# Of one block: Hugging Face's name, and whose (AST's own) rows it has; of query, key and value a third each.
_HF_BLOCK = {
    "layernorm_before": ("norm1", None),
    "attention.attention.query": ("attn.qkv", 0),
    "attention.attention.key": ("attn.qkv", 1),
    "attention.attention.value": ("attn.qkv", 2),
    "attention.output.dense": ("attn.proj", None),
    "layernorm_after": ("norm2", None),
    "intermediate.dense": ("mlp.fc1", None),
    "output.dense": ("mlp.fc2", None),
}
_HF_REST = {
    "audio_spectrogram_transformer.embeddings.cls_token": "v.cls_token",
    "audio_spectrogram_transformer.embeddings.distillation_token": "v.dist_token",
    "audio_spectrogram_transformer.embeddings.position_embeddings": "v.pos_embed",
    "audio_spectrogram_transformer.embeddings.patch_embeddings.projection.weight": "v.patch_embed.proj.weight",
    "audio_spectrogram_transformer.embeddings.patch_embeddings.projection.bias": "v.patch_embed.proj.bias",
    "audio_spectrogram_transformer.layernorm.weight": "v.norm.weight",
    "audio_spectrogram_transformer.layernorm.bias": "v.norm.bias",
    "classifier.layernorm.weight": "mlp_head.0.weight",
    "classifier.layernorm.bias": "mlp_head.0.bias",
    "classifier.dense.weight": "mlp_head.1.weight",
    "classifier.dense.bias": "mlp_head.1.bias",
}


def hugging_face_names(depth: int = 12) -> Iterator[tuple[str, str, int | None]]:
    """(Hugging Face's name, AST's own, which third of it): 203 of the published AST, as they stand in its file."""
    yield from ((theirs, own, None) for theirs, own in _HF_REST.items())
    for block in range(depth):
        for theirs, (own, third) in _HF_BLOCK.items():
            for part in ("weight", "bias"):
                name = f"audio_spectrogram_transformer.encoder.layer.{block}.{theirs}.{part}"
                yield name, f"v.blocks.{block}.{own}.{part}", third


def as_hugging_face(weights: Mapping[str, Tensor], depth: int = 12) -> dict[str, Tensor]:
    """Weights of AST by its own names -> by Hugging Face's."""
    return {
        theirs: weights[own] if third is None else weights[own].chunk(3)[third]
        for theirs, own, third in hugging_face_names(depth)
    }


def filled(shapes: Shapes) -> dict[str, Tensor]:
    """Weights of these shapes: see the module. Counters are 0-dimensional whole numbers."""
    weights = {}
    for number, (name, shape) in enumerate(shapes.items()):
        if not shape:
            weights[name] = torch.tensor(600_000 + number)
            continue
        axis = next((axis for axis, size in enumerate(shape) if size > 1), 0)
        counted = 1e-3 * number + 1e-6 * torch.arange(shape[axis], dtype=torch.float32)
        weights[name] = counted.view(-1, *[1] * (len(shape) - axis - 1)).expand(shape)
    return weights


def frontend(sample_rate: int) -> dict[str, Tensor]:
    """The front-end of a PANN by numpy and librosa: Slaney's scale and norm, a periodic Hann window."""
    import librosa
    import numpy as np

    bins, samples = FRONTENDS[sample_rate]
    turns = np.outer(np.arange(bins), np.arange(samples)) * (2 * np.pi / samples)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)
    f_max = {16000: 8000.0, 32000: 14000.0}[sample_rate]
    mel = librosa.filters.mel(sr=sample_rate, n_fft=samples, n_mels=64, fmin=50, fmax=f_max).T
    parts = ((np.cos(turns) * window)[:, None], (-np.sin(turns) * window)[:, None], mel)
    return {name: torch.tensor(values, dtype=torch.float32) for name, values in zip(FRONTEND_NAMES, parts, strict=True)}


def pann_file(sample_rate: int, **changed: Any) -> dict[str, Any]:
    """The checkpoint of a Cnn14 as PANNs save it; `changed` replaces weights."""
    return {"iteration": 600_000, "model": filled(cnn14(sample_rate)) | frontend(sample_rate) | changed}


def saved(path: Path, checkpoint: Any) -> Path:
    torch.save(checkpoint, path)
    return path
