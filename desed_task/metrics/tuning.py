"""What `postprocessing.search` asks: how good a median filter length is for each class, by a figure of ours.

The scores are filtered once per candidate length, matched once, and weighed as often as the search likes: a fold is a
weight of 0 or 1 per clip, a bootstrap sample a count. Several runs (seeds) on the same clips share one setting: figures
are means over the runs, thresholds are chosen on the decisions of all runs together.

Lengths for an F1 are compared at the best threshold of each; lengths for PSDS by the area of the class alone and then
by the joint score. PSDS has no threshold, so with it thresholds are those of the best intersection F1 (DTC and GTC .5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.metrics.best_point import best_point
from desed_task.metrics.collar import Collar
from desed_task.metrics.deltas import Criterion, Deltas, score_deltas
from desed_task.metrics.folds import FoldSettings, decide_counts, pool_deltas
from desed_task.metrics.intersection import Intersection
from desed_task.metrics.psds import Psds, criterion_of, join_curves, psds
from desed_task.metrics.resampled import Figure, SampledPsds
from desed_task.metrics.scenarios import INTERSECTION_F1, PSDS_SCENARIO_1, PSDS_SCENARIO_2, PsdsScenario
from desed_task.metrics.segment import Segments
from desed_task.metrics.truth import Truth
from desed_task.postprocessing.median import filter_frames
from desed_task.postprocessing.search import Lengths, Weights
from desed_task.scores import ScoreTable

SCENARIOS: Mapping[str, Mapping[str, PsdsScenario]] = {
    "psds1": {"psds1": PSDS_SCENARIO_1},
    "psds2": {"psds2": PSDS_SCENARIO_2},
    "psds1+psds2": {"psds1": PSDS_SCENARIO_1, "psds2": PSDS_SCENARIO_2},
}
DECISIONS: Mapping[str, Criterion] = {
    "collar_f1": Collar(),
    "segment_f1": Segments(),
    "intersection_f1": Intersection(INTERSECTION_F1.dtc, INTERSECTION_F1.gtc),
}
OBJECTIVES = (*SCENARIOS, *DECISIONS)
# Where the objective has no threshold of its own.
DECIDED_BY = "intersection_f1"


@dataclass(frozen=True, eq=False)
class Tuning:
    """The scores of some runs at every candidate length, matched with the truth.

    curves: figure -> runs x lengths of deltas, none for an F1; decisions: runs x lengths of deltas of the F1 that
    chooses thresholds; default_thresholds: (classes,) what a class keeps for which nothing else can be said.
    """

    objective: str
    truth: Truth
    curves: Mapping[str, Sequence[Sequence[Deltas]]]
    decisions: Sequence[Sequence[Deltas]]
    default_thresholds: NDArray[np.float64]

    @property
    def decided_by(self) -> str:
        """The F1 that chooses thresholds."""
        return self.objective if self.objective in DECISIONS else DECIDED_BY

    def measure(self, weights: Weights) -> TunedMeasures:
        """What the weighed clips say; a `postprocessing.search.Measure`."""
        points = [self._best_points(length, weights) for length in range(len(self.decisions[0]))]
        curves = {
            name: [[psds(d, _scenario(self.objective, name), weights=weights) for d in run] for run in runs]
            for name, runs in self.curves.items()
        }
        best_f1 = np.array([[f1 for f1, _ in of_length] for of_length in points])
        thresholds = np.array([[threshold for _, threshold in of_length] for of_length in points])
        return TunedMeasures(self.objective, self.truth.labels.names, best_f1, thresholds, curves)

    def figures(self, chosen: FoldSettings) -> dict[str, Figure]:
        """The figures of all clips, each post-processed as its fold chose: the objective, its parts, and the F1 of the
        decisions."""
        parts: dict[str, Figure] = {}
        for name, runs in self.curves.items():
            scenario = _scenario(self.objective, name)
            parts[name] = _mean([SampledPsds(pool_deltas(run, chosen), scenario) for run in runs])
        figures = {self.objective: _total(list(parts.values())), **parts} if parts else {}
        return {**figures, self.decided_by: _mean([decide_counts(run, chosen) for run in self.decisions])}

    def _best_points(self, length: int, weights: Weights) -> list[tuple[float, float]]:
        """(best F1, its threshold) of each class, the runs together; NaN and the default where it has no events."""
        runs = [run[length] for run in self.decisions]
        num_reference = weights @ runs[0].num_reference * len(runs)
        points = []
        for label, default in enumerate(self.default_thresholds.tolist()):
            rows = [_weighed_rows(run, label, weights) for run in runs]
            threshold, found, false = (np.concatenate(columns) for columns in zip(*rows, strict=True))
            points.append(best_point(threshold, found, false, int(num_reference[label]), default))
        return points


@dataclass(frozen=True, eq=False)
class TunedMeasures:
    """What some clips say: a `postprocessing.search.Measured`.

    best_f1, thresholds: (lengths, classes); curves: figure -> runs x lengths of PSDS, none for an F1.
    """

    objective: str
    labels: tuple[str, ...]
    best_f1: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    curves: Mapping[str, Sequence[Sequence[Psds]]]

    @cached_property
    def class_figures(self) -> NDArray[np.float64]:
        """(lengths, classes): areas, summed over scenarios and averaged over runs, or best F1s."""
        if not self.curves:
            return self.best_f1
        areas = [
            np.mean([[[p.per_class.get(label, np.nan) for label in self.labels] for p in run] for run in runs], axis=0)
            for runs in self.curves.values()
        ]
        return np.asarray(sum(areas), dtype=np.float64)

    def joint_figure(self, lengths: Lengths) -> float:
        """PSDS of all classes, each at its length, or the mean of their best F1s; NaN when no class has events."""
        if not self.curves:
            own = self.best_f1[lengths, np.arange(len(self.labels))]
            return float(np.nanmean(own)) if not np.isnan(own).all() else float("nan")
        return sum(
            float(np.mean([_joint(run, lengths, self.labels, _scenario(self.objective, name)) for run in runs]))
            for name, runs in self.curves.items()
        )

    def best_thresholds(self, lengths: Lengths) -> NDArray[np.float64]:
        """(classes,) thresholds of the best F1 at these lengths."""
        return np.asarray(self.thresholds[lengths, np.arange(len(self.labels))])


def build_tuning(
    objective: str,
    runs: Sequence[Mapping[str, ScoreTable]],
    truth: Truth,
    windows: Sequence[int],
    default_thresholds: NDArray[np.float64],
) -> Tuning:
    """Filter and match the scores of every run (audio_id -> table on equal windows) at every candidate window.

    windows: (lengths,) odd, in frames. DesedTaskError when scores do not fit the truth.
    """
    names = list(SCENARIOS.get(objective, {}))
    decided_by = objective if objective in DECISIONS else DECIDED_BY
    criteria = [*(criterion_of(_scenario(objective, name)) for name in names), DECISIONS[decided_by]]
    pairs = [(run, window) for run in runs for window in windows]
    matched = [
        score_deltas(_filtered(run, window), truth, criteria)
        for run, window in tqdm(pairs, unit="length", desc="median filters", disable=None)
    ]
    by_criterion = [_by_run([of_pair[k] for of_pair in matched], len(runs)) for k in range(len(criteria))]
    curves = dict(zip(names, by_criterion[:-1], strict=True))
    return Tuning(objective, truth, curves, by_criterion[-1], default_thresholds)


def _filtered(run: Mapping[str, ScoreTable], window: int) -> Iterator[tuple[str, ScoreTable]]:
    """In float32, as decisions are made."""
    for audio_id, table in run.items():
        values = filter_frames(table.values.astype(np.float32), [window] * len(table.labels))
        yield audio_id, ScoreTable(table.edges, values, table.labels)


def _by_run(deltas: list[Deltas], num_runs: int) -> list[list[Deltas]]:
    num_lengths = len(deltas) // num_runs
    return [deltas[first : first + num_lengths] for first in range(0, len(deltas), num_lengths)]


def _scenario(objective: str, name: str) -> PsdsScenario:
    return SCENARIOS[objective][name]


def _joint(run: Sequence[Psds], lengths: Lengths, labels: Sequence[str], scenario: PsdsScenario) -> float:
    curves = {}
    for label, length in zip(labels, lengths.tolist(), strict=True):
        of_classes = run[length].class_curves or {}
        if label in of_classes:
            curves[label] = of_classes[label]
    value = join_curves(curves, scenario).value
    return float("nan") if value is None else value


def _weighed_rows(
    run: Deltas, label: int, weights: Weights
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Thresholds and changes of one class, each as often as its clip counts; those of clips that do not, left out."""
    rows, own = run.rows, slice(run.first_row[label], run.first_row[label + 1])
    times = weights[rows.clip[own]]
    kept = times > 0
    changes = (rows.true_positives[own], rows.false_positives[own])
    found, false = ((times * change)[kept] for change in changes)
    return rows.threshold[own][kept].astype(np.float64), found, false


def _mean(figures: Sequence[Figure]) -> Figure:
    return lambda weights: np.asarray(np.mean([figure(weights) for figure in figures], axis=0))


def _total(figures: Sequence[Figure]) -> Figure:
    return lambda weights: np.asarray(np.sum([figure(weights) for figure in figures], axis=0))
