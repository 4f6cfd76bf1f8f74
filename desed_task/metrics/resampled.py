"""Figures of many samples of clips at once: what `bootstrap` and `comparison` ask of a system.

Each is built once from the deltas of a system, then takes weights (samples, clips), how often each sample counts each
clip, and returns one value per sample, NaN where the figure is undefined (no class of the sample has events). They
equal `psds`, and F1 of the counts, to rounding (1e-12), and cost little: nothing is matched or sorted anew, and rows
that cannot matter are not looked at (`curves.bootstraps`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.bootstraps import sample_best_f1, sample_psds
from desed_task.metrics.curves.floors import list_floors
from desed_task.metrics.deltas import CrossRows, Deltas
from desed_task.metrics.psds import psds
from desed_task.metrics.scenarios import PsdsScenario

Weights: TypeAlias = NDArray[np.int32]
# weights (samples, clips) -> values (samples,), NaN where undefined.
Figure: TypeAlias = Callable[[Weights], NDArray[np.float64]]
Average = Literal["macro", "micro"]

_SECONDS_PER_HOUR = 3600.0


def one_by_one(figure: Callable[[NDArray[np.int64]], float | None]) -> Figure:
    """Any function of the weights (clips,) of one sample, as `lambda w: psds(deltas, scenario, weights=w).value`."""

    def of_many(weights: Weights) -> NDArray[np.float64]:
        values = [figure(row.astype(np.int64)) for row in weights]
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    return of_many


class _Rows:
    """The rows of a system as the kernels take them, with what bounds its false alarms."""

    def __init__(self, deltas: Deltas) -> None:
        rows = deltas.rows
        self.num_reference = deltas.num_reference.astype(np.float64)
        self._rows = rows.threshold, rows.clip, rows.true_positives, rows.false_positives
        self._first_row, self._num_clips = deltas.first_row, deltas.truth.num_clips

    @cached_property
    def arrays(self) -> tuple[Any, ...]:
        """first_row, threshold, clip, found, failed, first_step, step_row, step_clip, step_rise."""
        threshold, clip, _, failed = self._rows
        floors = list_floors(self._first_row, threshold, clip, failed, self._num_clips)
        return (self._first_row, *self._rows, *floors)


class SampledPsds:
    """PSDS from intersection deltas (`psds.criterion_of(scenario)`); oracle as in `psds`, without it slower."""

    def __init__(self, deltas: Deltas, scenario: PsdsScenario, oracle: bool = True) -> None:
        if scenario.alpha_ct and deltas.cross is None:
            raise ValueError("these deltas hold no cross-triggers; compute them with criterion_of(scenario)")
        self._deltas, self._scenario, self._oracle = deltas, scenario, oracle
        self._rows = _Rows(deltas)
        self._seconds, self._event_seconds = deltas.truth.clip_seconds, deltas.truth.event_seconds()

    def __call__(self, weights: Weights) -> NDArray[np.float64]:
        """(samples, clips) -> (samples,)."""
        if not self._oracle:
            one = one_by_one(lambda w: psds(self._deltas, self._scenario, oracle=False, weights=w).value)
            return one(weights)
        arrays, scenario = self._rows.arrays, self._scenario
        as_float = weights.astype(np.float64)
        num_reference = as_float @ self._rows.num_reference
        with np.errstate(divide="ignore", invalid="ignore"):  # of classes without events, which are not looked at
            rate_per_false = _SECONDS_PER_HOUR / (as_float @ self._seconds)
            per_cross = scenario.alpha_ct * _SECONDS_PER_HOUR / self._num_averaged(num_reference)
            rate_per_cross = np.where(num_reference > 0, per_cross[:, None] / (as_float @ self._event_seconds), 0.0)
        values: NDArray[np.float64] = sample_psds(
            weights,
            *arrays,
            *self._cross,
            num_reference,
            rate_per_false,
            rate_per_cross,
            scenario.max_efpr,
            scenario.alpha_st,
        )
        return values

    def _num_averaged(self, num_reference: NDArray[np.float64]) -> NDArray[np.float64]:
        """(samples,) how many classes cross-trigger rates are averaged over."""
        less = 1 if self._deltas.truth.rules.ct_mean == "n-1" else 0
        return np.asarray(np.maximum((num_reference > 0).sum(axis=1) - less, 1), dtype=np.float64)

    @cached_property
    def _cross(self) -> tuple[Any, ...]:
        cross, first = self._deltas.cross, self._deltas.first_cross
        if cross is None or not self._scenario.alpha_ct:
            none = np.empty(0, dtype=np.int32)
            cross, first = CrossRows(none, self._deltas.rows.threshold[:0], none, none, none), np.zeros_like(first)
        return first, cross.threshold, cross.clip, cross.other, cross.count


class SampledF1:
    """F1 of the counts at one threshold per class, from the deltas of any criterion.

    thresholds: label -> threshold; a decision is score > threshold, in the precision of the scores, as the detector
    takes it. macro: the mean over the classes with reference; micro: F1 of the counts summed over all classes.
    """

    def __init__(self, deltas: Deltas, thresholds: Mapping[str, float], average: Average = "macro") -> None:
        self._found, self._failed = clip_changes(deltas, thresholds)
        self._num_reference = deltas.num_reference.astype(np.float64)
        self._average = average

    def __call__(self, weights: Weights) -> NDArray[np.float64]:
        """(samples, clips) -> (samples,)."""
        as_float = weights.astype(np.float64)
        found, failed, reference = (as_float @ counts for counts in (self._found, self._failed, self._num_reference))
        if self._average == "micro":
            found, failed, reference = (counts.sum(axis=1, keepdims=True) for counts in (found, failed, reference))
        f1 = np.full(reference.shape, np.nan)
        np.divide(2 * found, found + failed + reference, out=f1, where=reference > 0)
        return mean_defined(f1)


class SampledBestF1:
    """Macro F1 with the best threshold of each class, chosen anew in each sample (as sed_scores_eval's best F1)."""

    def __init__(self, deltas: Deltas) -> None:
        self._rows = _Rows(deltas)

    def __call__(self, weights: Weights) -> NDArray[np.float64]:
        """(samples, clips) -> (samples,)."""
        num_reference = weights.astype(np.float64) @ self._rows.num_reference
        return mean_defined(sample_best_f1(weights, *self._rows.arrays, num_reference))


def clip_changes(deltas: Deltas, thresholds: Mapping[str, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(clips, classes) true positives and false alarms of score > threshold (label -> threshold)."""
    rows, labels = deltas.rows, deltas.truth.labels
    missing = [label for label in labels if label not in thresholds]
    if missing:
        raise ValueError(f"there is no threshold for {missing[0]}")
    limits: NDArray[Any] = np.array([thresholds[label] for label in labels], dtype=rows.threshold.dtype)
    counted = rows.threshold > limits[rows.label]
    place = (rows.clip[counted].astype(np.int64) * len(labels)) + rows.label[counted]
    shape = deltas.num_reference.shape
    size = deltas.num_reference.size
    found = np.bincount(place, rows.true_positives[counted], size).reshape(shape)
    failed = np.bincount(place, rows.false_positives[counted], size).reshape(shape)
    return found.astype(np.float64), failed.astype(np.float64)


def mean_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(samples, classes) -> (samples,) mean over the classes that are not NaN; NaN where all are."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=1)
    total = np.where(defined, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
