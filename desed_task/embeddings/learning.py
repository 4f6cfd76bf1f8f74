"""A detector and the embedders that learn with it (end to end): one model.

Its state dict holds all of them, under `detector.` and `embedders.<name>.`; the optimiser gives each embedder a
learning rate of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from desed_task.batch import Inputs, Predictions
from desed_task.embeddings.embedder import Network


class Learning(nn.Module):
    """Inputs, with what each of `embedders` hears in `embedder_inputs` -> Predictions of `detector`."""

    def __init__(self, detector: nn.Module, embedders: Mapping[str, Network]) -> None:
        super().__init__()
        self.detector, self.embedders = detector, nn.ModuleDict(embedders)

    def forward(self, inputs: Inputs) -> Predictions:
        """See the class."""
        own = {name: network(inputs.embedder_inputs[name]) for name, network in self.embedders.items()}
        predictions: Predictions = self.detector(replace(inputs, embeddings={**inputs.embeddings, **own}))
        return predictions


def parameter_groups(model: nn.Module, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """The parameters of a model for an optimiser: first all others, then each embedder of `rates` with its own rate.

    Without embedders that learn, one group; else groups have names, which the log shows: detector, embedders.<name>.
    """
    if not rates:
        return [{"params": list(model.parameters())}]
    own: dict[str, list[nn.Parameter]] = {name: [] for name in rates}
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        start, _, rest = name.partition(".")
        embedder = rest.partition(".")[0]
        (own[embedder] if start == "embedders" and embedder in own else others).append(parameter)
    embedders = [{"name": f"embedders.{name}", "params": own[name], "lr": rate} for name, rate in rates.items()]
    return [{"name": "detector", "params": others}, *embedders]


def joined_weights(detector: Mapping[str, Tensor], networks: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The state dict of a `Learning` of a detector's and, by embedder, that of its network."""
    own = {f"embedders.{name}.network.{key}": v for name, weights in networks.items() for key, v in weights.items()}
    return {f"detector.{key}": values for key, values in detector.items()} | own
