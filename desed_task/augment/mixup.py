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

from desed_task.batch import Inputs, Targets
from desed_task.options import Options


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
        device = inputs.mel.device
        partner, weight = partner.to(device), weight.to(device)
        return inputs.mix(partner, weight), targets.mix(partner, weight, hard=self.options.labels == "hard")

    def _draw(self, targets: Targets, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """partner: (batch,) int64; weight: (batch,) float32."""
        partner = np.arange(len(targets.has_strong))
        weight = np.ones(len(partner), dtype=np.float32)
        has_strong = targets.has_strong.cpu().numpy()
        weak_only = targets.has_weak.cpu().numpy() & ~has_strong
        for group in (np.flatnonzero(weak_only), np.flatnonzero(has_strong)):
            if len(group) > 1:
                partner[group] = rng.permutation(group)
                weight[group] = rng.beta(self.options.alpha, self.options.alpha)
        return torch.from_numpy(partner), torch.from_numpy(weight)
