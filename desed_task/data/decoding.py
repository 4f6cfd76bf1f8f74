"""Decoding many recordings: checked first, by header, then decoded by a few threads, in order.

A corpus is checked before the long work begins, so that the one truncated download among thousands is named in seconds
and not after an hour of packing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from desed_task.audio.reading import Waveform, check_header, read_waveform

Result = TypeVar("Result")

_THREADS = 4
# Few at a time: decoded recordings wait in memory for whoever consumes them, and the first fault ends the work at once.
_AT_A_TIME = 16


def check_recordings(paths: Sequence[Path]) -> None:
    """AudioError naming the first recording that is missing, empty, truncated or no audio, by its header."""
    for _ in _in_threads(check_header, paths):
        pass


def decode_recordings(paths: Sequence[Path], sample_rate: int) -> Iterator[Waveform]:
    """Each recording as (samples,) float32 at `sample_rate`, in order. AudioError names the first that cannot be."""
    return _in_threads(lambda path: read_waveform(path, sample_rate), paths)


def _in_threads(work: Callable[[Path], Result], paths: Sequence[Path]) -> Iterator[Result]:
    with ThreadPoolExecutor(_THREADS) as pool:
        for first in range(0, len(paths), _AT_A_TIME):
            yield from pool.map(work, paths[first : first + _AT_A_TIME])
