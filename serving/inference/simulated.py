"""A device of load tests: it sleeps for as long as a batch would take, and hears nothing.

With it, batching, fairness, overload and draining are measured without the hardware they are for. The sleep is on an
absolute clock, and the thread's timer slack is set to its least, since the usual 50 us are a lot of 3 ms.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from desed_task.audio.waveform import Waveform
from desed_task.bundle import read_bundle
from desed_task.hearing import WindowScores

_PR_SET_TIMERSLACK = 29
# The median of many sleeps comes so late; what is asked for is shortened by it.
_WAKING_SECONDS = 20e-6


class SimulatedDetector:
    """What a `Detector` offers a server, with a batch of n windows taking base + n * row milliseconds."""

    provider = "simulated"

    def __init__(self, bundle_folder: Path, max_batch: int, base_ms: float, row_ms: float) -> None:
        self.bundle = read_bundle(bundle_folder)
        self.max_batch = max_batch
        self.buckets: tuple[int, ...] = ()
        self._base_seconds, self._row_seconds = base_ms / 1000, row_ms / 1000
        classes, view = len(self.bundle.labels), self.bundle.windowing
        self._weak = np.zeros((max_batch, classes), dtype=np.float32)
        self._strong = None
        if self.bundle.has_frames:
            self._strong = np.zeros((max_batch, view.window_frames, classes), dtype=np.float32)
        self._slack_is_set = False

    def warm_up(self) -> None:
        """Nothing gets faster."""

    def bucket_of(self, num_windows: int) -> int:
        """Batches are run as they are."""
        return num_windows

    def run(self, windows: Sequence[Waveform]) -> WindowScores:
        """Windows -> zeros, after the time that they would take."""
        until = time.monotonic() + self._base_seconds + self._row_seconds * len(windows)
        if not self._slack_is_set:  # in the thread that runs
            self._slack_is_set = True
            _set_least_timer_slack()
        left = until - time.monotonic() - _WAKING_SECONDS
        if left > 0:
            time.sleep(left)
        num_windows = len(windows)
        return WindowScores(None if self._strong is None else self._strong[:num_windows], self._weak[:num_windows])


def _set_least_timer_slack() -> None:
    """Of the calling thread, where the system has it."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
