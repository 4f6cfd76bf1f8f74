"""Which clips make a figure, or the difference between two systems.

The contribution of a clip is the figure on all clips less the figure without that clip (the jackknife): above zero when
the clip raises the figure. PSDS and F1 are no means over clips, so contributions do not add up to them. What went wrong
in a clip is said by its counts at one operating point: found, missed, false alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.counts import ClassCounts
from desed_task.metrics.deltas import Deltas
from desed_task.metrics.resampled import Figure, clip_changes

# Clips that are left out at a time: each takes a row of weights as long as there are clips.
_CLIPS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class ClipCounts:
    """Counts of every clip at one operating point, all (clips, classes); audio_ids and labels name the axes."""

    audio_ids: tuple[str, ...]
    labels: tuple[str, ...]
    found: NDArray[np.int64]
    missed: NDArray[np.int64]
    false_alarms: NDArray[np.int64]

    def worst(self, number: int) -> list[str]:
        """audio_ids of the clips with most misses and false alarms, the worst first; clips without any are left out."""
        wrong = (self.missed + self.false_alarms).sum(axis=1)
        order = np.argsort(-wrong, kind="stable")[:number]
        return [self.audio_ids[clip] for clip in order.tolist() if wrong[clip]]

    def of_clip(self, audio_id: str) -> dict[str, ClassCounts]:
        """Counts of one clip, of the classes of which it holds, or is said to hold, something."""
        clip = self.audio_ids.index(audio_id)
        columns = (self.found[clip].tolist(), self.missed[clip].tolist(), self.false_alarms[clip].tolist())
        rows = zip(self.labels, *columns, strict=True)
        return {label: _counts(tp, fn, fp) for label, tp, fn, fp in rows if tp or fn or fp}


def clip_counts(deltas: Deltas, thresholds: Mapping[str, float]) -> ClipCounts:
    """The counts of every clip at one threshold per class (label -> threshold, score > threshold).

    With the intersection criterion, found and missed are events and false alarms are detections that do not pass.
    """
    found, failed = clip_changes(deltas, thresholds)
    tp = found.astype(np.int64)
    truth = deltas.truth
    return ClipCounts(truth.audio_ids, tuple(truth.labels), tp, deltas.num_reference - tp, failed.astype(np.int64))


def clip_contributions(
    figure: Figure, num_clips: int, progress: Callable[[int], object] | None = None
) -> NDArray[np.float64]:
    """(clips,) the figure less the figure without each clip, NaN where either is undefined.

    progress: called with the number of clips that have just been left out.
    """
    everything = float(figure(np.ones((1, num_clips), dtype=np.int32))[0])
    without = np.empty(num_clips)
    for start in range(0, num_clips, _CLIPS_AT_ONCE):
        stop = min(start + _CLIPS_AT_ONCE, num_clips)
        weights = np.ones((stop - start, num_clips), dtype=np.int32)
        weights[np.arange(stop - start), np.arange(start, stop)] = 0
        without[start:stop] = figure(weights)
        if progress is not None:
            progress(stop - start)
    return everything - without


def clip_differences(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> list[tuple[int, float]]:
    """(clip, how much more it gives to our figure than to theirs), the largest differences of either sign first.

    Takes the contributions of two systems; clips that give both the same, or of which one is undefined, are left out.
    """
    changes = ours - theirs
    changes[np.isnan(changes)] = 0.0
    order = np.argsort(-np.abs(changes), kind="stable").tolist()
    return [(clip, float(changes[clip])) for clip in order if changes[clip]]


def _counts(tp: int, fn: int, fp: int) -> ClassCounts:
    return ClassCounts(tp + fn, tp + fp, tp, fp, fn)
