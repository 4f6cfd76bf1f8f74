"""Ctrl-C and SIGTERM in a training: the step is finished, a checkpoint written, and one line says how to go on.

A second signal ends the process at once, as if nothing were there to catch it. A validation is not waited for: it
changes nothing and is made again on resuming.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

LOG = logging.getLogger(__name__)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
Result = TypeVar("Result")


class StopRequested(BaseException):
    """A signal asks for the end. Not an Exception: what forgives a scorer's error must not swallow it."""


class Interruption:
    """Whether, and by which signal, the training was asked to end."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._inside = False

    def listen(self) -> None:
        """Catch the signals (again: Lightning puts its own handler of SIGTERM over any other when it starts)."""
        if threading.current_thread() is threading.main_thread() and self.signal is None:
            for number in SIGNALS:
                signal.signal(number, self._on_signal)

    def breakable(self, work: Callable[..., Result]) -> Callable[..., Result]:
        """The same work, ended by StopRequested as soon as a signal arrives."""

        def broken_off(*arguments: Any) -> Result:
            self.require_none()
            self._inside = True
            try:
                return work(*arguments)
            finally:
                self._inside = False

        return broken_off

    def require_none(self) -> None:
        """StopRequested when a signal has arrived."""
        if self.signal is not None:
            raise StopRequested

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  signal's signature
        self.signal = signal.Signals(number)
        for caught in SIGNALS:
            signal.signal(caught, signal.SIG_DFL)
        LOG.info("%s: the step is finished and saved; once more ends at once", self.signal.name)
        if self._inside:
            raise StopRequested


@contextmanager
def listening() -> Iterator[Interruption]:
    """Signals inside the block are requests; afterwards they mean what they meant before."""
    interruption = Interruption()
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in SIGNALS} if in_main_thread else {}
    interruption.listen()
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
