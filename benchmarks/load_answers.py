"""What became of the requests of a load, and the figures that say it: percentiles, goodput, lag, counts.

All times are seconds since the run began. Percentiles are nearest ranks, so each is a latency that really was.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

NOT_CONNECTED, CLOSED, TOO_LATE = "not connected", "closed", "no answer in time"


class Answer(NamedTuple):
    """What became of one request. status: 0 and a `fault` when no whole answer came."""

    kind: str
    scheduled: float
    sent: float
    done: float
    status: int
    fault: str = ""
    retry_after: float | None = None
    body: bytes = b""
    content_type: str = ""

    @property
    def latency(self) -> float:
        """Seconds from when it was due to the last byte of its answer."""
        return self.done - self.scheduled


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that at least `share` of all do not pass (nearest rank); nan of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def latencies(answers: Iterable[Answer], kind: str | None = None, statuses: Sequence[int] = (200,)) -> list[float]:
    """Seconds of the answers of a kind (of all when None) with one of the statuses."""
    return [a.latency for a in answers if a.status in statuses and kind in (None, a.kind)]


def goodput(answers: Iterable[Answer], first: float, last: float, kind: str | None = None) -> float:
    """Answers of status 200 a second that were whole within [first, last)."""
    whole = sum(a.status == 200 and first <= a.done < last and kind in (None, a.kind) for a in answers)
    return whole / (last - first)


def lag(answers: Iterable[Answer], share: float) -> float:
    """Percentile of how late requests left, in seconds; those that never left are not counted."""
    return percentile([a.sent - a.scheduled for a in answers if not math.isnan(a.sent)], share)


def statuses(answers: Iterable[Answer]) -> dict[str, int]:
    """How many answers of each status, and how many of each fault."""
    return dict(sorted(Counter(a.fault or str(a.status) for a in answers).items()))
