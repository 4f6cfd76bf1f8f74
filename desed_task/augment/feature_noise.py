"""Noise on what the model hears, another loudness for each clip (AST's recipe for speech commands).

Domain: normalised. Each value gains u a, u drawn evenly from [0, 1) for each value and a from [0, max_amplitude) for
each clip. Labels stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from desed_task.batch import Inputs, Targets, send
from desed_task.options import Options


class FeatureNoiseOptions(Options):
    """Even noise of random loudness."""

    name: Literal["feature_noise"] = "feature_noise"
    max_amplitude: float = Field(0.1, ge=0, description="Largest value that is added, in units of the model's input.")


class FeatureNoise:
    """Adds noise to each clip."""

    domain = "normalised"

    def __init__(self, options: FeatureNoiseOptions) -> None:
        self.options = options

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """(inputs with noise, targets as they were)."""
        noise = rng.random(tuple(inputs.mel.shape), dtype=np.float32)
        noise *= self.options.max_amplitude * rng.random((len(noise), 1, 1), dtype=np.float32)
        return replace(inputs, mel=inputs.mel + send(noise, inputs.mel.device)), targets
