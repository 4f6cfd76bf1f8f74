"""One pace for all workers: who is told to slow down slows everybody down.

After a failure that passes everybody waits, after the next one twice as long; each answer, even that a video is gone,
halves the wait again. When several clips in a row get no answer at all there is no sense in asking for thousands more:
the pace is then lost.
"""

from __future__ import annotations

import logging
import threading
import time

from desed_task.data.fetch.retrying import RetryPolicy

LOG = logging.getLogger(__name__)
MOST_WITHOUT_ANSWER = 5


class Pace:
    """Shared by the workers of one part; `stopped` ends every wait."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.stopped = threading.Event()
        self._policy = policy
        self._lock = threading.Lock()
        self._level = 0
        self._not_before = 0.0
        self._without_answer = 0
        self.last_reason = ""

    @property
    def is_lost(self) -> bool:
        """Whether too many clips in a row got no answer in all their attempts."""
        return self._without_answer >= MOST_WITHOUT_ANSWER

    def wait(self) -> bool:
        """Wait for one's turn; False when there is none any more."""
        while not (self.stopped.is_set() or self.is_lost):
            with self._lock:
                left = self._not_before - time.monotonic()
            if left <= 0:
                return True
            self.stopped.wait(left)
        return False

    def answered(self) -> None:
        """A clip came, or is known to be gone."""
        with self._lock:
            self._level //= 2
            self._without_answer = 0

    def failed(self, reason: str) -> None:
        """An attempt failed in a way that passes: everybody waits. What fails while they do was under way before."""
        with self._lock:
            self.last_reason = reason
            if time.monotonic() < self._not_before:
                return
            self._level += 1
            seconds = self._policy.wait_before(self._level)
            self._not_before = time.monotonic() + seconds
        LOG.warning("%s; waiting %.0f s", reason, seconds)

    def gave_up(self) -> None:
        """A clip got no answer in all its attempts."""
        with self._lock:
            self._without_answer += 1
