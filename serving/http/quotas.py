"""Quotas: how much audio a key may send, a bucket of audio-seconds per key that fills at its rate.

A full bucket holds an hour's worth. How long a compressed recording is shows only when it is decoded, so a request is
let in while there is anything in the bucket, and pays afterwards, maybe more than was there; the next one then waits
until that is made up. Over the hours nobody gets more than the rate, and Retry-After says exactly how long to wait.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from serving.errors import RequestError
from serving.http.keys import ApiKey

_HOUR = 3600.0


class Quotas:
    """The buckets of all keys. clock: seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # name -> (audio-seconds in it, when)

    def require(self, key: ApiKey | None, seconds: float | None = None) -> None:
        """RequestError 429 when the bucket is empty, or holds less than `seconds`, where they are known before."""
        if key is None or key.audio_seconds_per_hour is None:
            return
        # A recording longer than a full bucket gets in when the bucket is full.
        needed = min(seconds or 0.0, key.audio_seconds_per_hour)
        level = self._level(key)
        if level > 0 and level >= needed:
            return
        # an empty bucket must hold something again, so one second more than nothing
        wait = max(1, math.ceil((needed - level) * _HOUR / key.audio_seconds_per_hour))
        raise RequestError(
            429,
            "quota_exceeded",
            f"{key.name} may send {key.audio_seconds_per_hour:g} s of audio per hour; try again in {wait} s",
            limit=key.audio_seconds_per_hour,
            retry_after=wait,
        )

    def spend(self, key: ApiKey | None, seconds: float) -> None:
        """Take what a recording was long."""
        if key is not None and key.audio_seconds_per_hour is not None:
            self._buckets[key.name] = (self._level(key) - seconds, self._clock())

    def _level(self, key: ApiKey) -> float:
        capacity = key.audio_seconds_per_hour or math.inf
        now = self._clock()
        level, since = self._buckets.get(key.name, (capacity, now))
        return min(capacity, level + (now - since) * capacity / _HOUR)
