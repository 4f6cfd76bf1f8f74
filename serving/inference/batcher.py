"""The batcher: windows of many recordings become batches for one device. It pulls, and has no timer.

Whenever the device is free it takes what waits, up to `max_batch` windows, one of each recording in turn, again and
again until the batch is full. So a window waits for nothing but the device when that is idle, batches fill up by
themselves when it is not, and a recording of an hour takes its turn like one of ten seconds. While short recordings
come, long ones get only a part of a batch, since the time of a batch grows with its windows and everybody waits for it.

The turns belong to the device's thread alone; what is put reaches it through one queue, so nothing here needs a lock.
A batch that fails is run again window by window, once: only the window that is at fault fails.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Generic, Protocol, TypeVar

import numpy as np

from desed_task.audio.waveform import Waveform
from desed_task.hearing import WindowScores

# For so long after a short recording, the share of long ones is limited, to this part of a batch.
_SHORT_ONES_COME_SECONDS = 1.0
_SHARE_OF_LONG_ONES = 8

_log = logging.getLogger("serving")


class Device(Protocol):
    """What runs batches."""

    @property
    def max_batch(self) -> int:
        """Windows of the largest batch."""

    def run(self, windows: Sequence[Waveform]) -> WindowScores:
        """Windows, each (window_samples,) -> their scores."""


class Source(Protocol):
    """A recording as the batcher sees it. `waiting` and `in_turn` are the batcher's own.

    gone: why its windows are wanted no more; deadline: when they will not be, on the clock of time.monotonic.
    """

    waiting: deque[Waveform]
    in_turn: bool
    gone: str | None
    deadline: float
    is_long: bool


S = TypeVar("S", bound=Source)


@dataclass
class Batch(Generic[S]):
    """Windows that were run together.

    sources: whose each row is; scores: of all rows, also of failed ones; errors: row -> why it failed; began: when the
    device began, seconds: how long it took; more_waits: whether the next batch is there already.
    """

    sources: list[S]
    scores: WindowScores
    began: float
    seconds: float
    errors: dict[int, Exception] = field(default_factory=dict)
    more_waits: bool = False


class Batcher(Generic[S]):
    """One device with its thread, in which it calls what it is given.

    ran: with each batch; expired: with what is past its deadline, whose windows are then not run; took: with how many
    windows of short recordings wait no more. The thread is a daemon: a device that hangs must not keep the process.
    """

    def __init__(
        self,
        device: Device,
        ran: Callable[[Batch[S]], None],
        expired: Callable[[S], None],
        took: Callable[[int], None],
        name: str = "device",
    ) -> None:
        self._device = device
        self._ran = ran
        self._expired = expired
        self._took = took
        self._inbox: SimpleQueue[tuple[S, Sequence[Waveform]] | None] = SimpleQueue()
        self._turns: deque[S] = deque()
        self._long_share = max(1, device.max_batch // _SHARE_OF_LONG_ONES)
        self._last_short = float("-inf")
        self._closed = False
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def put(self, source: S, windows: Sequence[Waveform]) -> None:
        """Let windows of a recording take their turn; those of one recording stay in order."""
        self._inbox.put((source, windows))

    def close(self) -> None:
        """End after the batch that runs; what waits is not run."""
        self._inbox.put(None)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended."""
        self._thread.join(timeout)

    def _serve(self) -> None:
        while True:
            self._take_in()
            if self._closed:
                return
            self._run_next()

    def _run_next(self) -> None:
        """One batch, in a call of its own: while the thread waits for more it holds nothing of it."""
        windows, sources = self._next_batch()
        if windows:
            batch = self._run(windows, sources)
            batch.more_waits = bool(self._turns) or not self._inbox.empty()
            self._ran(batch)

    def _take_in(self) -> None:
        """Move what was put into the turns; waits when there is nothing to do."""
        try:
            while True:
                putting = self._inbox.get(block=not self._turns)
                if putting is None:
                    self._closed = True
                    return
                source, windows = putting
                source.waiting.extend(windows)
                if not source.is_long:
                    self._last_short = time.monotonic()
                if not source.in_turn and source.waiting:
                    source.in_turn = True
                    self._turns.append(source)
        except Empty:
            return

    def _next_batch(self) -> tuple[list[Waveform], list[S]]:
        """Windows of those whose turn it is, and whose they are."""
        now = time.monotonic()
        turns, room = self._turns, self._device.max_batch
        long_room = self._long_share if now - self._last_short < _SHORT_ONES_COME_SECONDS else room
        windows: list[Waveform] = []
        sources: list[S] = []
        set_aside: list[S] = []
        num_taken = 0
        while turns and len(windows) < room:
            source = turns.popleft()
            if source.gone is not None or source.deadline <= now:
                num_taken += 0 if source.is_long else len(source.waiting)
                self._drop(source)
                continue
            if source.is_long:
                if long_room == 0:
                    set_aside.append(source)
                    continue
                long_room -= 1
            else:
                num_taken += 1
            windows.append(source.waiting.popleft())
            sources.append(source)
            if source.waiting:
                turns.append(source)
            else:
                source.in_turn = False
        turns.extendleft(reversed(set_aside))
        if num_taken:
            self._took(num_taken)
        return windows, sources

    def _drop(self, source: S) -> None:
        source.waiting.clear()
        source.in_turn = False
        if source.gone is None:
            self._expired(source)

    def _run(self, windows: list[Waveform], sources: list[S]) -> Batch[S]:
        began = time.monotonic()
        errors: dict[int, Exception] = {}
        try:
            scores = self._device.run(windows)
        except Exception as error:
            scores = self._run_singly(windows, error, errors)
        return Batch(sources, scores, began, time.monotonic() - began, errors)

    def _run_singly(self, windows: list[Waveform], error: Exception, errors: dict[int, Exception]) -> WindowScores:
        """The scores of windows that failed together; `errors` receives those that fail alone."""
        good: dict[int, WindowScores] = {}
        if len(windows) == 1:
            errors[0] = error
            return _joined(good, 1)
        _log.warning("a batch of %d windows failed (%s); they are run one by one", len(windows), error)
        for row, window in enumerate(windows):
            try:
                good[row] = self._device.run([window])
            except Exception as single_error:
                errors[row] = single_error
        return _joined(good, len(windows))


def _joined(good: dict[int, WindowScores], num_rows: int) -> WindowScores:
    """The rows that succeeded in their places, zeros in the others."""
    if not good:
        return WindowScores(None, np.zeros((num_rows, 0), dtype=np.float32))
    like = next(iter(good.values()))
    weak = np.zeros((num_rows, *like.weak.shape[1:]), dtype=like.weak.dtype)
    strong = None if like.strong is None else np.zeros((num_rows, *like.strong.shape[1:]), dtype=like.strong.dtype)
    for row, scores in good.items():
        weak[row] = scores.weak[0]
        if strong is not None and scores.strong is not None:
            strong[row] = scores.strong[0]
    return WindowScores(strong, weak)


def faulty_rows(scores: WindowScores) -> list[int]:
    """The rows whose scores are not finite."""
    finite = np.ones(len(scores.weak), dtype=bool)
    for values in (scores.weak, scores.strong):
        # one sum says whether any is not; only then is each row looked at
        if values is not None and not np.isfinite(values.sum()):
            finite &= np.isfinite(values).reshape(len(values), -1).all(axis=1)
    return [int(row) for row in np.flatnonzero(~finite)]
