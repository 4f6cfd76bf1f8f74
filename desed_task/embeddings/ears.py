"""Ears: from waveforms to all that a model hears, in the three stages between which one augments.

A front-end alone, for most systems; beside it embedders, each heard in one of three ways: stored beforehand (given with
the waveforms), frozen in the step, or learning in it (then its network is part of the model and its front-end is here).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor, nn

from desed_task.batch import Embedding, Inputs
from desed_task.embeddings.embedder import Embedder, Hearing
from desed_task.features.frontend import Frontend

NOTHING: Mapping[str, Embedding] = MappingProxyType({})


class Ears(nn.Module):
    """waveform (batch, samples) and stored embeddings -> Inputs."""

    def __init__(
        self,
        frontend: Frontend,
        frozen: Mapping[str, Embedder] = MappingProxyType({}),
        learning: Mapping[str, Hearing] = MappingProxyType({}),
        spare: Mapping[str, Callable[[], Embedder]] = MappingProxyType({}),
    ) -> None:
        """frozen: heard in each step. learning: what they hear, their networks being part of the model. spare: makes
        the embedder of one that is stored, for clips that were not; it is kept.
        """
        super().__init__()
        self.frontend, self._spare = frontend, dict(spare)
        self.frozen: Mapping[str, Embedder] = nn.ModuleDict(frozen)  # type: ignore[assignment]
        self.learning: Mapping[str, Hearing] = nn.ModuleDict(learning)  # type: ignore[assignment]

    def spectrum(self, waveform: Tensor, stored: Mapping[str, Embedding] = NOTHING, portions: int = 1) -> Inputs:
        """Linear features, and the embeddings that are not stored; no gradients.

        portions: that the batch is heard in, one after another, which takes less memory.
        """
        with torch.no_grad():
            # A batch is not split without need: a traced graph would keep its size.
            parts = waveform.tensor_split(portions) if portions > 1 else (waveform,)
            heard = [self._heard(part, stored) for part in parts]
        return Inputs.joined(heard, stored)

    def _heard(self, waveform: Tensor, stored: Mapping[str, Embedding]) -> Inputs:
        self._make_missing(stored, waveform.device)
        embedded = {name: embedder(waveform) for name, embedder in self.frozen.items() if name not in stored}
        own = {name: hearing.spectrum(waveform) for name, hearing in self.learning.items()}
        return Inputs(self.frontend.spectrum(waveform), embedded, own)

    def compress(self, inputs: Inputs) -> Inputs:
        """Linear features -> their logarithm."""
        return self._each(inputs, lambda frontend, values: frontend.compress(values))

    def normalise(self, inputs: Inputs) -> Inputs:
        """Logarithmic features -> what the model hears."""
        return self._each(inputs, lambda frontend, values: frontend.normalise(values))

    def forward(self, waveform: Tensor, stored: Mapping[str, Embedding] = NOTHING) -> Inputs:
        """All three stages."""
        return self.normalise(self.compress(self.spectrum(waveform, stored)))

    def make_spare(self) -> None:
        """Make the embedders of stored embeddings now, so that any clip can be heard; CheckpointError, OptionsError."""
        self._make_missing({}, torch.device("cpu"))

    def _make_missing(self, stored: Mapping[str, Embedding], device: torch.device) -> None:
        for name, make in self._spare.items():
            if name not in stored and name not in self.frozen:
                with torch.inference_mode(False):  # whoever hears with it next may be training
                    self.frozen[name] = make().to(device)  # type: ignore[index]

    def _each(self, inputs: Inputs, stage: Callable[[Frontend, Tensor], Tensor]) -> Inputs:
        heard = {name: stage(self.learning[name].frontend, values) for name, values in inputs.embedder_inputs.items()}
        return replace(inputs, mel=stage(self.frontend, inputs.mel), embedder_inputs=heard)
