"""Mixup of clips with equal supervision (Zhang et al. 2018, arXiv 1710.09412).

Strong clips are mixed with strong clips and weak with weak, by one permutation of each group; unlabeled clips are left
alone. Labels are mixed with the same share (`soft`) or united (`hard`).

    DESED baselines   domain linear; half of the steps mix, each group with one share ~ Beta(.2, .2)
    PANNs, GISE       a share per clip ~ Beta(1, 1), on dB (PANNs mixes pairs of a batch twice as large)
    EfficientAT       a share per clip ~ Beta(.3, .3), the larger of it and its rest, on normalised log-mel

Waveforms are mixed where they are read (data), where the partner may be any clip of the data set.
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
    domain: Literal["linear", "log", "normalised"] = Field("linear", description="Which features are mixed.")
    probability: float = Field(0.5, ge=0, le=1, description="Share of the steps, or of the clips, that mix.")
    alpha: float = Field(0.2, gt=0, description="Both parameters of the Beta distribution of the share.")
    per: Literal["group", "clip"] = Field(
        "group", description="Whether shares are drawn, and mixing is decided, per group and step or per clip."
    )
    larger: bool = Field(False, description="Whether a clip keeps the larger of its share and the rest.")
    labels: Literal["soft", "hard"] = Field("soft", description="Mixed labels: in proportion, or both in full.")


class Mixup:
    """Draws partners and shares, then mixes inputs and targets alike."""

    def __init__(self, options: MixupOptions) -> None:
        self.options = options
        self.domain = options.domain

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """(inputs, targets) of the same clips, mixed or as they were."""
        if self.options.per == "group" and rng.random() >= self.options.probability:
            return inputs, targets
        partner, weight = self._draw(targets, rng)
        return inputs.mix(partner, weight), targets.mix(partner, weight, hard=self.options.labels == "hard")

    def _draw(self, targets: Targets, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """partner: (batch,) int64; weight: (batch,) float32; on the device of the targets.

        A clip that is not mixed is its own partner. The host draws as much whatever the supervision is, which it does
        not know; the device forms the groups.
        """
        device, num_clips = targets.has_strong.device, len(targets.has_strong)
        shuffled = send(rng.permutation(num_clips), device)
        per_clip = self.options.per == "clip"
        shares = self._shares(num_clips if per_clip else _UNLABELED, device, rng)
        is_mixed = send(rng.random(num_clips) < self.options.probability, device) if per_clip else None
        group = torch.where(targets.has_strong, 0, torch.where(targets.has_weak, 1, _UNLABELED))
        # Clips sorted by group, once in the order of the batch and once shuffled: the n-th of both are of one group.
        ordered = group.argsort(stable=True)
        partner = torch.empty_like(shuffled).scatter_(0, ordered, shuffled[group[shuffled].argsort(stable=True)])
        own = torch.arange(num_clips, device=device)
        partner = torch.where(group == _UNLABELED, own, partner)
        if is_mixed is not None:
            return torch.where(is_mixed, partner, own), torch.where(is_mixed & (partner != own), shares, 1.0)
        sizes = (group[:, None] == torch.arange(_UNLABELED, device=device)).sum(dim=0)
        return partner, functional.pad(torch.where(sizes > 1, shares, 1.0), (0, 1), value=1.0)[group]

    def _shares(self, count: int, device: torch.device, rng: np.random.Generator) -> Tensor:
        drawn = rng.beta(self.options.alpha, self.options.alpha, size=count)
        return send((np.maximum(drawn, 1 - drawn) if self.options.larger else drawn).astype(np.float32), device)
