"""Published confs and weights of systems with embeddings: every key of pretrained.yaml of 2022, 2023 and 2024 (the last
without MAESTRO's data), and every name and shape of the networks they describe (facts, typed here)."""

from __future__ import annotations

from typing import Any

import torch
from published_shapes import published_tree

AST_2022: dict[str, Any] = {"use_embeddings": True, "embedding_size": 768, "embedding_type": "frame"}
POOL1D: dict[str, Any] = AST_2022 | {"aggregation_type": "pool1d"}
PRETRAINED: dict[int, dict[str, Any]] = {
    2022: {
        **{"model": "ast", "e2e": False, "freezed": True, "extracted_embeddings_dir": "./embeddings"},
        "url": "https://zenodo.org/record/3987831/files/Cnn14_16k_mAP%3D0.438.pth?download=1",
        "dest": "./pretrained_models/Cnn14_16k_mAP%3D0.438.pth",
    },
    2023: {"model": "beats", "e2e": False, "freezed": True, "extracted_embeddings_dir": "./embeddings"},
}
PRETRAINED[2024] = PRETRAINED[2023]


def pretrained_tree(year: int, net: dict[str, Any] | None = None, **pretrained: Any) -> dict[str, Any]:
    """The pretrained.yaml of a year; `net` and `pretrained` replace keys of those sections."""
    own = AST_2022 if year == 2022 else POOL1D
    if year == 2024:
        own = own | {"dropstep_recurrent": 0.3}
    tree = published_tree(year, **(own | (net or {})))
    if year == 2023:
        tree["training"] |= {"batch_size": [24, 24, 48], "batch_size_val": 48, "deterministic": False}
    if year == 2022:
        for key in ("strong_folder", "strong_folder_44k", "strong_tsv"):
            del tree["data"][key]
    return {**tree, "pretrained": PRETRAINED[year] | pretrained}


def panns_tree(kind: str = "global", **pretrained: Any) -> dict[str, Any]:
    """That of 2022 as its README says for PANNs: model panns, embedding_size 2048."""
    return pretrained_tree(2022, {"embedding_type": kind, "embedding_size": 2048}, **({"model": "panns"} | pretrained))


FILTERS = (16, 32, 64, 128, 128, 128, 128)
Shapes = dict[str, tuple[int, ...]]


def crnn_shapes(num_classes: int = 10, cells: int = 128) -> Shapes:
    """Names and shapes of the published CRNN, buffers too."""
    shapes: Shapes = {}
    before = 1
    for block, filters in enumerate(FILTERS):
        shapes[f"cnn.cnn.conv{block}.weight"] = (filters, before, 3, 3)
        shapes |= {f"cnn.cnn.conv{block}.bias": (filters,), f"cnn.cnn.batchnorm{block}.num_batches_tracked": ()}
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"cnn.cnn.batchnorm{block}.{part}"] = (filters,)
        shapes |= {
            f"cnn.cnn.glu{block}.linear.weight": (filters, filters),
            f"cnn.cnn.glu{block}.linear.bias": (filters,),
        }
        before = filters
    for layer, heard in enumerate((128, 2 * cells)):
        shapes |= gru_shapes(f"rnn.rnn.{{}}_l{layer}", heard, cells)
    for head in ("dense", "dense_softmax"):
        shapes |= {f"{head}.weight": (num_classes, 2 * cells), f"{head}.bias": (num_classes,)}
    return shapes


def gru_shapes(name: str, heard: int, cells: int) -> Shapes:
    """One bidirectional layer; {} in the name is the part."""
    parts = {"weight_ih": (3 * cells, heard), "weight_hh": (3 * cells, cells)}
    parts |= {"bias_ih": (3 * cells,), "bias_hh": (3 * cells,)}
    return {name.format(part) + way: shape for way in ("", "_reverse") for part, shape in parts.items()}


def shrink_shapes(size: int) -> Shapes:
    """Linear layer and layer norm."""
    norm = {"shrink_emb.1.weight": (128,), "shrink_emb.1.bias": (128,)}
    return {"shrink_emb.0.weight": (128, size), "shrink_emb.0.bias": (128,), **norm}


def joined_shapes(size: int) -> Shapes:
    """The layer behind features and embeddings."""
    return {"cat_tf.weight": (128, 128 + size), "cat_tf.bias": (128,)}


FRAME = shrink_shapes(1024) | gru_shapes("frame_embs_encoder.{}_l0", 768, 512) | joined_shapes(128)
GLOBAL_PANNS = shrink_shapes(2048) | joined_shapes(128)
POOLED = joined_shapes(768)


def weights(shapes: Shapes, seed: int) -> dict[str, torch.Tensor]:
    """Small random values; variances are positive, counters whole."""
    generator = torch.Generator().manual_seed(seed)
    made = {name: 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    made |= {name: values.abs() + 0.5 for name, values in made.items() if name.endswith("running_var")}
    return made | {name: torch.tensor(7) for name in made if name.endswith("num_batches_tracked")}
