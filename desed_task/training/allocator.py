"""Keeping freed memory: a training step on a CPU frees and asks for the same large arrays again and again.

glibc gives arrays of more than 32 MB back to the kernel when they are freed, which then hands out pages of zeros one
fault at a time; on two cores that is a third of a CRNN's training step. Told to keep
them, the process holds its peak memory until it ends, as a training does anyway. Nothing happens without glibc.
"""

from __future__ import annotations

import contextlib
import ctypes

# malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MMAP_FROM_BYTES = 1 << 30
_NEVER_TRIM = 2**31 - 1


def give_back_freed_memory() -> None:
    """Let the kernel have what malloc keeps; others than malloc may need it."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed_memory() -> bool:
    """Let malloc keep what it is given back; whether it was understood."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MMAP_FROM_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER_TRIM))
