"""Lanes: the threads in which recordings are decoded, step by step.

Every recording begins in the short lane. One that is longer than a few windows goes on in the long lane, whose threads
have a low priority: an upload of an hour leaves the processor and the short lane to clips of ten seconds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread, get_native_id
from typing import Generic, TypeVar

T = TypeVar("T")

_log = logging.getLogger("serving")


class Lane(Generic[T]):
    """Threads that take things from one queue and do one `step` with each; `step` must not raise.

    niceness: 0 is the priority of everybody else, 19 the lowest; kept where the system refuses it.
    """

    def __init__(self, name: str, num_threads: int, step: Callable[[T], None], niceness: int = 0) -> None:
        self._queue: SimpleQueue[T | None] = SimpleQueue()
        self._step = step
        self._niceness = niceness
        self._threads = [Thread(target=self._serve, name=f"{name}-{n}", daemon=True) for n in range(num_threads)]
        for thread in self._threads:
            thread.start()

    def put(self, thing: T) -> None:
        """Let a thing have its step, after those that were put before."""
        self._queue.put(thing)

    def close(self) -> None:
        """End the threads after the steps that were put by now."""
        for _ in self._threads:
            self._queue.put(None)

    def join(self) -> list[T]:
        """Wait until the threads have ended; what was put too late."""
        for thread in self._threads:
            thread.join()
        left = [self._queue.get() for _ in range(self._queue.qsize())]
        return [thing for thing in left if thing is not None]

    def _serve(self) -> None:
        if self._niceness:
            _lower_priority(self._niceness)
        while (thing := self._queue.get()) is not None:
            try:
                self._step(thing)
            except Exception:
                _log.exception("a step failed; this is a bug")
            del thing


def _lower_priority(niceness: int) -> None:
    """Of the calling thread alone, as Linux has it; elsewhere it would be that of the whole process."""
    if not hasattr(os, "sched_setaffinity"):
        return
    try:
        os.setpriority(os.PRIO_PROCESS, get_native_id(), niceness)
    except OSError as error:
        _log.warning("long recordings are decoded at the priority of short ones (%s)", error.strerror)
