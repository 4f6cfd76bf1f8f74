"""Tagging as ranking: average precision and area under the ROC curve of every class, from one sort per class.

For one class, all clips are listed from the highest score down. Average precision is the mean, over the clips that hold
the class, of the precision of the list down to there; mAP is its mean over the classes (macro). The AUC is the share of
pairs of a clip with and a clip without the class that stand in the right order, ties counting half. Clips of equal
score enter the list together, so neither depends on the order of the clips.

Only where the positives stand matters: their ranks say both figures, and so scores are sorted without carrying an index
along, and the list is never walked. Equal to scikit-learn's `average_precision_score` and `roc_auc_score` to 1e-12.

A class that no clip holds, or that every clip holds, ranks nothing: both figures are NaN, and means leave it out.
scikit-learn says 0 for the average precision of the first and 1 for that of the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

# (clips, classes), finite
TagScores: TypeAlias = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class TagRanking:
    """Where the positives of each class stand. A step is a score that one positive or more have, highest first.

    num_positive, num_negative: (classes,); class c owns the steps [first_step[c], first_step[c + 1]). Of each step:
    score; found: positives that have it or more; listed, above: clips that have it or more, and clips that have more;
    below: the next lower score of any clip, -inf where there is none.
    """

    num_positive: NDArray[np.int64]
    num_negative: NDArray[np.int64]
    first_step: NDArray[np.int64]
    score: NDArray[np.floating[Any]]
    below: NDArray[np.floating[Any]]
    found: NDArray[np.int64]
    listed: NDArray[np.int64]
    above: NDArray[np.int64]

    @cached_property
    def average_precision(self) -> NDArray[np.float64]:
        """(classes,), NaN where undefined."""
        return self._mean_over_positives(self._new * (self.found / self.listed))

    @cached_property
    def auc(self) -> NDArray[np.float64]:
        """(classes,) area under the ROC curve, NaN where undefined."""
        ahead = ((self.above - self.found + self._new) + (self.listed - self.found)) / 2
        return self._mean_over_positives(self._new * (1 - ahead / np.maximum(self.num_negative, 1)[self._label]))

    @cached_property
    def _label(self) -> NDArray[np.int64]:
        """(steps,) the class of each step."""
        return np.repeat(np.arange(len(self.num_positive)), np.diff(self.first_step))

    @cached_property
    def _new(self) -> NDArray[np.int64]:
        """(steps,) positives that have exactly this score."""
        new = np.diff(self.found, prepend=0)
        starts = self.first_step[:-1][np.diff(self.first_step) > 0]
        new[starts] = self.found[starts]
        return new

    def _mean_over_positives(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(steps,) sums over the positives of each step -> (classes,) means."""
        total = np.bincount(self._label, values, len(self.num_positive))
        defined = (self.num_positive > 0) & (self.num_negative > 0)
        return np.where(defined, total / np.maximum(self.num_positive, 1), np.nan)


def rank_tags(scores: TagScores, truth: NDArray[np.bool_]) -> TagRanking:
    """scores, truth: (clips, classes). ValueError for shapes that differ and for scores that are not finite."""
    if scores.ndim != 2 or scores.shape != truth.shape or not len(scores):
        raise ValueError(
            f"scores {scores.shape} and truth {truth.shape} must both be (clips, classes), one clip or more"
        )
    by_class, present = np.ascontiguousarray(scores.T), np.ascontiguousarray(truth.T)
    ascending = np.sort(by_class, axis=1)
    # NaN is sorted to the end
    if not np.isfinite(ascending[:, [0, -1]]).all():
        raise ValueError("scores must be finite numbers")
    num_clips = len(scores)
    steps = [_steps(own, values[there]) for own, values, there in zip(ascending, by_class, present, strict=True)]
    counts = np.array([len(score) for score, *_ in steps])
    score, below, found, fewer, not_more = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    num_positive = present.sum(axis=1)
    return TagRanking(
        num_positive=num_positive,
        num_negative=num_clips - num_positive,
        first_step=np.concatenate(([0], np.cumsum(counts))),
        score=score,
        below=below,
        found=found,
        listed=num_clips - fewer,
        above=num_clips - not_more,
    )


def mean_defined(values: NDArray[np.float64]) -> float:
    """The mean of (classes,) values that are not NaN; NaN where all are."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _steps(ascending: NDArray[np.floating[Any]], positives: NDArray[np.floating[Any]]) -> tuple[NDArray[Any], ...]:
    """Of one class: the distinct scores of its positives, highest first, with what is known of each."""
    distinct, equal = np.unique(positives, return_counts=True)
    distinct, equal = distinct[::-1], equal[::-1]
    fewer = ascending.searchsorted(distinct, side="left")
    not_more = ascending.searchsorted(distinct, side="right")
    lowest = ascending.dtype.type(-np.inf)
    below = np.where(fewer > 0, ascending[np.maximum(fewer - 1, 0)], lowest)
    return distinct, below, np.cumsum(equal), np.asarray(fewer), np.asarray(not_more)
