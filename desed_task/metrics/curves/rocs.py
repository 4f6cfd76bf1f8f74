"""From deltas to the PSD-ROC of each class, and from those to the score.

`class_curve` walks one class's rows and cross-trigger rows from the highest threshold down, each weighed by how often
its clip counts, and keeps the points of the staircase. `joint_area` puts the staircases of all classes over one
another: at each false positive rate where one of them steps, the mean of the true positive ratios less alpha_st times
their standard deviation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.kernels import kernel

Array = NDArray[Any]

# Rates per hour that differ by less are the same: cross-trigger rates are added and taken back, which floats do to
# their last digits only. Without an oracle the higher ratio of one rate must win whichever came first.
SAME_RATE = 1e-9


@kernel
def class_curve(
    threshold: Array,
    clip: Array,
    found: Array,
    failed: Array,
    cross_threshold: Array,
    cross_clip: Array,
    cross_other: Array,
    cross_count: Array,
    weights: Array,
    num_reference: float,
    rate_per_false: float,
    rate_per_cross: Array,
    max_rate: float,
    oracle: bool,
) -> tuple[Array, Array, Array]:
    """Rows of one class from the highest threshold down. weights: (clips,) how often each clip counts.

    rate_per_false: effective rate of one false alarm; rate_per_cross: (classes,) of one cross-trigger. Returns the
    effective rate (ascending, at most max_rate), the true positive ratio and the threshold of each point; without
    `oracle`, points with fewer true positives at a higher rate are kept.
    """
    rows, crosses = len(threshold), len(cross_threshold)
    rate_at = np.empty(rows + crosses + 1)
    ratio_at = np.empty(rows + crosses + 1)
    threshold_at = np.empty(rows + crosses + 1)
    rate_at[0], ratio_at[0], threshold_at[0] = 0.0, 0.0, np.inf
    count = 1
    row = cross = 0
    num_found = num_failed = 0
    crossed = 0.0
    while row < rows or cross < crosses:
        at = threshold[row] if row < rows else cross_threshold[cross]
        if cross < crosses and cross_threshold[cross] > at:
            at = cross_threshold[cross]
        while row < rows and threshold[row] == at:
            weight = weights[clip[row]]
            num_found += weight * found[row]
            num_failed += weight * failed[row]
            row += 1
        while cross < crosses and cross_threshold[cross] == at:
            crossed += weights[cross_clip[cross]] * cross_count[cross] * rate_per_cross[cross_other[cross]]
            cross += 1
        rate, ratio = num_failed * rate_per_false + max(crossed, 0.0), num_found / num_reference
        if rate > max_rate:
            continue
        last_rate, last_ratio = rate_at[count - 1], ratio_at[count - 1]
        if oracle and rate >= last_rate and ratio <= last_ratio:
            continue
        if rate == last_rate and (ratio > last_ratio or (ratio == last_ratio and oracle)):
            count -= 1  # as few false alarms, and more events: the point before is of no use
        rate_at[count], ratio_at[count], threshold_at[count] = rate, ratio, at
        count += 1
    order = np.argsort(rate_at[:count], kind="mergesort")
    rates, ratios, thresholds = np.empty(count), np.empty(count), np.empty(count)
    kept, apart = 0, 0.0 if oracle else SAME_RATE
    for point in order:
        rate, ratio = rate_at[point], ratio_at[point]
        if kept and rate - rates[kept - 1] <= apart * max(rate, 1.0):
            if ratio > ratios[kept - 1]:
                ratios[kept - 1], thresholds[kept - 1] = ratio, threshold_at[point]
            continue
        if kept and oracle and ratio <= ratios[kept - 1]:
            continue
        rates[kept], ratios[kept], thresholds[kept] = rate, ratio, threshold_at[point]
        kept += 1
    return rates[:kept].copy(), ratios[:kept].copy(), thresholds[:kept].copy()


@kernel
def joint_curve(rates: Array, ratios: Array, first_point: Array, alpha_st: float) -> tuple[Array, Array]:
    """Staircases of all classes, end to end -> rates where one of them steps, and the effective ratio from there on."""
    num_classes = len(first_point) - 1
    label_of = np.empty(len(rates), np.int64)
    for label in range(num_classes):
        label_of[first_point[label] : first_point[label + 1]] = label
    order = np.argsort(rates, kind="mergesort")
    now = np.zeros(num_classes)
    out_rates, out_ratios = np.empty(len(rates)), np.empty(len(rates))
    count = 0
    for position in range(len(order)):
        point = order[position]
        now[label_of[point]] = ratios[point]
        if position + 1 < len(order) and rates[order[position + 1]] == rates[point]:
            continue
        mean = 0.0
        for label in range(num_classes):
            mean += now[label]
        mean /= num_classes
        variance = 0.0
        for label in range(num_classes):
            variance += (now[label] - mean) ** 2
        out_rates[count] = rates[point]
        out_ratios[count] = max(0.0, mean - alpha_st * np.sqrt(variance / num_classes))
        count += 1
    return out_rates[:count].copy(), out_ratios[:count].copy()


@kernel
def staircase_area(rates: Array, ratios: Array, max_rate: float) -> float:
    """The area below a staircase (rates ascending) from 0 to max_rate, as a fraction of max_rate."""
    area = 0.0
    for point in range(len(rates)):
        end = rates[point + 1] if point + 1 < len(rates) else max_rate
        area += ratios[point] * (end - rates[point])
    return area / max_rate
