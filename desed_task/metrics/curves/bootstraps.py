"""Figures of many bootstrap samples, straight from the rows of one system.

A sample is a weight per clip, so its counts are the rows' changes times the weights of their clips, summed from the
highest threshold down. Most rows lie where false alarms are far too many to matter: the steps of `floors.list_floors`
say where the walk may end. Nothing is approximated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.kernels import kernel

Array = NDArray[Any]


@kernel
def _insert(rates: Array, ratios: Array, count: int, rate: float, ratio: float) -> int:
    """Add a point to a staircase (rates and ratios ascending) unless it is of no use; returns its new length."""
    right = count  # the points from here on lie at higher rates, or at this one with a ratio that is not higher
    while right and (rates[right - 1] > rate or (rates[right - 1] == rate and ratios[right - 1] <= ratio)):
        right -= 1
    if right and ratios[right - 1] >= ratio:
        return count
    kept = right
    while kept < count and ratios[kept] <= ratio:
        kept += 1
    if kept == right:
        for position in range(count, right, -1):
            rates[position], ratios[position] = rates[position - 1], ratios[position - 1]
        count += 1
    elif kept > right + 1:
        for position in range(kept, count):
            rates[position - kept + right + 1], ratios[position - kept + right + 1] = rates[position], ratios[position]
        count -= kept - right - 1
    rates[right], ratios[right] = rate, ratio
    return count


@kernel
def _last_row(
    weights: Array, step_row: Array, step_clip: Array, step_rise: Array, rows: int, rate_per_false: float, most: float
) -> int:
    """The row from which on the rate of false alarms stays above `most`."""
    floor = 0
    for step in range(len(step_row)):
        floor += weights[step_clip[step]] * step_rise[step]
        if floor * rate_per_false > most:
            return int(step_row[step])
    return rows


@kernel
def _staircase(
    weights: Array,
    threshold: Array,
    clip: Array,
    found: Array,
    failed: Array,
    last_row: int,
    cross_threshold: Array,
    cross_clip: Array,
    cross_other: Array,
    cross_count: Array,
    num_reference: float,
    rate_per_false: float,
    rate_per_cross: Array,
    max_rate: float,
    rates: Array,
    ratios: Array,
) -> int:
    """The curve of one class (as `rocs.class_curve` with oracle), written to rates and ratios; returns its length."""
    crosses = len(cross_threshold)
    rates[0], ratios[0] = 0.0, 0.0
    count = 1
    row = cross = 0
    num_found = num_failed = 0
    crossed = 0.0
    while row < last_row or cross < crosses:
        if row < last_row:
            at = threshold[row]
            if cross < crosses and cross_threshold[cross] > at:
                at = cross_threshold[cross]
        else:
            at = cross_threshold[cross]
            if last_row < len(threshold) and at <= threshold[last_row]:
                break
        while row < last_row and threshold[row] == at:
            weight = weights[clip[row]]
            num_found += weight * found[row]
            num_failed += weight * failed[row]
            row += 1
        while cross < crosses and cross_threshold[cross] == at:
            crossed += weights[cross_clip[cross]] * cross_count[cross] * rate_per_cross[cross_other[cross]]
            cross += 1
        rate, ratio = num_failed * rate_per_false + max(crossed, 0.0), num_found / num_reference
        if rate <= max_rate and (rate < rates[count - 1] or ratio > ratios[count - 1]):
            count = _insert(rates, ratios, count, rate, ratio)
    return count


@kernel
def _joint_area(
    rates: Array, ratios: Array, first_point: Array, last_point: Array, alpha_st: float, max_rate: float
) -> float:
    """Area under the mean less alpha_st standard deviations over several staircases, as a fraction of max_rate."""
    num_classes = len(first_point)
    point, now = first_point.copy(), np.zeros(num_classes)
    area = last_rate = effective = 0.0
    while True:
        rate = np.inf
        for label in range(num_classes):
            if point[label] < last_point[label]:
                rate = min(rate, rates[point[label]])
        if rate == np.inf:
            return area / max_rate + effective * (max_rate - last_rate) / max_rate
        area += effective * (rate - last_rate)
        mean = 0.0
        for label in range(num_classes):
            if point[label] < last_point[label] and rates[point[label]] == rate:
                now[label] = ratios[point[label]]
                point[label] += 1
            mean += now[label]
        mean /= num_classes
        variance = 0.0
        for label in range(num_classes):
            variance += (now[label] - mean) ** 2
        effective = max(0.0, mean - alpha_st * np.sqrt(variance / num_classes))
        last_rate = rate


@kernel
def sample_psds(
    weights: Array,
    first_row: Array,
    threshold: Array,
    clip: Array,
    found: Array,
    failed: Array,
    first_step: Array,
    step_row: Array,
    step_clip: Array,
    step_rise: Array,
    first_cross: Array,
    cross_threshold: Array,
    cross_clip: Array,
    cross_other: Array,
    cross_count: Array,
    num_reference: Array,
    rate_per_false: Array,
    rate_per_cross: Array,
    max_rate: float,
    alpha_st: float,
) -> Array:
    """weights (samples, clips) -> PSDS (samples,), NaN where no class has events.

    num_reference (samples, classes), rate_per_false (samples,), rate_per_cross (samples, classes): weighed beforehand.
    """
    num_samples, num_classes = len(weights), len(first_row) - 1
    values = np.full(num_samples, np.nan)
    longest = 1
    for label in range(num_classes):
        longest = max(
            longest, first_row[label + 1] - first_row[label] + first_cross[label + 1] - first_cross[label] + 1
        )
    rates, ratios = np.empty(2 * longest), np.empty(2 * longest)
    first_point, last_point = np.empty(num_classes, np.int64), np.empty(num_classes, np.int64)
    for sample in range(num_samples):
        used = points = 0
        for label in range(num_classes):
            if num_reference[sample, label] == 0:
                continue
            if points + longest > len(rates):
                larger_rates, larger_ratios = np.empty(2 * len(rates)), np.empty(2 * len(rates))
                larger_rates[:points], larger_ratios[:points] = rates[:points], ratios[:points]
                rates, ratios = larger_rates, larger_ratios
            start, stop = first_row[label], first_row[label + 1]
            cross_start, cross_stop = first_cross[label], first_cross[label + 1]
            steps = slice(first_step[label], first_step[label + 1])
            last_row = _last_row(
                weights[sample],
                step_row[steps],
                step_clip[steps],
                step_rise[steps],
                stop,
                rate_per_false[sample],
                max_rate,
            )
            first_point[used] = points
            points += _staircase(
                weights[sample],
                threshold[start:stop],
                clip[start:stop],
                found[start:stop],
                failed[start:stop],
                last_row - start,
                cross_threshold[cross_start:cross_stop],
                cross_clip[cross_start:cross_stop],
                cross_other[cross_start:cross_stop],
                cross_count[cross_start:cross_stop],
                num_reference[sample, label],
                rate_per_false[sample],
                rate_per_cross[sample],
                max_rate,
                rates[points:],
                ratios[points:],
            )
            last_point[used] = points
            used += 1
        if used:
            values[sample] = _joint_area(rates, ratios, first_point[:used], last_point[:used], alpha_st, max_rate)
    return values


@kernel
def sample_best_f1(
    weights: Array,
    first_row: Array,
    threshold: Array,
    clip: Array,
    found: Array,
    failed: Array,
    first_step: Array,
    step_row: Array,
    step_clip: Array,
    step_rise: Array,
    num_reference: Array,
) -> Array:
    """weights (samples, clips), num_reference (samples, classes) -> the highest F1 of each (samples, classes).

    NaN where there is no reference. With at least `floor` false alarms, F1 is at most that of all items found.
    """
    num_samples, num_classes = len(weights), len(first_row) - 1
    values = np.full((num_samples, num_classes), np.nan)
    for sample in range(num_samples):
        for label in range(num_classes):
            reference = num_reference[sample, label]
            if reference == 0:
                continue
            best = 0.0
            row, stop = first_row[label], first_row[label + 1]
            step, last_step = first_step[label], first_step[label + 1]
            num_found = num_failed = floor = 0
            while row < stop:
                at = threshold[row]
                while row < stop and threshold[row] == at:
                    weight = weights[sample, clip[row]]
                    num_found += weight * found[row]
                    num_failed += weight * failed[row]
                    row += 1
                best = max(best, 2 * num_found / (num_found + num_failed + reference))
                while step < last_step and step_row[step] < row:
                    floor += weights[sample, step_clip[step]] * step_rise[step]
                    step += 1
                if 2 * reference <= best * (2 * reference + floor):
                    break
            values[sample, label] = best
    return values
