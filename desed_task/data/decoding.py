"""Decoding many recordings by a few threads, in order.

Threads and not processes: libsndfile, soxr and hashing let go of Python's lock. On two cores two threads packed 1.7
times (16 kHz and 44.1 kHz WAV) to 2.3 times (Ogg) as many clips per second as one, two processes 0.9 to 2.1 times.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from desed_task.audio.reading import Waveform, read_waveform

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_THREADS = 16
# Results wait in memory for whoever consumes them, and the first fault should end the work at once: few ahead.
_AHEAD_PER_THREAD = 4


def default_threads() -> int:
    """As many threads as cores, within reason."""
    return min(os.cpu_count() or 1, _MOST_THREADS)


def decode_recordings(paths: Sequence[Path], sample_rate: int, num_threads: int | None = None) -> Iterator[Waveform]:
    """Each recording as (samples,) float32 at `sample_rate`, in order. AudioError names the first that cannot be."""
    return in_threads(lambda path: read_waveform(path, sample_rate), paths, num_threads)


def in_threads(
    work: Callable[[Item], Result], items: Iterable[Item], num_threads: int | None = None
) -> Iterator[Result]:
    """`work` of each item, in their order; the first exception ends it, what has not begun is not begun."""
    num_threads = num_threads or default_threads()
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= num_threads * _AHEAD_PER_THREAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
