"""The mean of a model's weights over epochs, streamed: one sum is kept, never the weights of several epochs.

    mean        (w_s + w_s+1 + ... + w_e) / n
    published   (2 w_s + w_s+1 + ... + w_e) / (n + 1): PSLA's code begins with the first epoch and adds it again

Sums are kept in double precision (whole numbers in 64 bits), so the order plays no part; the published code sums in
single precision, which differs by a few units in the last place. Running statistics of batch norm are averaged like
weights. Whole-number buffers (how many batches a norm has heard) are those of the last epoch in `mean`; in `published`
they are averaged and cut to whole numbers, as torch does when it loads them.

Averaged weights have statistics of their own, of which means of statistics are but an estimate; `reestimate_batch_norm`
measures them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from desed_task.batch import Inputs
from desed_task.errors import CheckpointError

AveragingMode = Literal["mean", "published"]


class WeightAverage:
    """A running mean of state dicts, on the CPU."""

    def __init__(self, mode: AveragingMode = "mean") -> None:
        self.mode = mode
        self.count = 0
        self._sums: dict[str, Tensor] = {}
        self._last: dict[str, Tensor] = {}

    def add(self, weights: Mapping[str, Tensor]) -> None:
        """Count in the weights of one more epoch; CheckpointError when they are those of another model."""
        self._require_same_model(weights)
        times = 2 if self.mode == "published" and not self.count else 1
        for name, values in weights.items():
            wide = torch.float64 if values.is_floating_point() else torch.int64
            # A copy, also where the weights lie on the CPU in this type.
            addend = values.detach().to("cpu", wide, copy=True).mul_(times)
            self._sums[name] = self._sums[name].add_(addend) if self.count else addend
            # Of weights only the type; a copy of whole numbers, which the model counts on.
            kept = values.new_empty(0) if values.is_floating_point() else values
            self._last[name] = kept.detach().to("cpu", copy=True)
        self.count += 1

    def average(self) -> dict[str, Tensor]:
        """The mean so far, in the weights' types; of at least one epoch."""
        assert self.count, "no weights were added"
        total = self.count + (self.mode == "published")
        return {name: self._mean(name, values, total) for name, values in self._sums.items()}

    def state(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint; the tensors are this object's own."""
        return {"mode": self.mode, "count": self.count, "sums": dict(self._sums), "last": dict(self._last)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.mode, self.count = state["mode"], state["count"]
        self._sums = {name: values.clone() for name, values in state["sums"].items()}
        self._last = dict(state["last"])

    def _mean(self, name: str, total: Tensor, count: int) -> Tensor:
        last = self._last[name]
        if last.is_floating_point():
            return (total / count).to(last.dtype)
        if self.mode == "mean" or last.dtype == torch.bool:
            return last.clone()
        return torch.div(total, count, rounding_mode="trunc").to(last.dtype)

    def _require_same_model(self, weights: Mapping[str, Tensor]) -> None:
        if not self.count:
            return
        differing = sorted(weights.keys() ^ self._sums.keys()) or [
            name for name, values in weights.items() if values.shape != self._sums[name].shape
        ]
        if differing:
            raise CheckpointError(f"weights of different models cannot be averaged ({differing[0]} differs)")


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: Iterable[Inputs]) -> None:
    """Measure the running statistics of each batch norm anew, in place: means over `batches`, each counting alike.

    Nothing else of the model is in training mode meanwhile, so dropout is off. CheckpointError, and the statistics as
    they were, when there are no batches.
    """
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    momenta, modes = [norm.momentum for norm in norms], [(part, part.training) for part in model.modules()]
    model.eval()
    heard = 0
    for inputs in batches:
        if not heard:
            _begin_measuring(norms)
        model(inputs)
        heard += 1
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for part, was_training in modes:
        part.training = was_training
    if not heard:
        raise CheckpointError("there are no batches to measure the statistics of batch norm on; give training clips")


def _begin_measuring(norms: Iterable[nn.modules.batchnorm._BatchNorm]) -> None:
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a mean in which all batches count alike
        norm.train()
