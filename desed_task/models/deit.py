"""ImageNet's weights for AST: timm's DeiT (Touvron et al. 2021, arXiv 2012.12877), fetched once or read from a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from desed_task.errors import CheckpointError, FetchError
from desed_task.models.imagenet import sum_over_colours
from desed_task.models.positions import resize_positions

SPECIAL_TOKENS = 2
_PATCH_KERNEL, _POSITIONS = "patch_embed.proj.weight", "pos_embed"

DeiTSize = Literal["tiny224", "small224", "base224", "base384"]


def read_deit_weights(size: DeiTSize) -> dict[str, Tensor]:
    """The weights of timm's distilled DeiT; FetchError when they are not there and cannot be fetched."""
    import timm  # takes seconds, and only a training that starts from ImageNet needs it

    name = f"deit_{size[:-3]}_distilled_patch16_{size[-3:]}"
    try:
        weights: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # no network, no room, a broken file: a dozen kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise FetchError(
            f"the ImageNet weights {name} cannot be fetched ({reason}); name a file of them as model.weights, or set "
            f"model.initialisation to none"
        ) from None
    return weights


def trunk_weights(deit: Mapping[str, Tensor], grid: tuple[int, int], source: str) -> dict[str, Tensor]:
    """DeiT's weights by the names of our AST, its two heads left out, for patches on a grid (rows, columns)."""
    side = math.isqrt(max(0, deit[_POSITIONS].shape[1] - SPECIAL_TOKENS))
    if side * side + SPECIAL_TOKENS != deit[_POSITIONS].shape[1] or deit[_PATCH_KERNEL].dim() != 4:
        raise CheckpointError(
            f"{source}: position embeddings of shape {tuple(deit[_POSITIONS].shape)} are not of a distilled DeiT, "
            f"whose patches form a square"
        )
    resized = {
        _PATCH_KERNEL: sum_over_colours(deit[_PATCH_KERNEL]),
        _POSITIONS: resize_positions(deit[_POSITIONS], (side, side), grid, SPECIAL_TOKENS),
    }
    return {f"v.{name}": values for name, values in {**deit, **resized}.items() if not name.startswith("head")}
