"""How the kernels are compiled: when first called, for all later processes where there is a folder to keep them in.

Numba keeps compiled kernels beside their file, or in the user's cache folder (or in NUMBA_CACHE_DIR). Where it may
write to neither, as in a read-only installation without a home, they are compiled by each process anew. Compiling all
of them takes about half a minute, so the first one says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.event import Event, Listener, register

LOG = logging.getLogger(__name__)
_PACKAGE = __name__.rpartition(".")[0]


def kernel(function: Callable[..., Any]) -> Any:
    """Compile `function`; it may call only kernels of its own file, since numba does not notice when another changes.

    Kernels release the interpreter's lock.
    """
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder to keep it in
        _FIRST.keeps = False
        return njit(nogil=True)(function)


class _FirstCompiled(Listener):  # type: ignore[misc]
    """Says once per process that kernels are being compiled, and not merely read."""

    def __init__(self) -> None:
        self.said, self.keeps = False, True

    def on_start(self, event: Event) -> None:
        """Called before anything is compiled, by any package."""
        module = getattr(event.data["dispatcher"].py_func, "__module__", "")
        if self.said or not module.startswith(_PACKAGE):
            return
        self.said = True
        again = "kept for next time" if self.keeps else "set NUMBA_CACHE_DIR to a folder that keeps them for next time"
        LOG.info(f"compiling the metrics' kernels, about half a minute ({again})")

    def on_end(self, event: Event) -> None:
        """Nothing to say."""


_FIRST = _FirstCompiled()
register("numba:compile", _FIRST)
