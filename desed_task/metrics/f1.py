"""F1 from the deltas of any criterion: at given thresholds, at the best of each class, and as a curve.

A decision is score > threshold. F1 = 2 tp / (2 tp + fp + fn), with tp as the criterion counts it (collar: pairs;
segment: segments; intersection: events, whose false alarms are detections). macro: the mean over the classes with
reference; micro: F1 of the counts summed over all classes, at the thresholds of the macro F1, as sed_scores_eval's
micro_average.

`best_f1` is what a system could reach if the ground truth chose its thresholds, not what it does reach. Counts are
compared exactly, and the highest of equally good thresholds is taken; sed_scores_eval compares rounded quotients and
may take another of them, with the same F1 of the class and other counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError
from desed_task.metrics.counts import F1, ClassCounts, macro_f1, micro_f1
from desed_task.metrics.curves.counts import best_counts
from desed_task.metrics.deltas import Deltas

Weights = NDArray[np.int64]
# One for all classes, (classes,) in the order of the label set, or label -> threshold.
ChosenThresholds = float | Sequence[float] | NDArray[np.float32] | NDArray[np.float64] | Mapping[str, float]


@dataclass(frozen=True, eq=False)
class F1Curve:
    """How F1 changes with the threshold; all (changes,), thresholds falling.

    The values of a point hold for decisions score >= its threshold, down to the next one. Precision is 1 where
    nothing is detected.
    """

    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def best_f1(deltas: Deltas, weights: Weights | None = None) -> F1:
    """F1 at the threshold that suits each class best; weights: (clips,) how often each clip counts, once by default.

    A threshold lies midway between the lowest score of the chosen point and the next at which counts change; it is
    infinite for a class for which detecting nothing (inf) or everything (-inf) is best.
    """
    counted = _weights(deltas, weights)
    rows, num_reference = deltas.rows, counted @ deltas.num_reference
    found, failed, thresholds = best_counts(
        deltas.first_row,
        rows.threshold,
        rows.clip,
        rows.true_positives,
        rows.false_positives,
        counted,
        num_reference,
    )
    return _f1(deltas, num_reference, found, failed, thresholds)


def f1_at(deltas: Deltas, thresholds: ChosenThresholds, weights: Weights | None = None) -> F1:
    """F1 at one threshold for all classes, or one for each. DesedTaskError when a class has none.

    Thresholds are compared with scores as numbers of 64 bits: give them in the scores' precision where a score may
    equal its threshold.
    """
    counted = _weights(deltas, weights)
    rows, chosen = deltas.rows, _per_class(deltas, thresholds)
    found, failed = np.zeros(len(chosen), dtype=np.int64), np.zeros(len(chosen), dtype=np.int64)
    for label, threshold in enumerate(chosen.tolist()):
        first, last = deltas.first_row[label], deltas.first_row[label + 1]
        above = np.searchsorted(-rows.threshold[first:last].astype(np.float64), -threshold, "left")
        taken = slice(first, first + above)
        weight = counted[rows.clip[taken]]
        found[label], failed[label] = weight @ rows.true_positives[taken], weight @ rows.false_positives[taken]
    return _f1(deltas, counted @ deltas.num_reference, found, failed, chosen)


def f1_curve(deltas: Deltas, label: str, weights: Weights | None = None) -> F1Curve:
    """Precision, recall and F1 of one class at every threshold at which its counts change, for plots."""
    counted = _weights(deltas, weights)
    position = deltas.truth.labels.index(label)
    own = slice(deltas.first_row[position], deltas.first_row[position + 1])
    threshold, weight = deltas.rows.threshold[own].astype(np.float64), counted[deltas.rows.clip[own]]
    last = np.flatnonzero(np.diff(threshold, append=-np.inf))  # the last row of each threshold
    found = np.cumsum(weight * deltas.rows.true_positives[own])[last]
    said = found + np.cumsum(weight * deltas.rows.false_positives[own])[last]
    num_reference = int(counted @ deltas.num_reference[:, position])
    precision = np.divide(found, said, out=np.ones(len(last)), where=said > 0)
    recall = found / num_reference if num_reference else np.full(len(last), np.nan)
    f1 = 2 * found / (said + num_reference) if num_reference else np.full(len(last), np.nan)
    return F1Curve(threshold[last], precision, recall, f1)


def _weights(deltas: Deltas, weights: Weights | None) -> Weights:
    return np.ones(deltas.truth.num_clips, dtype=np.int64) if weights is None else weights.astype(np.int64, copy=False)


def _per_class(deltas: Deltas, thresholds: ChosenThresholds) -> NDArray[np.float64]:
    labels = deltas.truth.labels
    if isinstance(thresholds, Mapping):
        missing = [label for label in labels if label not in thresholds]
        if missing:
            raise DesedTaskError(f"there is no threshold for {missing[0]}; give one for every class")
        thresholds = [thresholds[label] for label in labels]
    chosen = np.asarray(thresholds, dtype=np.float64)
    if chosen.shape not in ((), (len(labels),)):
        raise DesedTaskError(f"{chosen.shape} thresholds do not fit {len(labels)} classes; give one, or one for each")
    return np.array(np.broadcast_to(chosen, (len(labels),)))


def _f1(
    deltas: Deltas,
    num_reference: NDArray[np.int64],
    found: NDArray[np.int64],
    failed: NDArray[np.int64],
    thresholds: NDArray[np.float64],
) -> F1:
    columns = (num_reference, found, failed)
    per_class = {
        label: ClassCounts(there, tp + fp, tp, fp, there - tp)
        for label, there, tp, fp in zip(deltas.truth.labels, *(column.tolist() for column in columns), strict=True)
    }
    at = dict(zip(deltas.truth.labels, thresholds.tolist(), strict=True))
    return F1(macro_f1(per_class), micro_f1(per_class), per_class, thresholds=at)
