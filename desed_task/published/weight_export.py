"""Weights of a tagger as the published code keeps them: a plain state dict, called after what the network reached.

    mAP=0.5635_dprime=1.8195_num_classes=51.pth

Names are the published ones, so the file loads strictly into the published network (GISE-51's `pretrained`) and, by
`--init_from`, into ours. An EfficientNet with a linear head is GISE-51's, whose names lack the beginning `effnet.`.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from desed_task.errors import CheckpointError
from desed_task.models.efficientnet import EfficientNet

_TRUNK = "effnet."


def published_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict by the published names, on the CPU."""
    weights = {name: values.detach().cpu().clone() for name, values in model.state_dict().items()}
    if isinstance(model, EfficientNet) and model.options.head == "linear":
        return {name.removeprefix(_TRUNK): values for name, values in weights.items()}
    return weights


def weights_name(mean_average_precision: float | None, dprime: float | None, num_classes: int) -> str:
    """What the file is called; undefined figures are nan."""
    reached = [math.nan if figure is None else figure for figure in (mean_average_precision, dprime)]
    return f"mAP={reached[0]:.4f}_dprime={reached[1]:.4f}_num_classes={num_classes}.pth"


def write_weights(model: nn.Module, path: Path) -> None:
    """Write, read back and compare; CheckpointError when what was written is not what the model holds.

    An older file stays until the new one has been compared.
    """
    weights = published_weights(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    torch.save(weights, partial)
    read = torch.load(partial, map_location="cpu", weights_only=True)
    same = list(read) == list(weights) and all(torch.equal(read[name], values) for name, values in weights.items())
    if not same:
        partial.unlink()
        raise CheckpointError(f"{path}: what was written reads back otherwise; is the disk full or broken?")
    partial.replace(path)
