"""Figures: every metric of one system on one set of clips.

From scores (every threshold), from given operating points, or from one list of events; what the input cannot give is
undefined. Each metric is computed whether or not another one fails: what it raises becomes a sentence in `problems`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import numpy as np

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.events import EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.auroc import Auroc, segment_auroc
from desed_task.metrics.collar import Collar
from desed_task.metrics.counts import F1
from desed_task.metrics.deltas import Criterion, Deltas, point_deltas, score_deltas
from desed_task.metrics.f1 import best_f1, f1_at
from desed_task.metrics.intersection import Intersection
from desed_task.metrics.psds import Psds, criterion_of, psds
from desed_task.metrics.rules import DEFAULT_RULES, Rules
from desed_task.metrics.scenarios import INTERSECTION_F1, MPAUC_MAX_FPR, PSDS_SCENARIO_1, PSDS_SCENARIO_2
from desed_task.metrics.segment import Segments
from desed_task.metrics.truth import Truth, build_truth
from desed_task.scores import ScoreTable

Result = TypeVar("Result")

NO_PSDS = Psds(None, {})
NO_F1 = F1(None, None, {})
NO_AUROC = Auroc(None, {})
SCENARIOS = {"psds1": PSDS_SCENARIO_1, "psds2": PSDS_SCENARIO_2}
CRITERIA: Mapping[str, Criterion] = {
    "psds1": criterion_of(PSDS_SCENARIO_1),
    "psds2": criterion_of(PSDS_SCENARIO_2),
    "collar": Collar(),
    "segment": Segments(),
    "intersection": Intersection(INTERSECTION_F1.dtc, INTERSECTION_F1.gtc),
}
F1_CRITERIA = ("collar", "segment", "intersection")
# One list of events is an operating point whose threshold nobody knows: it stands for all above DECIDED.
_ONLY_POINT, DECIDED = 1.0, 0.5


@dataclass(frozen=True, eq=False)
class Figures:
    """Every figure of one system; undefined (value None) where the input does not give it.

    collar, segment, intersection: at the system's own operating point. best: the same at the thresholds that suit each
    class best, which only the ground truth tells: what a system could reach, not what it does. deltas: by criterion
    (see CRITERIA), for the figures of other clips and thresholds.
    """

    truth: Truth
    deltas: Mapping[str, Deltas]
    problems: tuple[str, ...] = ()
    psds1: Psds = NO_PSDS
    psds2: Psds = NO_PSDS
    nopsds1: Psds = NO_PSDS
    nopsds2: Psds = NO_PSDS
    collar: F1 = NO_F1
    segment: F1 = NO_F1
    intersection: F1 = NO_F1
    best: Mapping[str, F1] = field(default_factory=dict)
    auroc: Auroc = NO_AUROC
    pauroc: Auroc = NO_AUROC


def figures_of_scores(
    scores: Mapping[str, ScoreTable] | Iterable[tuple[str, ScoreTable]],
    truth: Truth,
    thresholds: float | Sequence[float] | None = None,
    num_threads: int = 1,
) -> Figures:
    """Exact over all thresholds, and the F1s at `thresholds` (one, or (classes,); decision: score > threshold).

    scores: (post-processed) audio_id -> table, for at least the clips of the truth; they may be made on the way.
    """
    deltas = dict(zip(CRITERIA, score_deltas(scores, truth, list(CRITERIA.values()), num_threads), strict=True))
    attempt = Attempt()
    figures = _at(_over_thresholds(deltas, truth, attempt), thresholds, attempt)
    segments = deltas["segment"]
    return replace(
        figures,
        auroc=attempt("segment AUROC", partial(segment_auroc, segments), NO_AUROC),
        pauroc=attempt("segment pAUROC", partial(segment_auroc, segments, MPAUC_MAX_FPR), NO_AUROC),
        problems=tuple(attempt.problems),
    )


def figures_of_points(points: Mapping[float, EventTable], truth: Truth, threshold: float | None = None) -> Figures:
    """PSDS over given operating points (threshold -> detections), and the F1s at the one of `threshold`."""
    deltas = dict(zip(CRITERIA, point_deltas(points, truth, list(CRITERIA.values())), strict=True))
    attempt = Attempt()
    # the points' thresholds are what detections exceed: the one asked for is in, the next lower one is not
    below = None if threshold is None else float(np.nextafter(threshold, -np.inf))
    figures = _at(_over_thresholds(deltas, truth, attempt), below, attempt)
    return replace(figures, problems=tuple(attempt.problems))


def figures_of_events(detections: EventTable, truth: Truth) -> Figures:
    """The F1s of one list of events."""
    deltas = dict(zip(CRITERIA, point_deltas({_ONLY_POINT: detections}, truth, list(CRITERIA.values())), strict=True))
    attempt = Attempt()
    figures = _at(Figures(truth, deltas), DECIDED, attempt)
    return replace(figures, problems=tuple(attempt.problems))


def truth_for_figures(
    ground_truth: EventTable, durations: Mapping[str, float], labels: LabelSet, rules: Rules = DEFAULT_RULES
) -> tuple[Truth, str | None]:
    """The truth, and why PSDS is undefined for it (None: it is defined).

    Overlapping events of one class cost PSDS only: where the rules refuse them, other figures take them as they are.
    """
    try:
        return build_truth(ground_truth, durations, labels, rules), None
    except EventTableError as error:
        if rules.overlap != "error":
            raise
        allowed = build_truth(ground_truth, durations, labels, replace(rules, overlap="allow"))
        if allowed.disjoint:
            raise  # it was something else
        return allowed, str(error)


def without_psds(figures: Figures, reason: str) -> Figures:
    """The figures that stand when PSDS is undefined."""
    problems = [f"{name} could not be computed: {reason}" for name in ("PSDS1", "PSDS2")]
    return replace(
        figures,
        problems=(*problems, *figures.problems),
        psds1=NO_PSDS,
        psds2=NO_PSDS,
        nopsds1=NO_PSDS,
        nopsds2=NO_PSDS,
    )


def _over_thresholds(deltas: Mapping[str, Deltas], truth: Truth, attempt: Attempt) -> Figures:
    psds1, psds2 = deltas["psds1"], deltas["psds2"]
    return Figures(
        truth,
        deltas,
        psds1=attempt("PSDS1", partial(psds, psds1, PSDS_SCENARIO_1), NO_PSDS),
        psds2=attempt("PSDS2", partial(psds, psds2, PSDS_SCENARIO_2), NO_PSDS),
        nopsds1=attempt("noPSDS1", partial(psds, psds1, PSDS_SCENARIO_1, oracle=False), NO_PSDS),
        nopsds2=attempt("noPSDS2", partial(psds, psds2, PSDS_SCENARIO_2, oracle=False), NO_PSDS),
        best={name: attempt(f"best {name} F1", partial(best_f1, deltas[name]), NO_F1) for name in F1_CRITERIA},
    )


def _at(figures: Figures, thresholds: float | Sequence[float] | None, attempt: Attempt) -> Figures:
    """With the F1s at one operating point."""
    if thresholds is None:
        return figures
    # in the precision of the scores, as decisions are made
    chosen = np.asarray(thresholds, dtype=figures.deltas["collar"].rows.threshold.dtype).astype(np.float64)
    at = {name: attempt(f"{name} F1", partial(f1_at, figures.deltas[name], chosen), NO_F1) for name in F1_CRITERIA}
    return replace(figures, collar=at["collar"], segment=at["segment"], intersection=at["intersection"])


class Attempt:
    """Runs one metric; what it raises becomes a sentence in `problems` and the figure stays undefined."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def __call__(self, name: str, metric: Callable[[], Result], undefined: Result) -> Result:
        try:
            return metric()
        except Exception as error:  # hours of training must not end in the traceback of one figure
            kind = "" if isinstance(error, DesedTaskError) else f"{type(error).__name__}: "
            self.problems.append(f"{name} could not be computed: {kind}{' '.join(str(error).split())}")
            return undefined
