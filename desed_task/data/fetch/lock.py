"""One fetch at a time into one root: two would take each other's half-done files for leftovers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from desed_task.errors import FetchError


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold `root`, made where it is not there. FetchError when somebody else does."""
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".fetch.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FetchError(f"{root}: another fetch is at work here; wait for it or end it") from None
    try:
        yield
    finally:
        lock.release()
