"""One step of a detector's training, up to its loss, without a trainer.

spectrum -> augment (linear) -> compress -> augment (log) -> normalise -> augment (normalised) -> student, teacher ->
losses. With a mean teacher the
student must agree with it on every clip; without one (None) the same step is plain supervised training. Both hear the
same input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from desed_task.batch import Batch, Inputs, Predictions, Targets
from desed_task.embeddings.ears import Ears
from desed_task.training.losses import consistency_loss, supervised_loss
from desed_task.training.training_options import TrainingOptions


class Augmentation(Protocol):
    """What every file in `augment/` offers."""

    @property
    def domain(self) -> str:
        """The features that it alters: linear, log or normalised."""
        ...

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """The same clips, altered."""
        ...


@dataclass(frozen=True)
class Losses:
    """What a step comes to. total: scalar with a gradient; terms: scalars by the names of the log, without."""

    total: Tensor
    terms: dict[str, Tensor]
    student: Predictions


@dataclass(frozen=True)
class Shares:
    """A part of a batch: its shares of the batch's strong and weak clips (scalars) and of all clips."""

    strong: Tensor | float = 1.0
    weak: Tensor | float = 1.0
    clips: float = 1.0


WHOLE = Shares()
Call = Callable[[nn.Module, Inputs], Predictions]


def prepare(
    batch: Batch, ears: Ears, augmentations: Sequence[Augmentation], rng: np.random.Generator, portions: int = 1
) -> tuple[Inputs, Targets]:
    """Batch -> (Inputs, Targets), augmented, each augmentation in its domain; float32 in mixed precision too.

    Half precision would round 8 bits deep before the logarithm, and divide by 0 where a clip is silent. portions: that
    the batch is heard in.
    """
    with torch.no_grad(), torch.autocast(batch.waveform.device.type, enabled=False):
        inputs, targets = ears.spectrum(batch.waveform, batch.embeddings, portions), batch.targets
        inputs, targets = _augmented("linear", augmentations, inputs, targets, rng)
        inputs, targets = _augmented("log", augmentations, ears.compress(inputs), targets, rng)
        inputs = ears.normalise(inputs)
        return _augmented("normalised", augmentations, inputs, targets, rng)


def call_plainly(model: nn.Module, inputs: Inputs) -> Predictions:
    """The model itself hears; `compiling` has other ways."""
    predictions: Predictions = model(inputs)
    return predictions


def compute_losses(
    student: nn.Module,
    teacher: nn.Module | None,
    inputs: Inputs,
    targets: Targets,
    options: TrainingOptions,
    consistency_weight: float,
    shares: Shares = WHOLE,
    call: Call = call_plainly,
) -> Losses:
    """Both models hear (`call` says how); supervised loss of the student, and its disagreement with the teacher.

    With the `shares` of a part of a batch, loss and terms of all its parts add up to those of the batch.
    """
    num_frames = targets.strong.shape[1]
    predicted = call(student, inputs).fitted(num_frames)
    strong_weight, weak_weight = options.strong_weight * shares.strong, options.weak_weight * shares.weak
    total, terms = supervised_loss(predicted, targets, strong_weight, weak_weight)
    if teacher is not None:
        assert options.mean_teacher is not None
        teacher.train(options.mean_teacher.mode == "train")
        with torch.no_grad():
            heard = call(teacher, inputs).fitted(num_frames)
        consistency = consistency_loss(predicted, heard, options.mean_teacher.consistency_loss)
        total = total + consistency_weight * shares.clips * consistency
        terms |= {"consistency": consistency.detach(), "consistency_weight": torch.tensor(consistency_weight)}
    return Losses(total, terms if shares is WHOLE else _in_shares(terms, shares), predicted)


def _in_shares(terms: dict[str, Tensor], shares: Shares) -> dict[str, Tensor]:
    by_name = {"loss_strong": shares.strong, "loss_weak": shares.weak}
    return {name: term * by_name.get(name, shares.clips) for name, term in terms.items()}


def _augmented(
    domain: str, augmentations: Sequence[Augmentation], inputs: Inputs, targets: Targets, rng: np.random.Generator
) -> tuple[Inputs, Targets]:
    for augmentation in augmentations:
        if augmentation.domain == domain:
            inputs, targets = augmentation(inputs, targets, rng)
    return inputs, targets
