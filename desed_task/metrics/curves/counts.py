"""From deltas to counts: the best threshold of each class, and the area under its ROC curve.

Each walks the rows of a class from the highest threshold down, weighed by how often their clip counts; rows of one
threshold are one step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.kernels import kernel

Array = NDArray[Any]


@kernel
def best_counts(
    first_row: Array,
    threshold: Array,
    clip: Array,
    found: Array,
    failed: Array,
    weights: Array,
    num_reference: Array,
) -> tuple[Array, Array, Array]:
    """The counts with the highest F1 of each class, at the highest threshold where several are equally good.

    first_row: (classes + 1,); weights: (clips,) int64; num_reference: (classes,) int64. Returns true positives, false
    alarms and threshold, all (classes,): a score must exceed it. It lies midway between the lowest score of the chosen
    point and the next at which counts change; infinite where nothing, or everything, is to be detected.
    """
    num_classes = len(first_row) - 1
    best_found, best_failed = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
    best_threshold = np.full(num_classes, np.inf)
    for label in range(num_classes):
        num_found = num_failed = 0
        is_last = False  # the best point is the last one so far, so the next change is still to come
        row = first_row[label]
        while row < first_row[label + 1]:
            at = threshold[row]
            more_found = more_failed = 0
            while row < first_row[label + 1] and threshold[row] == at:
                weight = weights[clip[row]]
                more_found += weight * found[row]
                more_failed += weight * failed[row]
                row += 1
            if more_found == 0 and more_failed == 0:
                continue
            if is_last:
                middle = threshold.dtype.type((best_threshold[label] + at) / 2)
                # neighbouring numbers have nothing between them, and a score must exceed the threshold
                best_threshold[label] = middle if middle < best_threshold[label] else at
                is_last = False
            num_found += more_found
            num_failed += more_failed
            # F1 = 2 tp / (tp + fp + reference), compared as fractions: exact, so ties are ties
            best_sum = best_found[label] + best_failed[label] + num_reference[label]
            if num_found * best_sum > best_found[label] * (num_found + num_failed + num_reference[label]):
                best_found[label], best_failed[label], best_threshold[label] = num_found, num_failed, at
                is_last = True
        if is_last:
            best_threshold[label] = -np.inf
    return best_found, best_failed, best_threshold


@kernel
def roc_area(
    threshold: Array,
    clip: Array,
    found: Array,
    failed: Array,
    weights: Array,
    num_positive: int,
    num_negative: int,
    max_rate: float,
) -> float:
    """The area below the ROC curve of one class from false positive rate 0 to max_rate, points joined by lines."""
    area = last_rate = last_ratio = 0.0
    num_found = num_failed = row = 0
    while row < len(threshold):
        at = threshold[row]
        while row < len(threshold) and threshold[row] == at:
            weight = weights[clip[row]]
            num_found += weight * found[row]
            num_failed += weight * failed[row]
            row += 1
        rate, ratio = num_failed / num_negative, num_found / num_positive
        if rate > max_rate:
            ratio = last_ratio + (ratio - last_ratio) * (max_rate - last_rate) / (rate - last_rate)
            return float(area + (max_rate - last_rate) * (last_ratio + ratio) / 2)
        area += (rate - last_rate) * (last_ratio + ratio) / 2
        last_rate, last_ratio = rate, ratio
    return float(area)
