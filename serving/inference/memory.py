"""What the C library and Python do with memory, chosen for a server whose windows come and go in every thread.

glibc gives the end of a thread's heap back to the system as soon as it is free, and has it again, page by page and
zeroed, for the next window of 640 kB: sixty page faults per recording, a third of all the processor time that a
recording costs. Here it keeps some of it. Larger allocations, of which there are few, still come from the system alone
and go back at once, so memory does not grow with what was once needed.
"""

from __future__ import annotations

import ctypes
import gc

# mallopt's numbers of its parameters (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 32 << 20
_LARGE_BYTES = 4 << 20
# New objects between two searches for circles, which requests do not make; Python's own 700 are a few requests.
_NEW_OBJECTS = 20_000


def keep_freed_memory() -> None:
    """For the whole process; where the C library has no such choice, nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def collect_rarely() -> None:
    """Once all is loaded: what is there now is never looked through again, and what comes only now and then."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS)
