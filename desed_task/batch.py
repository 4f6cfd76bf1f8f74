"""The four tensor nouns of a training run: Batch -> Inputs -> Predictions, compared with Targets.

Axis order everywhere: (batch, frames, classes). Supervision travels in the data (`has_strong`, `has_weak`), never as a
position in the batch. `Inputs.mix` and `Targets.mix` take the same partners and weights, and `mix`, `mask` and `shift`
act on everything that an `Inputs` holds, so features, embeddings and labels cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
class Embedding:
    """What a pretrained network says of the clips of a batch.

    values: (batch, embedding_frames, embedding_dim); is_timed: whether these frames follow the clip's time, evenly. One
    of the whole clip is a single frame that is not timed.
    """

    values: Tensor
    is_timed: bool

    def to(self, device: torch.device) -> Embedding:
        """The same on `device`."""
        return replace(self, values=self.values.to(device, non_blocking=True))


@dataclass(frozen=True)
class Inputs:
    """What a model hears, all of the same clips.

    mel: (batch, mel_frames, mel_bands); embeddings: by embedder; embedder_inputs: by embedder that learns in the same
    training, what it hears itself: (batch, its mel_frames, its mel_bands), in the stage that `mel` is in.
    """

    mel: Tensor
    embeddings: Mapping[str, Embedding] = field(default_factory=dict)
    embedder_inputs: Mapping[str, Tensor] = field(default_factory=dict)

    def mix(self, partner: Tensor, weight: Tensor) -> Inputs:
        """weight[i] * clip i + (1 - weight[i]) * clip partner[i], for everything that is heard."""
        return self._each(lambda values, _: _mix(values, partner, weight))

    def mask(self, hidden: Tensor, mel: Tensor) -> Inputs:
        """`mel` in place of the features, and embeddings silent (0) at the same times.

        hidden: (batch, mel_frames) bool, the mel frames of which nothing is heard.
        """

        def silenced(values: Tensor, is_timed: bool) -> Tensor:
            return torch.where(_at_places(hidden, values.shape[1])[:, :, None], 0.0, values) if is_timed else values

        return replace(self._each(silenced), mel=mel)

    def shift(self, mel_frames: Tensor) -> Inputs:
        """Everything that is timed, rolled towards the end by (batch,) mel frames or the nearest number of its own."""
        total = self.mel.shape[1]

        def rolled(values: Tensor, is_timed: bool) -> Tensor:
            if not is_timed:
                return values
            return roll(values, (mel_frames * (values.shape[1] / total)).round().long())

        return self._each(rolled)

    @classmethod
    def joined(cls, portions: Sequence[Inputs], embeddings: Mapping[str, Embedding]) -> Inputs:
        """Portions of a batch, one after another, and further embeddings of the whole of it."""
        first = portions[0]
        if len(portions) == 1:
            return replace(first, embeddings={**first.embeddings, **embeddings})
        own = {
            name: replace(one, values=torch.cat([portion.embeddings[name].values for portion in portions]))
            for name, one in first.embeddings.items()
        }
        return cls(
            torch.cat([portion.mel for portion in portions]),
            {**own, **embeddings},
            {name: torch.cat([one.embedder_inputs[name] for one in portions]) for name in first.embedder_inputs},
        )

    def part(self, first: int, step: int) -> Inputs:
        """The clips first, first + step ..."""
        return self._each(lambda values, _: values[first::step])

    def _each(self, change: Callable[[Tensor, bool], Tensor]) -> Inputs:
        """`change` of (values, whether they are timed) for all that is heard."""
        return Inputs(
            change(self.mel, True),
            {name: replace(one, values=change(one.values, one.is_timed)) for name, one in self.embeddings.items()},
            {name: change(values, True) for name, values in self.embedder_inputs.items()},
        )


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
    """Clips as they leave the store.

    waveform: (batch, samples) float32 in [-1, 1]; embeddings: by embedder, those that were stored beforehand.
    """

    waveform: Tensor
    targets: Targets
    audio_ids: tuple[str, ...]
    embeddings: Mapping[str, Embedding] = field(default_factory=dict)

    def to(self, device: torch.device) -> Batch:
        """The same on `device`."""
        embeddings = {name: embedding.to(device) for name, embedding in self.embeddings.items()}
        return Batch(self.waveform.to(device, non_blocking=True), self.targets.to(device), self.audio_ids, embeddings)

    def __len__(self) -> int:
        return len(self.audio_ids)


def send(values: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on `device`, which the host does not wait for."""
    on_host = torch.from_numpy(np.ascontiguousarray(values))
    return on_host if device.type == "cpu" else on_host.pin_memory().to(device, non_blocking=True)


def roll(values: Tensor, shift: Tensor) -> Tensor:
    """Each clip along time: what leaves at one end comes in at the other.

    values: (batch, times, n); shift: (batch,), places towards the end.
    """
    clips, times = values.shape[:2]
    if not times:
        return values
    source = (torch.arange(times, device=values.device) - shift[:, None]) % times
    return values[torch.arange(clips, device=values.device)[:, None], source]


def _at_places(hidden: Tensor, places: int) -> Tensor:
    """(batch, mel_frames) as (batch, places): at the mel frame in the middle of each place."""
    middle = (torch.arange(places, device=hidden.device) + 0.5) * (hidden.shape[1] / places)
    return hidden[:, middle.long()]


def _mix(values: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    share = weight.view(-1, *[1] * (values.dim() - 1)).to(values.dtype)
    return share * values + (1.0 - share) * values[partner]
