"""Figures for choosing the best epoch on a validation set: few, and quick to compute.

A strongly labelled set gives one detection metric, a weakly labelled one the macro F1 of its tags. The objective of
several sets is their sum, as in the DESED baselines: intersection F1 of the synthetic set + tagging F1 of the weak set.
A figure is what a report (`report.evaluate`) on the same clips says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from desed_task.events import EventTable
from desed_task.metrics.deltas import point_deltas
from desed_task.metrics.f1 import f1_at
from desed_task.metrics.figures import CRITERIA, truth_for_figures
from desed_task.metrics.psds import psds_of_scores
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2
from desed_task.metrics.truth import build_truth
from desed_task.postprocessing.pipeline import PostProcessing
from desed_task.scores import Scores

SelectionMetric = Literal["intersection_f1", "collar_f1", "segment_f1", "psds1", "psds2", "psds1+psds2"]
_SCENARIOS = {
    "psds1": (PSDS_SCENARIO_1,),
    "psds2": (PSDS_SCENARIO_2,),
    "psds1+psds2": (PSDS_SCENARIO_1, PSDS_SCENARIO_2),
}


def selection_figure(
    scores: Mapping[str, Scores],
    ground_truth: EventTable,
    durations: Mapping[str, float],
    postprocessing: PostProcessing,
    metric: SelectionMetric,
) -> float:
    """One figure of the scores of a strongly labelled set: in [0, 1], the sum of both PSDS in [0, 2]."""
    if metric in _SCENARIOS:
        tables = {audio_id: postprocessing.filter(clip).table() for audio_id, clip in scores.items()}
        truth = build_truth(ground_truth, durations, postprocessing.labels)
        return sum(score.value or 0.0 for score in psds_of_scores(tables, truth, _SCENARIOS[metric]))
    truth, _ = truth_for_figures(ground_truth, durations, postprocessing.labels)
    detections = EventTable({audio_id: postprocessing.detect(clip) for audio_id, clip in scores.items()})
    (deltas,) = point_deltas({1.0: detections}, truth, [CRITERIA[metric.removesuffix("_f1")]])
    return f1_at(deltas, -np.inf).macro or 0.0
