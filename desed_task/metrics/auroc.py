"""Segment AUROC: how well the scores tell active segments from others, over all thresholds.

The area below the ROC curve of each class (true positive ratio over false positive rate, points joined by lines), up to
`max_fpr` as a fraction of it, and the mean over the classes. With max_fpr 0.1 it is the mpAUC of DCASE Task 4, 2024.

Tags of whole clips have their own (`tag_ranking`): one score per clip and class needs no rows, and no part of the area.

Lines, as in sed_scores_eval's present sources; its release 0.0.4 sums a staircase below them, which counts segments of
equal score against the system. Both may go wrong where more than 16 points share false positive rates, since their sort
does not keep the order of equals. Classes without active segments, or without others, are left out here and NaN there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.counts import roc_area
from desed_task.metrics.deltas import Deltas


@dataclass(frozen=True)
class Auroc:
    """The mean over the classes, None where no class has a curve, and the value of each class that has one."""

    mean: float | None
    per_class: Mapping[str, float]


def segment_auroc(
    deltas: Deltas,
    max_fpr: float = 1.0,
    *,
    mcclish_correction: bool = False,
    weights: NDArray[np.int64] | None = None,
) -> Auroc:
    """From the deltas of `Segments` over all thresholds; max_fpr in (0, 1]; weights: (clips,) how often each counts.

    mcclish_correction: stretch a partial area so that guessing has 0.5 and a perfect score 1 (D. K. McClish, "Analyzing
    a portion of the ROC curve", 1989). ValueError when the deltas are those of operating points, which know only a part
    of the curve.
    """
    if not 0.0 < max_fpr <= 1.0:
        raise ValueError(f"max_fpr must be above 0 and at most 1, got {max_fpr}")
    rows = deltas.rows
    counted = np.ones(deltas.truth.num_clips, dtype=np.int64) if weights is None else weights.astype(np.int64)
    weight = counted[rows.clip]
    per_class = {}
    for position, label in enumerate(deltas.truth.labels):
        own = slice(deltas.first_row[position], deltas.first_row[position + 1])
        columns = rows.threshold[own], rows.clip[own], rows.true_positives[own], rows.false_positives[own]
        # every segment enters at some threshold, so together the rows hold all of them
        positives, negatives = int(weight[own] @ columns[2]), int(weight[own] @ columns[3])
        if positives != counted @ deltas.num_reference[:, position]:
            raise ValueError("segment AUROC needs the scores of every segment; operating points do not give them")
        if positives and negatives:
            area = roc_area(*columns, counted, positives, negatives, max_fpr)
            per_class[label] = _as_share(area, max_fpr, mcclish_correction)
    return Auroc(float(np.mean(list(per_class.values()))) if per_class else None, per_class)


def _as_share(area: float, max_fpr: float, mcclish_correction: bool) -> float:
    if not mcclish_correction:
        return area / max_fpr
    guessing = max_fpr**2 / 2
    return 0.5 * (1 + (area - guessing) / (max_fpr - guessing))
