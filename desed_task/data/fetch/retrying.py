"""When to try again, and how long to wait before: one policy for HTTP and for clips of videos.

Waits double from attempt to attempt, with some chance in them so that several do not come back at the same instant. A
server that says when to come back (Retry-After, RFC 9110, 10.2.3) is believed, within reason.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class RetryPolicy:
    """How often, how patiently; seconds.

    attempts: in a row without any progress; timeout: silence of a server. clip_attempts, clip_timeout: of one clip of a
    video, whose downloader tries several times by itself.
    """

    attempts: int = 6
    first_wait: float = 2.0
    longest_wait: float = 120.0
    timeout: float = 60.0
    clip_attempts: int = 4
    clip_timeout: float = 600.0

    def wait_before(self, attempt: int, asked_for: float | None = None) -> float:
        """Seconds before attempt 1, 2, ... (0 is the first, which does not wait)."""
        if asked_for is not None:
            return min(asked_for, self.longest_wait)
        return min(self.first_wait * 2.0 ** (attempt - 1), self.longest_wait) * random.uniform(0.75, 1.25)


def seconds_to_wait(retry_after: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """A Retry-After header, seconds or a date, as seconds from now; None where there is none to be understood."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        when = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    aware = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return max(0.0, (aware - now()).total_seconds())
