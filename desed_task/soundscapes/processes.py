"""Processes: `map` over one or several of them, results in order either way."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any


@contextmanager
def mapping_over(num_jobs: int) -> Iterator[Any]:
    """`map` in this process, or over spawned ones; results in order either way."""
    if num_jobs <= 1:
        yield map
        return
    # Spawned, not forked: the caller may hold threads (a fork of those can deadlock).
    with multiprocessing.get_context("spawn").Pool(num_jobs, _ignore_interrupts) as pool:
        yield partial(pool.imap, chunksize=4)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process; only the one that reports it should."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
