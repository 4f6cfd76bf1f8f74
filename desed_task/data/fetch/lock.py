"""One fetch at a time into one root: two would take each other's half-done files for leftovers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from desed_task.errors import FetchError

# A fetch that was killed while it started a program holds the lock until that program begins.
_LETTING_GO_SECONDS = 2.0


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold `root`, made where it is not there. FetchError when somebody else does."""
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".fetch.lock")
    try:
        lock.acquire(timeout=_LETTING_GO_SECONDS)
    except Timeout:
        raise FetchError(f"{root}: another fetch is at work here; wait for it or end it") from None
    try:
        yield
    finally:
        lock.release()
