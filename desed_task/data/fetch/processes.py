"""Other programs, several at once from several threads, each of which can be ended with everything it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a program ended: exit code (None: it was ended after its time), what it printed on both outputs."""

    code: int | None
    text: str


class Processes:
    """Starts programs in sessions of their own, so that their children end with them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._closed = False

    def run(self, command: Sequence[str], timeout: float, folder: Path) -> Ended:
        """Run to the end or for `timeout` seconds, in `folder`. After `end_all` nothing is started any more."""
        with self._lock:
            if self._closed:
                return Ended(None, "interrupted")
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.add(process)
        try:
            text, _ = process.communicate(timeout=timeout)
            return Ended(process.returncode, text)
        except subprocess.TimeoutExpired:
            return Ended(None, f"no end after {timeout:g} s")
        finally:
            _end(process)
            with self._lock:
                self._running.discard(process)

    def end_all(self) -> None:
        """End what runs; `run` returns in the threads that wait for it."""
        with self._lock:
            self._closed = True
            for process in self._running:
                _kill_session(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Whatever is left of it: the program itself, or children that outlived it."""
    _kill_session(process)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _kill_session(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
