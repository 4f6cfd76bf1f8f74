"""Excerpts of stored clips, written into a batch: what every residence shares, and the way from the memory map.

A store keeps int16; a batch is float32 in [-1, 1], each sample divided by 32768. That is exact, so where the samples
lie and where they are divided changes no bit. On the CPU an excerpt goes from the memory map into its row of the batch
with nothing in between. To a GPU it is sent as int16, half of what float32 would be, through pinned memory that is
used again and again, and becomes float32 there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desed_task.data.packing import FULL_SCALE

STAGES = 2


class SampleStore(Protocol):
    """Clips by number, as PackedStore and JoinedStore are."""

    @property
    def audio_ids(self) -> tuple[str, ...]:
        """The name of each clip."""
        ...

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(clips,) samples of each."""
        ...

    def __len__(self) -> int: ...

    def samples(self, clip: int, first_sample: int, num_samples: int) -> NDArray[np.int16]:
        """At most `num_samples` of a clip from `first_sample` on, fewer where it ends before: a view."""
        ...


class Excerpts(Protocol):
    """Where the excerpts of a source's batches come from."""

    def fill(self, chosen: Sequence[tuple[int, int]], waveforms: Tensor) -> None:
        """chosen: clip and first sample of each row of `waveforms`, (rows, samples) float32; zeros beyond a clip."""
        ...


def gather(
    samples_of: Callable[[int, int, int], Tensor], chosen: Sequence[tuple[int, int]], rows: Tensor, scale: float
) -> None:
    """samples_of: (clip, first sample, how many) -> samples, fewer at a clip's end. rows: (chosen, samples)."""
    num_samples = rows.shape[1]
    for row, (clip, first_sample) in zip(rows.unbind(), chosen, strict=True):
        samples = samples_of(clip, first_sample, num_samples)
        if len(samples) == num_samples:
            row.copy_(samples)
        else:
            row[: len(samples)].copy_(samples)
            row[len(samples) :].zero_()
    if scale != 1.0:
        rows.mul_(scale)


class MappedExcerpts:
    """From the memory map of a store to a batch on any device."""

    def __init__(self, store: SampleStore) -> None:
        _expect_read_only_arrays()
        self._store = store
        self._stages: list[_Stage] = []
        self._turn = 0

    def fill(self, chosen: Sequence[tuple[int, int]], waveforms: Tensor) -> None:
        """As Excerpts.fill."""
        if waveforms.device.type == "cpu":
            gather(self.samples, chosen, waveforms, 1.0 / FULL_SCALE)
        else:
            stage = self._next_stage(waveforms)
            gather(self.samples, chosen, stage.rows(), 1.0)
            waveforms.copy_(stage.sent_to(waveforms.device)).mul_(1.0 / FULL_SCALE)

    def samples(self, clip: int, first_sample: int, num_samples: int) -> Tensor:
        """As SampleStore.samples: a view of the memory map."""
        return torch.from_numpy(self._store.samples(clip, first_sample, num_samples))

    def _next_stage(self, waveforms: Tensor) -> _Stage:
        """One is written while the other may still be on its way."""
        if not self._stages:
            self._stages = [_Stage(tuple(waveforms.shape)) for _ in range(STAGES)]
        self._turn = (self._turn + 1) % STAGES
        return self._stages[self._turn]


class _Stage:
    """A pinned buffer that is written again once it was sent."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._rows = torch.empty(shape, dtype=torch.int16, pin_memory=True)
        self._sent: torch.cuda.Event | None = None

    def rows(self) -> Tensor:
        """(rows, samples) int16 on the host, to be written; waits until what it held has arrived."""
        if self._sent is not None:
            self._sent.synchronize()
        return self._rows

    def sent_to(self, device: torch.device) -> Tensor:
        """The same on `device`, on its way."""
        on_device = self._rows.to(device, non_blocking=True)
        self._sent = torch.cuda.current_stream(device).record_event()
        return on_device


def _expect_read_only_arrays() -> None:
    """torch warns once per process that an array is read-only; it cannot know that these are only read."""
    nothing = np.empty(0, dtype=np.int16)
    nothing.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(nothing)
