"""Masks over mel bands (the frequency half of SpecAugment, Park et al. 2019, arXiv 1904.08779).

Domain: normalised log-mel. Each clip loses one run of bands, set to the lowest value it holds. Times, and so labels,
stay as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from desed_task.batch import Inputs, Targets, send
from desed_task.options import Options


class FrequencyMaskOptions(Options):
    """One masked run of mel bands per clip."""

    name: Literal["frequency_mask"] = "frequency_mask"
    max_bands: int = Field(16, ge=0, description="Most mel bands that are masked.")


class FrequencyMask:
    """Masks one random run of bands per clip."""

    domain = "normalised"

    def __init__(self, options: FrequencyMaskOptions) -> None:
        self.options = options

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """(inputs masked, targets as they were)."""
        batch, _, bands = inputs.mel.shape
        masked = np.zeros((batch, 1, bands), dtype=bool)
        for clip in range(batch):
            width = int(rng.integers(0, min(self.options.max_bands, bands) + 1))
            first = int(rng.integers(0, bands - width + 1))
            masked[clip, :, first : first + width] = True
        lowest = inputs.mel.amin(dim=(1, 2), keepdim=True)
        mask = send(masked, inputs.mel.device)
        return replace(inputs, mel=torch.where(mask, lowest, inputs.mel)), targets
