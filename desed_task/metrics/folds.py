"""Figures of clips that were post-processed with different settings, fold by fold.

The deltas of each candidate filter length are computed once over all clips. What a system with other lengths per fold
and class would give is then a matter of picking rows: of each class, those of the clips in the folds that chose this
length. So every clip is judged with settings that were chosen without it, and nothing is matched again.

PSDS pools the scores of all folds under one threshold (which is fine for median lengths: they leave scores on their
scale); F1 pools decisions, each made at the threshold of its fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.deltas import CrossRows, DeltaRows, Deltas
from desed_task.metrics.resampled import mean_defined
from desed_task.postprocessing.search import Settings


@dataclass(frozen=True, eq=False)
class FoldSettings:
    """settings: one for each fold; fold_of_clip: (clips,) in the order of the truth."""

    settings: Sequence[Settings]
    fold_of_clip: NDArray[np.intp]

    @property
    def lengths(self) -> NDArray[np.intp]:
        """(folds, classes) positions in the candidate lengths."""
        return np.stack([settings.lengths for settings in self.settings])

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """(folds, classes)."""
        return np.stack([settings.thresholds for settings in self.settings])


@dataclass(frozen=True, eq=False)
class DecidedCounts:
    """Reference items, true positives and false alarms at the settings' own thresholds: (clips, classes) each."""

    num_reference: NDArray[np.int64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]

    def __call__(self, weights: NDArray[np.int32]) -> NDArray[np.float64]:
        """Macro F1 of samples of clips, a `resampled.Figure`: (samples, clips) -> (samples,)."""
        return mean_defined(self.class_f1(weights))

    def class_f1(self, weights: NDArray[np.int32]) -> NDArray[np.float64]:
        """(samples, classes) F1 = 2 tp / (2 tp + fp + fn); NaN where the weighed clips hold nothing of the class."""
        reference, found, false = (weights @ counts for counts in vars(self).values())
        f1: NDArray[np.float64] = np.where(reference > 0, 2 * found / np.maximum(found + false + reference, 1), np.nan)
        return f1


def pool_deltas(of_lengths: Sequence[Deltas], chosen: FoldSettings) -> Deltas:
    """The deltas of all clips, each filtered as its fold chose. of_lengths: one for each candidate length."""
    first = of_lengths[0]
    rows, first_row = _pooled([(d.rows, d.first_row) for d in of_lengths], chosen, first)
    crosses = [(d.cross, d.first_cross) for d in of_lengths if d.cross is not None]
    cross, first_cross = _pooled(crosses, chosen, first) if crosses else (None, first.first_cross)
    assert isinstance(rows, DeltaRows)
    assert cross is None or isinstance(cross, CrossRows)
    return Deltas(rows, first_row, cross, first_cross, first.num_reference, first.truth)


def decide_counts(of_lengths: Sequence[Deltas], chosen: FoldSettings) -> DecidedCounts:
    """The counts of all clips, each filtered and decided (score > threshold, in float32) as its fold chose."""
    first = of_lengths[0]
    found = np.zeros(first.num_reference.shape, dtype=np.int64)
    false = np.zeros_like(found)
    pooled = pool_deltas(of_lengths, chosen)
    rows = pooled.rows
    threshold = chosen.thresholds.astype(np.float32)[chosen.fold_of_clip[rows.clip], rows.label]
    passed = rows.threshold > threshold
    cells = rows.clip[passed], rows.label[passed]
    np.add.at(found, cells, rows.true_positives[passed])
    np.add.at(false, cells, rows.false_positives[passed])
    return DecidedCounts(first.num_reference.astype(np.int64), found, false)


def _pooled(
    of_lengths: Sequence[tuple[DeltaRows | CrossRows, NDArray[np.int64]]], chosen: FoldSettings, like: Deltas
) -> tuple[DeltaRows | CrossRows, NDArray[np.int64]]:
    """Rows of each class from the length that each clip's fold chose, from the highest threshold down."""
    columns = [name for name, column in vars(of_lengths[0][0]).items() if column is not None and name != "cross"]
    parts: dict[str, list[NDArray[np.generic]]] = {name: [] for name in columns}
    first_row = [0]
    lengths = chosen.lengths
    for label in range(len(like.truth.labels)):
        kept = []
        for length in np.unique(lengths[:, label]):
            rows, first = of_lengths[length]
            own = np.arange(first[label], first[label + 1])
            kept.append((rows, own[lengths[chosen.fold_of_clip[rows.clip[own]], label] == length]))
        order = np.argsort(-np.concatenate([rows.threshold[own] for rows, own in kept]), kind="stable")
        for name in columns:
            parts[name].append(np.concatenate([getattr(rows, name)[own] for rows, own in kept])[order])
        first_row.append(first_row[-1] + len(order))
    joined = {name: np.concatenate(pieces) for name, pieces in parts.items()}
    return type(of_lengths[0][0])(**joined), np.array(first_row, dtype=np.int64)
