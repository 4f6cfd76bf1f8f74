"""Backlog: how much audio is queued, how fast it is heard, and so when there will be room for more.

Queued are audio-seconds of recordings that are there and not heard yet. The rules:

- A recording counts what is left of it: what its header claims, or what was decoded if that is more, or, before its
  header is read, what its bytes are worth by experience; in whole windows, which is what its model hears.
- A window is worth the seconds from its start to that of the next, so what is heard adds up to what was counted.
- A short recording counts whole, since it is heard in one go (see `line`). A long one takes its turn window by window
  (see `batcher`), so an hour delays a clip no more than a minute does; it counts at most `windows_ahead` windows:
  counted whole, one archive would shut the door for everybody else.

The speed is audio-seconds heard per second, over the last seconds in which there was something to do: of everything,
decoding, model and the rest, as it went. Before anything was heard it is that of the warm-up.

The forecast follows from the same figures: all are heard in equal shares, so the count falls by what is heard, and by
a long recording only as its end comes near.

All of this belongs to the event loop's thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Seconds over which the speeds are averaged, and what the first guess of one is worth, in seconds of measuring.
_MEMORY_SECONDS = 2.0
_GUESS_SECONDS = 0.25
# What a byte is worth before anything was decoded: 16-bit samples at 16 kHz; compressed formats teach otherwise soon.
_SECONDS_PER_BYTE = 1 / 32_000
_GUESS_BYTES = 10_000
_FADE_PER_RECORDING = 0.98
# Of a window: seconds are sums of floats.
_ROUNDING = 1e-6
# What is left of each recording is looked at again after so long.
_LOOK_SECONDS = 0.1


class Rate:
    """A quotient of two sums, both of which fade: audio-seconds heard per second, or seconds of audio per byte."""

    def __init__(self, value: float, weight: float) -> None:
        """value: at the start, as if measured over a denominator of `weight`."""
        self._above, self._below = value * weight, weight

    @property
    def value(self) -> float:
        """The quotient now."""
        return self._above / self._below

    def add(self, above: float, below: float, fade: float) -> None:
        """A further measurement; `fade` is what is left of the earlier ones."""
        self._above = self._above * fade + above
        self._below = self._below * fade + below


class Measure(NamedTuple):
    """How a model counts what it is to hear. window_seconds: what a window is worth; most_windows: of one recording."""

    window_seconds: float
    most_windows: int

    def whole(self, seconds: float) -> float:
        """The seconds of as many windows as it takes to hear so many, at least one."""
        return max(1, math.ceil(seconds / self.window_seconds - _ROUNDING)) * self.window_seconds

    @property
    def most(self) -> float:
        """How many seconds of one recording count."""
        return self.most_windows * self.window_seconds

    def counted(self, seconds: float) -> float:
        """How much a recording counts of which so many are left."""
        return min(self.whole(seconds), self.most)


class Place:
    """One recording in the queue. remaining: seconds of it that are left to be heard; counted: how many count."""

    __slots__ = ("counted", "is_guessed", "measure", "num_bytes", "remaining")

    def __init__(self, num_bytes: int, measure: Measure, is_guessed: bool) -> None:
        self.num_bytes = num_bytes
        self.is_guessed = is_guessed
        self.measure = measure
        self.remaining = 0.0
        self.counted = 0.0


class Backlog:
    """What is queued at one server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._speed = Rate(1.0, _GUESS_SECONDS)
        self._seconds_per_byte = Rate(_SECONDS_PER_BYTE, _GUESS_BYTES)
        self._places: set[Place] = set()
        self._measured_at = 0.0
        self._left: list[float] = []
        self._long_left = False
        self._works: dict[tuple[int, int], float] = {}
        self._looked_at = -math.inf
        self.measure_of_default = Measure(1.0, 1)
        self.queued_seconds = 0.0

    def __len__(self) -> int:
        """Recordings that are decoded and heard now, or wait for it."""
        return len(self._places)

    @property
    def speed(self) -> float:
        """Audio-seconds that are heard per second."""
        return max(self._speed.value, 1e-3)

    def warmed_up(self, measure: Measure, speed: float) -> None:
        """What is known of the default model before anything was heard: its measure, and its speed without the rest."""
        self.measure_of_default = measure
        self._speed = Rate(speed, _GUESS_SECONDS)

    def worth(self, num_bytes: int) -> float:
        """The seconds of audio in so many bytes, by experience."""
        return num_bytes * self._seconds_per_byte.value

    def counted(self, seconds: float) -> float:
        """How much so many seconds count, of a recording for the default model."""
        return self.measure_of_default.counted(seconds)

    def enter(self, num_bytes: int, measure: Measure, seconds: float | None = None) -> Place:
        """A recording of so many bytes waits to be decoded; seconds: what it holds, where that is known."""
        if not self._places:
            self._measured_at = self._clock()
        place = Place(num_bytes, measure, seconds is None)
        self._places.add(place)
        self.expect(place, self.worth(num_bytes) if seconds is None else seconds)
        return place

    def expect(self, place: Place, seconds: float) -> None:
        """So much of it is left to be heard, as far as is known now; nothing of one that has left."""
        if place in self._places:
            place.remaining = place.measure.whole(seconds)
            self._count(place, min(place.remaining, place.measure.most))

    def heard(self, place: Place, num_windows: int) -> None:
        """So many windows of it were heard; of one that has left nothing is awaited."""
        if place in self._places:
            place.remaining = max(0.0, place.remaining - num_windows * place.measure.window_seconds)
            self._count(place, min(place.remaining, place.measure.most))

    def measure(self, seconds: float) -> None:
        """So many seconds, of all recordings, were heard since this was said last."""
        now = self._clock()
        elapsed = max(now - self._measured_at, 1e-6)
        self._measured_at = now
        self._speed.add(seconds, elapsed, math.exp(-elapsed / _MEMORY_SECONDS))

    def leave(self, place: Place, seconds: float) -> None:
        """A recording is answered, refused or given up; seconds: its duration, 0 where nobody knows it."""
        self._places.discard(place)
        self._count(place, 0.0)
        if seconds > 0 and place.is_guessed:
            self._seconds_per_byte.add(seconds, place.num_bytes, _FADE_PER_RECORDING)
        if not self._places:
            self.queued_seconds = 0.0  # what rounding left

    def counts_whole(self, seconds: float) -> bool:
        """Whether a recording of so many seconds counts as many."""
        return seconds <= self.measure_of_default.most

    def seconds_until(self, bound: float, more: Sequence[float] = ()) -> float:
        """How long it will take until no more than `bound` seconds are queued; more: long ones that join these."""
        self._look()
        if not self._long_left and not more:
            return max(0.0, self.queued_seconds - bound) / self.speed
        key = (round(bound / self.measure_of_default.window_seconds), len(more))
        if key not in self._works:
            self._works[key] = work_until(np.array([*self._left, *more]), self.measure_of_default.most, bound)
        return self._works[key] / self.speed

    def shortest_left(self) -> float:
        """How long it will take until the first of the recordings is heard."""
        left = min((place.remaining for place in self._places), default=0.0)
        return left * len(self._places) / self.speed

    def _look(self) -> None:
        """See what is left of each recording, now and then."""
        now = self._clock()
        if now - self._looked_at > _LOOK_SECONDS:
            self._looked_at = now
            self._works.clear()
            self._left = [place.remaining for place in self._places]
            self._long_left = any(place.remaining > place.counted for place in self._places)

    def _count(self, place: Place, seconds: float) -> None:
        self.queued_seconds += seconds - place.counted
        place.counted = seconds


def work_until(remaining: NDArray[np.float64], most: float, bound: float) -> float:
    """How much has to be heard, in seconds, until what is queued counts no more than `bound`.

    remaining: of each recording; it counts at most `most`. All are heard in equal shares: when each has had a share,
    min(remaining, share) were heard of it, and it counts min(remaining - share, most).
    """
    least, largest = 0.0, float(remaining.max(initial=0.0))
    for _ in range(24):
        share = (least + largest) / 2
        if np.clip(remaining - share, 0.0, most).sum() > bound:
            least = share
        else:
            largest = share
    return float(np.minimum(remaining, largest).sum())
