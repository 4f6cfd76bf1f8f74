"""Silence stripping as for GISE-51 (Yadav & Foster 2021): what SoX's `silence 1 D 1% -1 D 1%` keeps of a recording.

The level of a sample is the RMS of the 20 ms that end with it. A part begins with the first sample of a run of D
seconds in which every level exceeds 1 % of full scale, and ends before the first run of D seconds in which none does;
then the next part is looked for, with an empty window. So silence goes from both ends and from between, sounds shorter
than D go with it, and what is kept is put together without a gap. The number that the published script calls a volume
is this D, in seconds: 0.1, and less for classes that are faint; the threshold is 1 % for all of them.

Recordings count as 16-bit ones, whose levels SoX cuts to whole steps: a level exceeds 1 % from 328 of 32768 on. On such
files of one channel, what is kept equals SoX 14.4.2's to the sample. Channels are averaged first; SoX lets each of them
begin a part, and any of them end it.

What is left is repeated to `min_clip_seconds` where it is shorter, and dropped under `shortest_samples`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from desed_task.audio.reading import Waveform
from desed_task.options import Options
from desed_task.soundscapes.silence import Outline, Stretch

_WINDOWS_PER_SECOND = 50
_FULL_SCALE = 32_768
# SoX's full scale in units of a 16-bit step: 2^31 - 1 of its own 32-bit steps.
_SOX_FULL_SCALE = (2**31 - 1) / 2**16
_FAINT, _QUIET = 0.025, 0.05
PUBLISHED_CLASS_SECONDS: dict[str, float] = {
    **dict.fromkeys(("Whispering", "Wind", "Crumpling_and_crinkling_and_crushing", "Writing", "Cricket"), _FAINT),
    **dict.fromkeys(("Glass", "Tap", "Zipper", "Rattle", "Chirp_and_tweet", "Tearing"), _QUIET),
}


class StripOptions(Options):
    """Silence goes from both ends and from within, by an absolute threshold; what is left is one event."""

    name: Literal["strip_silence"]
    threshold_percent: float = Field(
        default=1.0, ge=0, lt=100, description="Levels above this, of full scale, are sound."
    )
    run_seconds: float = Field(
        default=0.1, gt=0, description="How long sound must last to begin a part, and silence to end it."
    )
    class_run_seconds: dict[str, float] = Field(
        default=PUBLISHED_CLASS_SECONDS, description="The same for classes that differ; the published ones."
    )
    shortest_samples: int = Field(default=220, ge=1, description="What is left of a recording is dropped below this.")
    min_clip_seconds: float = Field(default=1.25, ge=0, description="Shorter events are repeated to this length.")

    def isolate(self, waveform: Waveform, sample_rate: int, event_label: str) -> list[tuple[int, Waveform]]:
        """(where it begins in the recording, samples) of the one event of a recording; none where too little is left.

        What was cut out before it, or within it, cannot be told from where it begins.
        """
        seconds = self.class_run_seconds.get(event_label, self.run_seconds)
        parts = sounding_parts(waveform, sample_rate, seconds, self.threshold_percent)
        left = [waveform[first:last] for first, last in parts]
        if sum(map(len, left)) < self.shortest_samples:
            return []
        return [(parts[0][0], repeated(np.concatenate(left), int(sample_rate * self.min_clip_seconds)))]

    def outline(self, waveform: Waveform, sample_rate: int) -> Outline:  # noqa: ARG002 (an excerpt begins anywhere)
        """An excerpt of it may begin anywhere."""
        return Outline(len(waveform), None, 1)


def sounding_parts(
    waveform: Waveform, sample_rate: int, run_seconds: float, threshold_percent: float = 1.0
) -> list[Stretch]:
    """What is kept of (samples,), in samples, in order."""
    levels = _Levels(waveform, sample_rate, threshold_percent)
    run = max(1, int(run_seconds * sample_rate + 0.5))
    parts: list[Stretch] = []
    cleared = 0
    while (begun := levels.end_of_run(True, cleared, cleared, run)) is not None:
        ended = levels.end_of_run(False, begun, cleared, run)
        if ended is None:
            parts.append((begun - run, len(waveform)))
            break
        parts.append((begun - run, ended - run))
        cleared = ended
    return parts


def repeated(waveform: Waveform, num_samples: int) -> Waveform:
    """(samples,) repeated to `num_samples` where it is shorter."""
    return waveform if len(waveform) >= num_samples else np.resize(waveform, num_samples)


class _Levels:
    """Which samples of a recording are sound."""

    def __init__(self, waveform: Waveform, sample_rate: int, threshold_percent: float) -> None:
        steps = np.clip(np.round(waveform.astype(np.float64) * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1)
        # Whole numbers: sums of squares are exact, in whatever order.
        self._energy = np.concatenate([[0], np.cumsum(steps.astype(np.int64) ** 2)])
        self._num_samples = len(waveform)
        self._window = max(1, int(sample_rate / _WINDOWS_PER_SECOND))
        least_level = int(threshold_percent / 100 * _SOX_FULL_SCALE) + 1
        self._least_energy = least_level**2 * self._window

    def end_of_run(self, is_sound: bool, first: int, cleared: int, run: int) -> int | None:
        """Behind the last sample of the first `run` samples from `first` on that all are sound, or all are not.

        cleared: before it the window holds nothing. None where there is no such run.
        """
        begin, step = first, 4 * max(self._window, run)
        while first < self._num_samples:
            last = min(first + step, self._num_samples)
            others = first + np.flatnonzero(self._are_sound(first, last, cleared) != is_sound)
            ends = np.concatenate([[begin - 1], others, [last]])
            found = np.flatnonzero(np.diff(ends) > run)
            if len(found):
                return int(ends[found[0]]) + 1 + run
            begin = int(others[-1]) + 1 if len(others) else begin
            # Ever larger steps: a long run is found in few of them, a near one is not paid for dearly.
            first, step = last, 2 * step
        return None

    def _are_sound(self, first: int, last: int, cleared: int) -> NDArray[np.bool_]:
        behind = np.arange(first + 1, last + 1)
        before = np.maximum(behind - self._window, cleared)
        return np.asarray(self._energy[behind] - self._energy[before] >= self._least_energy)
