"""The four tensor nouns of a training run: Batch -> Inputs -> Predictions, compared with Targets.

Axis order everywhere: (batch, frames, classes). Supervision travels in the data (`has_strong`, `has_weak`), never as a
position in the batch. `Inputs.mix` and `Targets.mix` take the same partners and weights, so features, embeddings and
labels cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Targets:
    """What is known about the clips of a batch.

    strong: (batch, frames, classes) in [0, 1]; weak: (batch, classes) in [0, 1]; has_strong, has_weak: (batch,) bool.
    Clips without that supervision hold zeros that no loss reads.
    """

    strong: Tensor
    weak: Tensor
    has_strong: Tensor
    has_weak: Tensor

    def to(self, device: torch.device) -> Targets:
        """The same on `device`."""
        return Targets(*(part.to(device, non_blocking=True) for part in vars(self).values()))

    def mix(self, partner: Tensor, weight: Tensor, hard: bool = False) -> Targets:
        """Clip i with clip partner[i], as `Inputs.mix`; `hard` gives both clips' labels in full."""
        if hard:
            return replace(
                self,
                strong=(self.strong + self.strong[partner]).clamp(0.0, 1.0),
                weak=(self.weak + self.weak[partner]).clamp(0.0, 1.0),
            )
        return replace(self, strong=_mix(self.strong, partner, weight), weak=_mix(self.weak, partner, weight))


@dataclass(frozen=True)
class Inputs:
    """What a model hears. mel: (batch, mel_frames, mel_bands); embeddings: name -> (batch, embedding_frames, dim)."""

    mel: Tensor
    embeddings: Mapping[str, Tensor] = field(default_factory=dict)

    def mix(self, partner: Tensor, weight: Tensor) -> Inputs:
        """weight[i] * clip i + (1 - weight[i]) * clip partner[i], for everything that is heard."""
        mixed = {name: _mix(values, partner, weight) for name, values in self.embeddings.items()}
        return Inputs(_mix(self.mel, partner, weight), mixed)


@dataclass(frozen=True)
class Predictions:
    """What a model says. strong_logits: (batch, frames, classes) or None; weak_logits: (batch, classes)."""

    strong_logits: Tensor | None
    weak_logits: Tensor

    def fitted(self, num_frames: int) -> Predictions:
        """The same on a grid of `num_frames` frames from the clip's first sample on.

        A model may give more (its input was padded), which are dropped, or fewer, whose last then stands for the rest.
        """
        strong = self.strong_logits
        if strong is None:
            return self
        given = strong.shape[1]  # while a graph is traced, a tensor that must not be asked
        if type(given) is int and given == num_frames:
            return self
        missing = strong[:, -1:].expand(-1, num_frames, -1)
        return replace(self, strong_logits=torch.cat([strong, missing], dim=1)[:, :num_frames])

    @property
    def strong_probs(self) -> Tensor:
        """(batch, frames, classes) in [0, 1]; AssertionError for a tagger."""
        assert self.strong_logits is not None, "this model gives no frame scores"
        return torch.sigmoid(self.strong_logits)

    @property
    def weak_probs(self) -> Tensor:
        """(batch, classes) in [0, 1]."""
        return torch.sigmoid(self.weak_logits)


@dataclass(frozen=True)
class Batch:
    """Clips as they leave the store. waveform: (batch, samples) float32 in [-1, 1]."""

    waveform: Tensor
    targets: Targets
    audio_ids: tuple[str, ...]

    def to(self, device: torch.device) -> Batch:
        """The same on `device`."""
        return Batch(self.waveform.to(device, non_blocking=True), self.targets.to(device), self.audio_ids)

    def __len__(self) -> int:
        return len(self.audio_ids)


def send(values: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on `device`, which the host does not wait for."""
    on_host = torch.from_numpy(np.ascontiguousarray(values))
    return on_host if device.type == "cpu" else on_host.pin_memory().to(device, non_blocking=True)


def _mix(values: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    share = weight.view(-1, *[1] * (values.dim() - 1)).to(values.dtype)
    return share * values + (1.0 - share) * values[partner]
