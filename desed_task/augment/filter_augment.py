"""FilterAugment: random piecewise gains over frequency (Nam et al. 2022, arXiv 2110.03282).

Domain: linear mel magnitudes. Each clip's bands are split at random borders; each piece gets a gain in dB, interpolated
linearly between the borders, as if the clip had been recorded in another room or by another microphone. Labels stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from desed_task.batch import Inputs, Targets, send
from desed_task.options import Options


class FilterAugmentOptions(Options):
    """Random gains over frequency, drawn per clip."""

    name: Literal["filter_augment"] = "filter_augment"
    max_gain: float = Field(6.0, ge=0, description="Largest gain and attenuation, dB.")
    num_bands: tuple[int, int] = Field((2, 5), description="Fewest and most pieces.")

    @model_validator(mode="after")
    def _consistent(self) -> FilterAugmentOptions:
        if not 1 <= self.num_bands[0] <= self.num_bands[1]:
            raise ValueError(f"num_bands {list(self.num_bands)} are not a fewest, at least 1, and a most")
        return self


class FilterAugment:
    """Multiplies each clip's mel bands by one random curve."""

    domain = "linear"

    def __init__(self, options: FilterAugmentOptions) -> None:
        self.options = options

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """(inputs filtered, targets as they were)."""
        batch, _, bands = inputs.mel.shape
        gains = np.stack([self._draw_gains(bands, rng) for _ in range(batch)])
        factor = send((10.0 ** (gains / 20.0)).astype(np.float32), inputs.mel.device).to(inputs.mel.dtype)
        return replace(inputs, mel=inputs.mel * factor[:, None, :]), targets

    def _draw_gains(self, bands: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(mel_bands,) dB."""
        pieces = int(rng.integers(self.options.num_bands[0], self.options.num_bands[1] + 1))
        borders = np.concatenate(([0.0], np.sort(rng.uniform(0, bands - 1, pieces - 1)), [bands - 1.0]))
        gains = rng.uniform(-self.options.max_gain, self.options.max_gain, pieces + 1)
        return np.asarray(np.interp(np.arange(bands), borders, gains), dtype=np.float64)
