"""The line: recordings that wait to be decoded for one model, in the order in which they came.

Decoded audio takes ten times the room of what was sent, and helps nobody before the device is free for it. So the next
recording is decoded when the windows that lie ready are fewer than a few batches: those keep the device busy, and what
is queued lies there as it was sent. It also means that who came first is heard first: the turns of the batcher are
among the few recordings that are decoded, not among all that are queued, of which all would end late.

Long recordings pass by the line after their first step; they have bounds of their own (see `pump`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    """Of one model; any thread may call.

    start: called with whose turn it is, must not block; most_started: how many have their step at the same time;
    enough_windows: so many that lie ready are enough.
    """

    def __init__(self, start: Callable[[T], None], most_started: int, enough_windows: int) -> None:
        self._start = start
        self._most_started = most_started
        self._enough_windows = enough_windows
        self._lock = Lock()
        self._waiting: OrderedDict[T, None] = OrderedDict()
        self._num_started = 0
        self._num_windows = 0

    @property
    def is_clear(self) -> bool:
        """Whether one that joined now would be the only one, with no windows before it."""
        return not (self._waiting or self._num_started or self._num_windows)

    def join(self, thing: T) -> None:
        """Wait for its turn, which may be now."""
        with self._lock:
            self._waiting[thing] = None
            self._go_on()

    def leave(self, thing: T) -> bool:
        """Wait no more; whether it did."""
        with self._lock:
            waited = thing in self._waiting
            if waited:
                del self._waiting[thing]
            return waited

    def stepped(self) -> None:
        """One that was started has had its step."""
        with self._lock:
            self._num_started -= 1
            self._go_on()

    def decoded(self, num_windows: int) -> None:
        """So many more windows lie ready."""
        with self._lock:
            self._num_windows += num_windows

    def took(self, num_windows: int) -> None:
        """The device took so many of them, or nobody wants them any more."""
        with self._lock:
            self._num_windows -= num_windows
            self._go_on()

    def _go_on(self) -> None:
        while self._waiting and self._num_started < self._most_started and self._num_windows < self._enough_windows:
            thing, _ = self._waiting.popitem(last=False)
            self._num_started += 1
            self._start(thing)
