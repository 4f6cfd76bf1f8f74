"""Blocks ahead: recordings decoded in a thread of their own, a few blocks ahead of whoever hears them.

A recording comes as one `Opened`, its blocks, and one `Ended`, which holds the AudioError of one that cannot be
decoded, all in order. However long recordings are, no more than those few blocks are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from desed_task.audio.containers import LOCAL_CONTAINERS
from desed_task.audio.limits import DecodeLimits
from desed_task.audio.stream import open_stream
from desed_task.audio.waveform import AudioInfo, Waveform
from desed_task.errors import AudioError

# A block is at most 1 MiB, about 16 s at 16 kHz.
_BLOCKS_AHEAD = 6
_LIMITS = DecodeLimits(containers=LOCAL_CONTAINERS)


class Opened(NamedTuple):
    """A recording begins. claimed_seconds: what its header says, None when it does not."""

    claimed_seconds: float | None


class Ended(NamedTuple):
    """A recording has ended: what it was, or why it cannot be decoded."""

    outcome: AudioInfo | AudioError


class Step(NamedTuple):
    """One thing that happened to the recording `file`."""

    file: Path
    what: Opened | Waveform | Ended


def decoded_ahead(files: Iterable[Path], sample_rate: int) -> Generator[Step, None, None]:
    """The steps of all recordings, in order."""
    steps = _decoded(files, sample_rate)
    pool = ThreadPoolExecutor(1, "decode")
    ahead: deque[Future[Step | None]] = deque()
    try:
        ahead.extend(pool.submit(next, steps, None) for _ in range(_BLOCKS_AHEAD))
        while (step := ahead.popleft().result()) is not None:
            ahead.append(pool.submit(next, steps, None))
            yield step
    finally:
        pool.shutdown(cancel_futures=True)
        steps.close()


def _decoded(files: Iterable[Path], sample_rate: int) -> Generator[Step, None, None]:
    for file in files:
        try:
            with open_stream(file, sample_rate, _LIMITS) as stream:
                yield Step(file, Opened(stream.claimed_seconds))
                for block in stream:
                    yield Step(file, block)
                outcome: AudioInfo | AudioError = stream.info
        except AudioError as error:
            outcome = error
        yield Step(file, Ended(outcome))
