"""ImageNet weights of convolutional trunks: the files of torchvision and timm, fetched once or put there by hand.

A model is built without them, so that a checkpoint can be read where they are not; a training that starts afresh asks
for them. Spectrograms have one channel and photographs three: the first convolution is summed over red, green and blue,
which is what it would make of a grey picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from desed_task.errors import FetchError


def read_imagenet_weights(url: str) -> dict[str, Tensor]:
    """The weights of the file at `url`, kept in torch's folder. FetchError when it is not there and cannot be fetched.

    The end of the file's name is the start of its SHA-256, which is checked.
    """
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    name = url.rpartition("/")[2]
    try:
        weights: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, model_dir=str(folder), map_location="cpu", check_hash=True, weights_only=True
        )
    except Exception as error:  # no network, a file cut short, a digest that differs: a dozen kinds
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise FetchError(
            f"the ImageNet weights {name} cannot be fetched or read ({reason}); put that file into {folder}, or set "
            f"pretrained to null"
        ) from None
    return weights


def sum_over_colours(weight: Tensor) -> Tensor:
    """(filters, 3, height, width) -> (filters, 1, height, width)."""
    return weight.sum(dim=1, keepdim=True)


def load_trunk(trunk: nn.Module, weights: Mapping[str, Tensor], kept: tuple[str, ...]) -> None:
    """Fill `trunk`, but for what begins with `kept`: a classifier, which photographs have another of."""
    taken = {name: value for name, value in weights.items() if not name.startswith(kept)}
    missing, unexpected = trunk.load_state_dict(taken, strict=False)
    strange = [*unexpected, *(name for name in missing if not name.startswith(kept))]
    assert not strange, f"the weights are of another network: {strange[:3]}"
