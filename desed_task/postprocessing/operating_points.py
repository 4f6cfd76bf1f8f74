"""Operating points: the events of many clips at many thresholds, decoded together.

PSDS looks at 50 thresholds; decoding clip by clip and threshold by threshold is the slowest part of the published
test. Here a score is first replaced by the number of thresholds that it passes (its level). Where the level rises from
3 to 7, a run begins at the thresholds 3, 4, 5 and 6; where it falls, runs end. One difference over all clips, laid end
to end with a row of zeros between them, lists every run of every threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from desed_task.events import EventTable
from desed_task.postprocessing.thresholds import thresholds_passed
from desed_task.scores import Scores


def detect_at_thresholds(filtered: Mapping[str, Scores], thresholds: Sequence[float]) -> dict[float, EventTable]:
    """Filtered scores of clips of one system -> threshold -> the events of every clip.

    thresholds: ascending, each for all classes. Each table lists every clip, its rows sorted by clip and onset, and
    holds the very events that `PostProcessing.detect_at` gives for the clip.
    """
    if not filtered:
        return {threshold: EventTable({}) for threshold in thresholds}
    clips = list(filtered.values())
    names = np.array(list(filtered), dtype=np.str_)
    labels = np.array(clips[0].labels.names, dtype=np.str_)
    levels, first_rows = _levels(clips, thresholds)
    point, label, first, last = _runs(levels)
    clip = np.searchsorted(first_rows, first, side="right") - 1
    edges = clips[0].grid.timestamps(int(np.diff(first_rows, append=len(levels)).max()))
    onset = edges[first - first_rows[clip]]
    offset = np.minimum(edges[last - first_rows[clip]], np.array([scores.duration for scores in clips])[clip])
    order = np.lexsort((label, offset, onset, clip, point))
    order = order[(offset > onset)[order]]
    bounds = np.searchsorted(point[order], np.arange(len(thresholds) + 1))
    tables = {}
    for position, threshold in enumerate(thresholds):
        rows = order[bounds[position] : bounds[position + 1]]
        columns = (names[clip[rows]], onset[rows], offset[rows], labels[label[rows]])
        tables[threshold] = EventTable.from_columns(filtered, *columns)
    return tables


def _levels(clips: Sequence[Scores], thresholds: Sequence[float]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Levels of all clips end to end, a row of zeros after each: (rows, classes); each clip's first row: (clips,)."""
    frames = [scores.frame_values for scores in clips]
    lengths = np.array([0 if values is None else len(values) for values in frames])
    first_rows = np.concatenate(([0], np.cumsum(lengths + 1)[:-1]))
    levels = np.zeros((int((lengths + 1).sum()), len(clips[0].labels)), dtype=np.intp)
    for first_row, values in zip(first_rows, frames, strict=True):
        if values is not None:
            levels[first_row : first_row + len(values)] = thresholds_passed(values, thresholds)
    return levels, first_rows


def _runs(levels: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """All runs [first, last) of all thresholds: threshold index, class index, first row, last row, each (runs,)."""
    below = np.zeros_like(levels)
    below[1:] = levels[:-1]
    # Begins and ends of one class at one threshold alternate, so sorted alike they pair up.
    point, label, first = _crossings(below, levels)
    _, _, last = _crossings(levels, below)
    return point, label, first, last


def _crossings(
    lower: NDArray[np.intp], upper: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Every threshold between `lower` and `upper` where upper is larger, sorted: threshold index, class index, row."""
    row, label = np.nonzero(upper > lower)
    count = upper[row, label] - lower[row, label]
    steps = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    point, label, row = np.repeat(lower[row, label], count) + steps, np.repeat(label, count), np.repeat(row, count)
    order = np.lexsort((row, label, point))
    return point[order], label[order], row[order]
