"""Excerpts of stored clips, written into a batch: what every residence shares, and the way from the memory map.

A store keeps int16; a batch is float32 in [-1, 1], each sample divided by 32768. That is exact, so where the samples
lie and where they are divided changes no bit. On the CPU an excerpt goes from the memory map into its row of the batch
with nothing in between. To a GPU it is sent as int16, half of what float32 would be, through pinned memory that is
used again and again, and becomes float32 there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desed_task.audio.reading import Waveform
from desed_task.data.decoding import default_threads, in_threads
from desed_task.data.packing import FULL_SCALE

STAGES = 2
SCALE = 1.0 / FULL_SCALE
# One makes some 900 clips of 5 s a second; a step that wants more than these make is better off with a packed store.
DECODING_THREADS = min(default_threads(), 4)


class SampleStore(Protocol):
    """Clips by number, as PackedStore, LmdbStore and JoinedStore are."""

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
        """At most `num_samples` of a clip from `first_sample` on, fewer where it ends before; not to be written to."""
        ...


class ClipStore(SampleStore, Protocol):
    """Clips whose rate is known, so that they are also read whole, for validation."""

    sample_rate: int


def read_excerpt(store: SampleStore, clip: int, first_sample: int, num_samples: int) -> Waveform:
    """`num_samples` of a clip from `first_sample` on, zeros beyond its end: (num_samples,) float32."""
    waveform = np.zeros(num_samples, dtype=np.float32)
    samples = store.samples(clip, first_sample, num_samples)
    np.multiply(samples, np.float32(SCALE), out=waveform[: len(samples)])
    return waveform


def each_excerpt(
    store: SampleStore, chosen: Sequence[tuple[int, int]], num_samples: int
) -> Iterator[NDArray[np.int16]]:
    """`samples` of every (clip, first sample), in order, by a few threads where the store decodes them."""
    if getattr(store, "decodes", False):
        return in_threads(lambda place: store.samples(*place, num_samples), chosen, DECODING_THREADS)
    return (store.samples(clip, first_sample, num_samples) for clip, first_sample in chosen)


class Excerpts(Protocol):
    """Where the excerpts of a source's batches come from."""

    def fill(self, chosen: Sequence[tuple[int, int]], waveforms: Tensor) -> None:
        """chosen: clip and first sample of each row of `waveforms`, (rows, samples) float32; zeros beyond a clip."""
        ...


class MappedExcerpts:
    """From the memory map of a store to a batch on any device."""

    def __init__(self, store: SampleStore) -> None:
        self._store = store
        self._stages: list[_Stage] = []
        self._turn = 0

    def fill(self, chosen: Sequence[tuple[int, int]], waveforms: Tensor) -> None:
        """As Excerpts.fill."""
        if waveforms.device.type == "cpu":
            self.gather(chosen, waveforms.numpy(), SCALE)
        else:
            stage = self._next_stage(waveforms)
            self.gather(chosen, stage.rows())
            waveforms.copy_(stage.sent_to(waveforms.device)).mul_(SCALE)

    def gather(self, chosen: Sequence[tuple[int, int]], rows: NDArray[Any], scale: float | None = None) -> None:
        """Into (chosen, samples), float32 or int16.

        By numpy, in one thread: torch shares a copy out to threads that wait for one another, which takes a hundred
        times as long when a training step has the cores. Converting and then scaling in place is faster than both at
        once, for a row stays in the cache.
        """
        num_samples = rows.shape[1]
        for row, samples in zip(rows, each_excerpt(self._store, chosen, num_samples), strict=True):
            heard = row[: len(samples)]
            heard[:] = samples
            if scale is not None:
                heard *= np.float32(scale)
            row[len(samples) :] = 0

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

    def rows(self) -> NDArray[np.int16]:
        """(rows, samples) on the host, to be written; waits until what it held has arrived."""
        if self._sent is not None:
            self._sent.synchronize()
        written: NDArray[np.int16] = self._rows.numpy()
        return written

    def sent_to(self, device: torch.device) -> Tensor:
        """The same on `device`, on its way."""
        on_device = self._rows.to(device, non_blocking=True)
        self._sent = torch.cuda.current_stream(device).record_event()
        return on_device
