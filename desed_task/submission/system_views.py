"""Evaluated systems as the page shows them: headlines, curves, classes, the operating curve, timelines.

Figures are means over the runs; curves and timelines are those of one run, the nearest to the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.counts import F1
from desed_task.metrics.deltas import Deltas
from desed_task.metrics.f1 import f1_curve
from desed_task.submission.decisions import worst_timelines
from desed_task.submission.evaluation import EvaluatedRun, EvaluatedSystem, Measuring, decided_by, decisions_of
from desed_task.submission.evaluation_set import EvaluationSet
from desed_task.submission.leaderboard import Standing, shared_by_all, sort_standings
from desed_task.submission.page_views import (
    ClassFigures,
    Headline,
    OperatingCurve,
    OperatingPoint,
    Page,
    SystemView,
    Timeline,
)
from desed_task.submission.standings import figure_of

_MAX_CURVE_POINTS = 200
_RANKING = "ranking score"
_HEADLINES = (
    ("PSDS1", "psds1", "how many events are found with right times, scenario 1"),
    ("PSDS2", "psds2", "how many events are found and not confused, scenario 2"),
    ("collar F1", "collar_f1_macro", "both ends within 0.2 s (offset: 20 % of the event), mean over classes"),
    ("intersection F1", "intersection_f1_macro", "half of the event and of the detection shared, mean over classes"),
    ("segment F1", "segment_f1_macro", "is the class active in each second, mean over classes"),
)


def page_of(
    systems: Sequence[EvaluatedSystem],
    standings: Sequence[Standing],
    evaluation_set: EvaluationSet,
    measuring: Measuring,
    year: int,
) -> Page:
    """The whole page."""
    clips = len(evaluation_set.durations)
    rules = evaluation_set.rules
    time = "as they are" if rules.time_decimals is None else f"rounded to {rules.time_decimals} decimals"
    said: Mapping[str, str] = {
        "cross-trigger rates": f"mean over {rules.ct_mean} classes",
        "overlapping events of a class": rules.overlap,
        "clips without events": rules.empty_clips.replace("_", " "),
        "times": time,
        "intervals": f"95 %, {measuring.num_samples} samples of clips" if measuring.num_samples else "none",
        "ranking": f"rules of {year}",
    }
    # The best first, and the colours in that order.
    ordered = [standing for _, standing in sort_standings(standings)]
    by_name = {system.name: system for system in systems}
    systems, standings = [by_name[standing.system] for standing in ordered], ordered
    ranked = len(systems) > 1 or standings[0].ranking_score.value is not None
    # Of several systems the leaderboard shows the ranking scores.
    views = [view_of(system, standing, measuring, ranked) for system, standing in zip(systems, standings, strict=True)]
    truth = f"{len(evaluation_set.ground_truth)} events of {len(evaluation_set.truth_labels)} classes"
    title = systems[0].name if len(systems) == 1 else "Leaderboard"
    board = tuple(standings) if len(systems) > 1 else ()
    if board:
        views = [replace(view, headlines=tuple(h for h in view.headlines if h.name != _RANKING)) for view in views]
    shared = shared_by_all([view.warnings for view in views])
    views = [replace(view, warnings=tuple(w for w in view.warnings if w not in shared)) for view in views]
    return Page(title, tuple(views), f"{clips} clips, {truth}", said, tuple(shared), board)


def view_of(system: EvaluatedSystem, standing: Standing, measuring: Measuring, ranked: bool = True) -> SystemView:
    """One system; ranked: whether remarks on its ranking matter."""
    report, shown = system.report, system.shown_run()
    warnings = [*report.warnings, *report.problems, *(standing.remarks if ranked else ())]
    if len(system.runs) > 1:
        warnings.append(f"curves and timelines are those of {shown.run.name}, the nearest to the mean of the runs")
    return SystemView(
        name=system.name,
        headlines=tuple(_headlines(system, standing)),
        psds1=shown.figures.psds1 if report.psds1 is not None else None,
        psds2=shown.figures.psds2 if report.psds2 is not None else None,
        per_class={
            label: ClassFigures(one.psds1, one.psds2, one.collar_f1, one.num_reference)
            for label, one in report.per_class.items()
            if one.num_reference
        },
        operating_curve=_operating_curve(shown, measuring),
        operating_point=decisions_of(shown.run, measuring.threshold),
        timelines=_timelines(shown, measuring),
        files_present=report.files_present,
        files_expected=report.files_expected,
        # The page says itself that files are missing.
        warnings=tuple(warning for warning in dict.fromkeys(warnings) if " files present: " not in warning),
    )


def _headlines(system: EvaluatedSystem, standing: Standing) -> list[Headline]:
    found = [Headline(title, figure_of(system, name), meaning=meaning) for title, name, meaning in _HEADLINES]
    ranking = Headline(_RANKING, standing.ranking_score, meaning="mean of both PSDS over those of the baseline")
    return [ranking, *found] if standing.ranking_score.value is not None else found


def _timelines(shown: EvaluatedRun, measuring: Measuring) -> tuple[Timeline, ...]:
    decided = decided_by(shown.run, measuring.threshold)
    return () if decided is None else worst_timelines(shown.decided, decided, measuring.threshold)


def _operating_curve(shown: EvaluatedRun, measuring: Measuring) -> OperatingCurve | None:
    """Collar F1 over one threshold for all classes; None where scores are no fractions, or there is one point only."""
    if shown.run.scores is None and shown.run.points is None:
        return None
    deltas = shown.figures.deltas["collar"]
    every = np.unique(deltas.rows.threshold.astype(np.float64))
    if not len(every) or every[0] < 0.0 or every[-1] > 1.0:
        return None
    if shown.run.points is not None and shown.run.scores is None:
        thresholds = np.array(sorted(shown.run.points))
    else:
        chosen = np.linspace(0, len(every) - 1, min(_MAX_CURVE_POINTS, len(every))).round().astype(int)
        thresholds = every[chosen]
    precision, recall, f1 = _macro_curve(deltas, thresholds)
    points = [
        OperatingPoint(*row)
        for row in zip(thresholds.tolist(), precision.tolist(), recall.tolist(), f1.tolist(), strict=True)
    ]
    given = None if shown.run.events is not None else _given_point(shown.figures.collar, measuring.threshold)
    criterion = "collar F1, mean over classes, one threshold for all"
    return OperatingCurve(criterion, thresholds, precision, recall, f1, points[int(np.nanargmax(f1))], given)


def _given_point(collar: F1, threshold: float) -> OperatingPoint | None:
    """Where the system's own F1 lies on the curve."""
    counts = [one for one in collar.per_class.values() if one.num_reference]
    if collar.macro is None or not 0.0 <= threshold <= 1.0:
        return None
    precisions = [one.tp / one.num_detected for one in counts if one.num_detected]
    recalls = [one.tp / one.num_reference for one in counts]
    precision = float(np.mean(precisions)) if precisions else None
    return OperatingPoint(threshold, precision, float(np.mean(recalls)), collar.macro)


def _macro_curve(
    deltas: Deltas, thresholds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(thresholds,) mean precision (of the classes that are detected), recall and F1 over the classes with events."""
    rows: list[list[NDArray[np.float64]]] = []
    for position, label in enumerate(deltas.truth.labels):
        if not deltas.num_reference[:, position].any():
            continue
        curve = f1_curve(deltas, label)
        # the last change at or above each threshold; before the first nothing is detected
        at = np.searchsorted(-curve.thresholds, -thresholds, side="right") - 1
        nothing = at < 0
        rows.append(
            [
                np.where(nothing, empty, column[np.maximum(at, 0)]) if len(column) else np.full(len(thresholds), empty)
                for column, empty in ((curve.precision, np.nan), (curve.recall, 0.0), (curve.f1, 0.0))
            ]
        )
    table = np.array(rows)
    detected = ~np.isnan(table[:, 0])
    total = np.where(detected, table[:, 0], 0.0).sum(axis=0)
    precision = np.divide(total, detected.sum(axis=0), out=np.full(len(thresholds), np.nan), where=detected.any(axis=0))
    return precision, table[:, 1].mean(axis=0), table[:, 2].mean(axis=0)
