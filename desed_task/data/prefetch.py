"""The next batch is made while the device computes.

One thread makes the batches in their order, at most DEPTH ahead; on a GPU it works on a stream of its own, which the
training's stream waits for. It makes the very batches that the training would make itself: sources draw from (seed,
epoch, step) alone and never from torch's global generator. It begins when the first batch of an epoch is asked for and
not before, for only then the trainer has named the epoch; an exception in it is raised where the batch is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from desed_task.batch import Batch
from desed_task.data.dataset import BatchDataset, EpochSampler

DEPTH = 1
Made = tuple[Batch, torch.cuda.Event | None]


class PrefetchingLoader:
    """Batches of the epoch that the sampler names, for a trainer; it must be closed."""

    def __init__(self, dataset: BatchDataset, sampler: EpochSampler) -> None:
        self.dataset = dataset
        # The trainer finds it by this name and tells it each epoch.
        self.sampler = sampler
        self._stream: torch.cuda.Stream | None = None
        self._running: Generator[Batch, None, None] | None = None

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        self.close()
        self._running = self._batches()
        return self._running

    def close(self) -> None:
        """End the thread, if there is one; what it makes at the moment is waited for."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def _batches(self) -> Generator[Batch, None, None]:
        maker = ThreadPoolExecutor(1, "batches")
        try:
            waiting: deque[Future[Made]] = deque()
            for position in self.sampler:
                waiting.append(maker.submit(self._make, position))
                if len(waiting) > DEPTH:
                    yield _received(waiting.popleft().result())
            while waiting:
                yield _received(waiting.popleft().result())
        finally:
            maker.shutdown(wait=True, cancel_futures=True)

    def _make(self, position: tuple[int, int]) -> Made:
        """In the thread."""
        if self.dataset.device.type != "cuda":
            return self.dataset[position], None
        if self._stream is None:
            self._stream = torch.cuda.Stream(self.dataset.device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            batch = self.dataset[position]
            return batch, self._stream.record_event()


def _received(made: Made) -> Batch:
    """In the training's thread: its stream waits for the batch, whose memory is its own from now on."""
    batch, ready = made
    if ready is not None:
        current = torch.cuda.current_stream(batch.waveform.device)
        current.wait_event(ready)
        embeddings = [embedding.values for embedding in batch.embeddings.values()]
        for part in (batch.waveform, *vars(batch.targets).values(), *embeddings):
            part.record_stream(current)
    return batch
