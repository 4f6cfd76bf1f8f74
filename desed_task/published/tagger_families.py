"""The published taggers by the names of their weights, and how each file's names and shapes become those of our models.

Ours bear the published names, so most of it is leaving out what the published networks carry along and never use:
heads of ImageNet, the front-end's frozen tensors, the second name of each convolution of TALNet. AST alone is
translated: from Hugging Face, whose attention has three matrices in place of one, from DeiT of ImageNet, and to another
number of patches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from desed_task.errors import CheckpointError
from desed_task.models.ast import AST
from desed_task.models.deit import SPECIAL_TOKENS, trunk_weights
from desed_task.models.positions import resize_positions

Weights = dict[str, Tensor]

_HF_ROOT = "audio_spectrogram_transformer."
# Hugging Face's name of 2022 | of today -> the original one.
_HF_NAMES = (
    (r"embeddings\.(cls_token)", r"v.\1"),
    (r"embeddings\.distillation_token", "v.dist_token"),
    (r"embeddings\.position_embeddings", "v.pos_embed"),
    (r"embeddings\.patch_embeddings\.projection\.", "v.patch_embed.proj."),
    (r"(?:encoder\.layer|layers)\.(\d+)\.layernorm_before\.", r"v.blocks.\1.norm1."),
    (r"(?:encoder\.layer|layers)\.(\d+)\.layernorm_after\.", r"v.blocks.\1.norm2."),
    (r"(?:encoder\.layer|layers)\.(\d+)\.attention\.(?:output\.dense|o_proj)\.", r"v.blocks.\1.attn.proj."),
    (r"(?:encoder\.layer\.(\d+)\.intermediate\.dense)\.", r"v.blocks.\1.mlp.fc1."),
    (r"(?:encoder\.layer\.(\d+)\.output\.dense)\.", r"v.blocks.\1.mlp.fc2."),
    (r"layers\.(\d+)\.mlp\.", r"v.blocks.\1.mlp."),
    (r"layernorm\.", "v.norm."),
    (r"classifier\.layernorm\.", "mlp_head.0."),
    (r"classifier\.dense\.", "mlp_head.1."),
)
_HF_THIRD = re.compile(
    r"(?:encoder\.layer|layers)\.(\d+)\.attention\.(?:attention\.(query|key|value)|([qkv])_proj)\.(weight|bias)"
)
_AUDIOSET_GRID = (12, 101)


@dataclass(frozen=True)
class Translation:
    """Weights by our names; what was left out; what was changed, in words."""

    weights: Weights
    left_out: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Family:
    """A kind of published weights. marks: names that all must be there; target: the family of our model for it."""

    name: str
    marks: tuple[str, ...]
    translate: Callable[[Weights, torch.nn.Module, Path], Translation]
    target: str = ""


def family_of(names: Collection[str]) -> Family:
    """The family that weights of these names belong to; `ANOTHER` for names that mark none."""
    return next((family for family in FAMILIES if all(mark in names for mark in family.marks)), ANOTHER)


def _leaving_out(pattern: str) -> Callable[[Weights, torch.nn.Module, Path], Translation]:
    unused = re.compile(pattern)

    def translate(weights: Weights, model: torch.nn.Module, _path: Path) -> Translation:
        mine = model.state_dict()
        left_out = tuple(name for name in weights if unused.match(name) and name not in mine)
        return Translation({name: values for name, values in weights.items() if name not in left_out}, left_out)

    return translate


def _split(weights: Weights, unused: re.Pattern[str]) -> Translation:
    left_out = tuple(name for name in weights if unused.match(name))
    return Translation({name: values for name, values in weights.items() if name not in left_out}, left_out)


def _unchanged(weights: Weights, _model: torch.nn.Module, _path: Path) -> Translation:
    return Translation(weights)


def _from_gise(weights: Weights, _model: torch.nn.Module, _path: Path) -> Translation:
    return Translation({f"effnet.{name}": values for name, values in weights.items()})


def _from_ast(weights: Weights, model: torch.nn.Module, path: Path) -> Translation:
    kept = _split(weights, re.compile(r"v\.head(_dist)?\."))
    if not isinstance(model, AST):
        return kept
    positions = kept.weights.get("v.pos_embed")
    if positions is None or positions.shape == model.v.pos_embed.shape:
        return kept
    old = _grid_of(positions, model.grid, path)
    resized = resize_positions(positions, old, model.grid, SPECIAL_TOKENS)
    change = f"position embeddings of {_size(old)} patches resized to {_size(model.grid)}"
    return Translation(kept.weights | {"v.pos_embed": resized}, kept.left_out, (change,))


def _from_deit(weights: Weights, model: torch.nn.Module, path: Path) -> Translation:
    left_out = tuple(name for name in weights if name.startswith("head"))
    if not isinstance(model, AST):
        return Translation(weights)
    changes = (
        "patch kernels summed over red, green and blue",
        f"position embeddings fitted to {_size(model.grid)} patches",
    )
    return Translation(trunk_weights(weights, model.grid, str(path)), left_out, changes)


def _from_hugging_face(weights: Weights, model: torch.nn.Module, path: Path) -> Translation:
    """The original names, query, key and value in one matrix. Its layer norms add 1e-12, not 1e-6 (logits: 1e-4)."""
    renamed: Weights = {}
    thirds: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, values in weights.items():
        bare = name.removeprefix(_HF_ROOT)
        third = _HF_THIRD.fullmatch(bare)
        if third is None:
            renamed[_original_name(bare)] = values
        else:
            block, word, letter, kind = third.groups()
            thirds.setdefault((block, kind), {})[letter or word[0]] = values
    for (block, kind), parts in thirds.items():
        if sorted(parts) != ["k", "q", "v"]:
            raise CheckpointError(f"{path}: block {block} has no query, key and value {kind}; fetch the file again")
        renamed[f"v.blocks.{block}.attn.qkv.{kind}"] = torch.cat([parts["q"], parts["k"], parts["v"]])
    translated = _from_ast(renamed, model, path)
    change = "query, key and value of each block joined"
    return Translation(translated.weights, translated.left_out, (change, *translated.changes))


def _original_name(name: str) -> str:
    for theirs, original in _HF_NAMES:
        renamed, found = re.subn(f"^{theirs}", original, name)
        if found:
            return renamed
    return name


def _grid_of(positions: Tensor, wanted: tuple[int, int], path: Path) -> tuple[int, int]:
    """Rows and columns of the patches that position embeddings are of: as published, else with our number of rows."""
    num_patches = positions.shape[1] - SPECIAL_TOKENS if positions.dim() == 3 else 0
    if num_patches == _AUDIOSET_GRID[0] * _AUDIOSET_GRID[1]:
        return _AUDIOSET_GRID
    if num_patches < 1 or num_patches % wanted[0]:
        raise CheckpointError(
            f"{path}: position embeddings of shape {tuple(positions.shape)} are neither of {_size(_AUDIOSET_GRID)} "
            f"patches nor of {wanted[0]} rows, as model.fstride has them; set model.fstride to that of the checkpoint"
        )
    return wanted[0], num_patches // wanted[0]


def _size(grid: tuple[int, int]) -> str:
    return f"{grid[0]} x {grid[1]}"


ANOTHER = Family("another", (), _unchanged)
FAMILIES = (
    Family("AST", ("v.cls_token", "v.dist_token", "v.pos_embed"), _from_ast),
    Family("AST of Hugging Face", (f"{_HF_ROOT}embeddings.distillation_token",), _from_hugging_face, "AST"),
    Family("AST of Hugging Face", ("embeddings.distillation_token",), _from_hugging_face, "AST"),
    Family("DeiT", ("cls_token", "dist_token", "pos_embed", "patch_embed.proj.weight"), _from_deit, "AST"),
    Family(
        "PANNs",
        ("bn0.weight", "conv_block1.conv1.weight", "fc1.weight"),
        _leaving_out("(spectrogram|logmel)_extractor\\."),
    ),
    Family("EfficientAT", ("features.0.0.weight", "features.15.block.2.conc_se_layers.0.fc1.weight"), _unchanged),
    Family("PSLA", ("effnet._conv_stem.weight",), _leaving_out(r"effnet\._fc\.")),
    Family("EfficientNet of GISE-51", ("_conv_stem.weight", "_conv_head.weight"), _from_gise, "PSLA"),
    Family("the narrow ResNet of GISE-51", ("layer3.0.conv2.weight", "linear.weight"), _unchanged),
    Family("TALNet", ("conv.0.conv.weight", "gru.weight_ih_l0", "fc_prob.weight"), _leaving_out(r"conv\d+\.")),
    Family(
        "TALtrans",
        ("conv.0.conv.weight", "enc_layer.slf_attn.w_qs.weight", "fc_prob.weight"),
        _leaving_out(r"conv\d+\.|positional_encoding\."),
    ),
)


def same_family(file: Family, model: Family) -> bool:
    """Whether weights of the one are for models of the other."""
    return (file.target or file.name) == (model.target or model.name)


def shapes_of(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Name -> shape."""
    return {name: tuple(values.shape) for name, values in weights.items()}
