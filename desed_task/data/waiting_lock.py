"""One writer at a time of a file that several processes may want made: the others wait, then find it complete."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

LOG = logging.getLogger(__name__)


@contextmanager
def alone_with(lock_path: Path, name: str, makes: str) -> Iterator[None]:
    """Hold `lock_path`; waits, and says that another process `makes` (packs, extracts) what `name` names.

    The file of the lock goes once the work is done; after an exception it stays.
    """
    lock = FileLock(lock_path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        LOG.warning("%s: another process %s it; waiting for it", name, makes)
        lock.acquire()
    try:
        yield
        # Whoever waits for the file removed here, and whoever makes it anew, finds the work complete.
        lock_path.unlink(missing_ok=True)
    finally:
        lock.release()
