"""The head of AudioTagging Done Right: each frame is scored by itself, and a pooling of its probabilities is the clip.

The published code gives the clip alone. `att` weighs frames by a softmax over time, per class, of a second linear map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from desed_task.batch import Predictions
from desed_task.models.pooling import PoolingName, build_pooling, logit_of
from desed_task.models.precision import dtype_of

HEAD = ("fc_prob.", "fc_att.")


def add_frame_scores(model: nn.Module, features: int, num_classes: int, pooling: PoolingName) -> None:
    """Give `model` the linear maps `fc_prob` and, for `att`, `fc_att`."""
    names = ("fc_prob", "fc_att") if pooling == "att" else ("fc_prob",)
    for name in names:
        linear = nn.Linear(features, num_classes)
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
        model.add_module(name, linear)


def score_frames_and_pool(model: nn.Module, x: Tensor, pooling: PoolingName) -> Predictions:
    """(batch, frames, features) -> Predictions, by the linear maps of `model`; in float32 in mixed precision too."""
    fc_prob = model.get_submodule("fc_prob")
    with torch.autocast(x.device.type, enabled=False):
        x = x.to(dtype_of(fc_prob))
        strong: Tensor = fc_prob(x)
        attention = model.get_submodule("fc_att")(x) if pooling == "att" else None
        return Predictions(strong, logit_of(build_pooling(pooling)(strong.sigmoid(), attention)))
