"""Mean and standard deviation of what a training hears before it is normalised, for the conf of its front-end.

Streamed in double precision: sums of one batch are joined with those of the batches before (Chan, Golub, LeVeque 1983),
so any number of clips takes no more memory than one batch. The published figures (PSLA, AST) were measured with mixup
and masks on, and so are these unless augmentations are left out; padded frames count, as they do there. Published code
averages the means and the deviations of batches of 1000 clips; the mean of deviations is a little smaller than the
deviation of all, which is what is given here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from desed_task.batch import Batch
from desed_task.embeddings.ears import Ears
from desed_task.errors import DesedTaskError
from desed_task.features.frontend import Frontend, StagedFrontend
from desed_task.training.step import Augmentation, prepare


@dataclass(frozen=True)
class Moments:
    """Of values so far. squares: sum of squared distances from the mean."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def with_values(self, values: Tensor) -> Moments:
        """These and some more, of any shape and at least one; DesedTaskError when one is no number."""
        wide = values.detach().double()
        mean, count = float(wide.mean()), wide.numel()
        if not math.isfinite(mean):
            raise DesedTaskError("features hold values that are no numbers; look for broken recordings")
        squares, total, apart = float((wide - mean).square().sum()), self.count + count, mean - self.mean
        return Moments(
            total, self.mean + apart * count / total, self.squares + squares + apart**2 * self.count * count / total
        )

    @property
    def std(self) -> float:
        """Standard deviation (divided by one less than the count, as torch does); 0 of a single value."""
        return math.sqrt(self.squares / max(1, self.count - 1))


def measure(features: Iterable[Tensor]) -> Moments:
    """Of all values of all batches; DesedTaskError without any."""
    moments = Moments()
    for values in features:
        moments = moments.with_values(values)
    if not moments.count:
        raise DesedTaskError("there are no features to measure; name training clips in the conf")
    return moments


class _BeforeNormalisation(StagedFrontend):
    """A front-end that stops at the logarithm."""

    def __init__(self, frontend: Frontend) -> None:
        super().__init__()
        self.frontend = frontend

    def spectrum(self, waveform: Tensor) -> Tensor:
        """As the front-end's."""
        return self.frontend.spectrum(waveform)

    def compress(self, spectrum: Tensor) -> Tensor:
        """As the front-end's."""
        return self.frontend.compress(spectrum)

    def normalise(self, logarithm: Tensor) -> Tensor:
        """Leaves it as it is."""
        return logarithm


def log_features(
    batches: Iterable[Batch], frontend: Frontend, augmentations: Sequence[Augmentation], seed: int
) -> Iterator[Tensor]:
    """(batch, mel_frames, mel_bands) of each batch, after the augmentations that act before the normalisation."""
    early = [augmentation for augmentation in augmentations if augmentation.domain != "normalised"]
    ears = Ears(_BeforeNormalisation(frontend))
    for number, batch in enumerate(batches):
        with torch.no_grad():
            inputs, _ = prepare(batch, ears, early, np.random.default_rng((seed, number)))
        yield inputs.mel
