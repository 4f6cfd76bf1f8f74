"""Source: where some of the clips of each batch come from, be it a packed store or scenes that are mixed on the spot.

A batch is made in two halves. `draw` decides on the host which clips there are and what is known about them, from
(seed, epoch, step) alone, so that any batch of any epoch can be made again. `fill` writes their waveforms into the
batch, on the device on which the batch is made.

Several ranks (processes of one training) share each batch: every rank draws the whole batch and fills its own rows, so
what is heard in a step does not depend on how many ranks there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from desed_task.clips import Supervision
from desed_task.errors import OptionsError


class Moment(NamedTuple):
    """When a batch is made, and as which of its sources: all that random numbers may depend on."""

    seed: int
    epoch: int
    step: int
    source: int


@dataclass(frozen=True)
class Share:
    """Which of the ranks of a training this process is."""

    rank: int = 0
    world: int = 1

    def rows_of(self, batch_size: int, name: str) -> range:
        """Its rows of `batch_size` clips; OptionsError when they cannot be shared evenly."""
        if batch_size % self.world:
            raise OptionsError(
                f"{name}: its {batch_size} clips per batch cannot be shared evenly by {self.world} processes; make "
                f"batch_size a multiple of {self.world}"
            )
        own = batch_size // self.world
        return range(self.rank * own, (self.rank + 1) * own)


@dataclass(frozen=True)
class Draw:
    """What one source gives to one batch, without the waveforms.

    strong: (events, 4) int64 of row, first frame, one past the last frame, class; weak: (tags, 2) int64 of row, class.
    Rows count from 0 within this draw. clips: what the source's `fill` needs to know. weak_values: (clips, classes)
    float32 in [0, 1] in place of the rows of `weak`, where tags are not only 0 or 1 (mixed, or those of a teacher).
    """

    audio_ids: tuple[str, ...]
    supervision: Supervision
    strong: NDArray[np.int64]
    weak: NDArray[np.int64]
    clips: Any
    weak_values: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.audio_ids)


class Source(Protocol):
    """What every kind of source offers."""

    @property
    def name(self) -> str:
        """What sentences call it."""
        ...

    @property
    def batch_size(self) -> int:
        """Its clips in each batch, those of all ranks together."""
        ...

    @property
    def num_batches(self) -> int:
        """Whole batches that its clips make in an epoch."""
        ...

    def draw(self, moment: Moment, crops: np.random.Generator, rows: range) -> Draw:
        """`rows` of its part of a batch. crops: the random numbers that the sources of a batch draw from in turn."""
        ...

    def fill(self, draw: Draw, waveforms: Tensor) -> None:
        """Write what was drawn into (len(draw), samples) float32, on any device."""
        ...

    def describe(self) -> Any:
        """What its batches are made of, as JSON: equal descriptions give equal batches."""
        ...
