"""Frames -> events: how decisions are read, of a whole clip or of one that comes in pieces.

An event is a run of active frames [a, b), from the time at which frame a begins to that at which frame b does, cut at
the clip's end. A run that goes on in the next piece is one event. Where values come with the decisions, an event's
score is their mean over its frames, in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from desed_task.events import Event
from desed_task.timeline import FrameGrid

# Durations that are equal in exact arithmetic must not be told apart by a rounding error.
_SECONDS_ROUNDING = 1e-9


class _Run(NamedTuple):
    """Frames [first, last) of the clip in which a class is active; the sum of its values there, if there are any."""

    label: int
    first: int
    last: int
    total: float | None


class EventDecoder:
    """Decisions of one clip, piece by piece -> its events.

    labels: of the class axis; min_duration: seconds, shorter events are left out.
    """

    def __init__(self, labels: Sequence[str], grid: FrameGrid, min_duration: float = 0.0) -> None:
        self._labels = labels
        self._start, self._frame_samples, self._sample_rate = grid.start, grid.frame_samples, grid.sample_rate
        # Frames that end before the clip begins are no part of an event.
        self._first_scored = grid.frame_at(0.0)
        self._min_duration = min_duration - _SECONDS_ROUNDING
        self._num_frames = 0
        self._open: dict[int, _Run] = {}
        self._events: list[Event] = []

    def feed(self, active: NDArray[np.bool_], values: NDArray[np.float32] | None = None) -> None:
        """The next frames: active (frames, classes), and of all pieces or of none values (frames, classes)."""
        first, last = self._num_frames, self._num_frames + len(active)
        before, self._open = self._open, {}
        for run in self._runs(active, values):
            joined = _joined(before.pop(run.label), run) if run.first == first and run.label in before else run
            if joined.last == last:
                self._open[joined.label] = joined
            else:
                self._close(joined, self._seconds_at(joined.last))
        for run in before.values():
            if first == last:
                self._open[run.label] = run
            else:
                self._close(run, self._seconds_at(run.last))
        self._num_frames = last

    def end(self, duration: float) -> list[Event]:
        """All events of a clip of `duration` seconds, sorted by onset."""
        for run in self._open.values():
            self._close(run, min(self._seconds_at(run.last), duration))
        self._open = {}
        self._events.sort()
        return self._events

    def _close(self, run: _Run, offset: float) -> None:
        onset = self._seconds_at(run.first)
        if offset <= onset or offset - onset < self._min_duration:
            return
        num_frames = run.last - max(run.first, self._first_scored)
        score = None if run.total is None else run.total / num_frames
        self._events.append(Event(onset, offset, self._labels[run.label], score))

    def _seconds_at(self, frame: int) -> float:
        # `FrameGrid.seconds_at`, without asking for its clocks each time.
        return max(0.0, self._start + frame * self._frame_samples / self._sample_rate)

    def _runs(self, active: NDArray[np.bool_], values: NDArray[np.float32] | None) -> Iterator[_Run]:
        """The runs of one piece, by class and then by time."""
        num_frames, num_classes = active.shape
        # Class after class in one row, each followed by a frame that is not active, so that no run goes on in the next.
        stride = num_frames + 1
        row = np.zeros(num_classes * stride + 1, dtype=np.bool_)
        row[1:].reshape(num_classes, stride)[:, :num_frames] = active.T
        steps = np.flatnonzero(row[1:] != row[:-1])
        if not len(steps):
            return
        totals: list[float] | list[None] = [None] * (len(steps) // 2)
        if values is not None:
            totals = self._totals(values, steps, stride)
        label, first = np.divmod(steps[::2], stride)
        last = first + (steps[1::2] - steps[::2]) + self._num_frames
        first += self._num_frames
        yield from map(_Run, label.tolist(), first.tolist(), last.tolist(), totals)

    def _totals(self, values: NDArray[np.float32], steps: NDArray[np.intp], stride: int) -> list[float]:
        """The sums of `values` in float64 over the runs between `steps` (2 * runs,), where scores begin."""
        num_frames, num_classes = values.shape
        row = np.zeros((num_classes, stride))
        unscored = min(max(0, self._first_scored - self._num_frames), num_frames)
        row[:, unscored:num_frames] = values.T[:, unscored:]
        totals: list[float] = np.add.reduceat(row.reshape(-1), steps)[::2].tolist()
        return totals


def decode_strong(active: NDArray[np.bool_], labels: Sequence[str], grid: FrameGrid, duration: float) -> list[Event]:
    """(frames, classes) of decisions on a whole clip -> events sorted by onset, cut at `duration` seconds."""
    decoder = EventDecoder(labels, grid)
    decoder.feed(active[: grid.frames_covering(duration)])
    return decoder.end(duration)


def _joined(begun: _Run, run: _Run) -> _Run:
    """A run that goes on in the next piece."""
    total = None if begun.total is None or run.total is None else begun.total + run.total
    return _Run(run.label, begun.first, run.last, total)
