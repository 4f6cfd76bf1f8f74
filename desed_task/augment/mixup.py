"""Mixup of clips with equal supervision (Zhang et al. 2018, arXiv 1710.09412), as the DESED baselines use it.

Domain: linear mel magnitudes. With `probability`, strong clips are mixed with strong clips and weak with weak, each
group with one share c ~ Beta(alpha, alpha) and one permutation; unlabeled clips are left alone. Labels are mixed with
the same share (`soft`) or united (`hard`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from desed_task.batch import Inputs, Targets, send
from desed_task.options import Options

# Groups: 0 strong, 1 weak, 2 unlabeled.
_UNLABELED = 2


class MixupOptions(Options):
    """Mixup within groups of equal supervision."""

    name: Literal["mixup"] = "mixup"
    probability: float = Field(0.5, ge=0, le=1, description="Share of the steps that mix.")
    alpha: float = Field(0.2, gt=0, description="Both parameters of the Beta distribution of the share.")
    labels: Literal["soft", "hard"] = Field("soft", description="Mixed labels: in proportion, or both in full.")


class Mixup:
    """Draws partners and shares, then mixes inputs and targets alike."""

    domain = "linear"

    def __init__(self, options: MixupOptions) -> None:
        self.options = options

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """(inputs, targets) of the same clips, mixed or as they were."""
        if rng.random() >= self.options.probability:
            return inputs, targets
        partner, weight = self._draw(targets, rng)
        return inputs.mix(partner, weight), targets.mix(partner, weight, hard=self.options.labels == "hard")

    def _draw(self, targets: Targets, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """partner: (batch,) int64; weight: (batch,) float32; on the device of the targets.

        The host draws as much whatever the supervision is, which it does not know; the device forms the groups.
        """
        device, num_clips = targets.has_strong.device, len(targets.has_strong)
        shuffled = send(rng.permutation(num_clips), device)
        drawn = send(rng.beta(self.options.alpha, self.options.alpha, size=_UNLABELED).astype(np.float32), device)
        group = torch.where(targets.has_strong, 0, torch.where(targets.has_weak, 1, _UNLABELED))
        # Clips sorted by group, once in the order of the batch and once shuffled: the n-th of both are of one group.
        ordered = group.argsort(stable=True)
        partner = torch.empty_like(shuffled).scatter_(0, ordered, shuffled[group[shuffled].argsort(stable=True)])
        partner = torch.where(group == _UNLABELED, torch.arange(num_clips, device=device), partner)
        sizes = (group[:, None] == torch.arange(_UNLABELED, device=device)).sum(dim=0)
        shares = functional.pad(torch.where(sizes > 1, drawn, 1.0), (0, 1), value=1.0)
        return partner, shares[group]
