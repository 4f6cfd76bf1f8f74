"""From ranked clips to average precision and AUC of every class, in many samples of clips at once.

Walks the clips of a class from the highest score down and keeps, for all samples at the same time, how many clips and
how many positives have been passed; only where positives stand is anything else computed. Each clip counts as often as
a sample holds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.kernels import kernel

Array = NDArray[Any]


@kernel
def sample_rankings(
    order: Array, present: Array, first_step: Array, above: Array, listed: Array, weights: Array
) -> tuple[Array, Array]:
    """Average precision and AUC of each class and sample, both (classes, samples), NaN where undefined.

    order: (classes, clips) clips from the highest score down; present: (clips, classes); first_step, above, listed: see
    `tag_ranking.TagRanking`; weights: (clips, samples) int32, how often each sample holds each clip.
    """
    num_classes, num_samples = len(order), weights.shape[1]
    precision, area = np.zeros((num_classes, num_samples)), np.zeros((num_classes, num_samples))
    passed, found = np.empty(num_samples, np.int32), np.empty(num_samples, np.int32)
    passed_before, found_before = np.empty(num_samples, np.int32), np.empty(num_samples, np.int32)
    size = weights.sum(axis=0)
    for label in range(num_classes):
        passed[:] = 0
        found[:] = 0
        at = 0
        for step in range(first_step[label], first_step[label + 1]):
            _pass(order[label, at : above[step]], weights, passed)  # negatives only
            passed_before[:] = passed
            found_before[:] = found
            tied = order[label, above[step] : listed[step]]
            _pass(tied, weights, passed)
            for clip in tied:
                if present[clip, label]:
                    _add(weights[clip], found)
            at = listed[step]
            _count_step(passed_before, found_before, passed, found, precision[label], area[label])
        for sample in range(num_samples):
            positives, negatives = found[sample], size[sample] - found[sample]
            if positives > 0 and negatives > 0:
                precision[label, sample] /= positives
                area[label, sample] = 1.0 - area[label, sample] / positives / negatives
            else:
                precision[label, sample] = area[label, sample] = np.nan
    return precision, area


@kernel
def _pass(clips: Array, weights: Array, total: Array) -> None:
    """Add the weights (clips, samples) of some clips to the (samples,) total."""
    for clip in clips:
        row = weights[clip]
        for sample in range(len(total)):
            total[sample] += row[sample]


@kernel
def _add(row: Array, total: Array) -> None:
    for sample in range(len(total)):
        total[sample] += row[sample]


@kernel
def _count_step(
    passed_before: Array, found_before: Array, passed: Array, found: Array, precision: Array, ahead: Array
) -> None:
    """For each new positive: the precision down to here, and how many negatives stand ahead, ties counting half."""
    for sample in range(len(found)):
        new = found[sample] - found_before[sample]
        if new > 0:
            precision[sample] += new * (found[sample] / passed[sample])
            false_before, false_now = passed_before[sample] - found_before[sample], passed[sample] - found[sample]
            ahead[sample] += new * ((false_before + false_now) / 2.0)
