"""PSDS: the polyphonic sound detection score, exact over all thresholds or over given operating points.

C. Bilen et al., ICASSP 2020 (arXiv 1910.08440). For every class, the share of events found over the effective rate of
false alarms, eFPR = false alarms per hour + alpha_ct * mean of the cross-trigger rates with the other classes; then,
over the classes, mean - alpha_st * standard deviation; the area below it up to `max_efpr`, as a fraction.

Published differences, each with its switch:
- psds_eval knows 50 thresholds and underestimates by .005 to .04; here, as in sed_scores_eval, every distinct score is
  one. `point_deltas` gives the score of given operating points.
- psds_eval 0.3.0 averages cross-trigger rates over n classes instead of n - 1 (`Rules.ct_mean`).
- `oracle=False` (noPSDS; J. Ebbers et al., arXiv 2406.04212) keeps thresholds with fewer events found at a higher
  rate, which only the ground truth can tell one to avoid.
- `independent_psds` (J. Ebbers et al., arXiv 2306.15440) takes, for each class and rate, the best of several
  post-processings of one system (miPSDS, when those are median filters).

Classes without events are left out, as in psds_eval; sed_scores_eval refuses them. Rates are per hour of all evaluated
clips; cross-trigger rates per hour of the other class's events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError
from desed_task.metrics.curves.rocs import class_curve, joint_curve, staircase_area
from desed_task.metrics.deltas import Deltas, score_deltas
from desed_task.metrics.intersection import Intersection
from desed_task.metrics.scenarios import PsdsScenario
from desed_task.metrics.truth import Truth
from desed_task.scores import ScoreTable

_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, eq=False)
class RocCurve:
    """A staircase: from each rate on (per hour, ascending), the ratio (in [0, 1]); thresholds: those of the points."""

    rates: NDArray[np.float64]
    ratios: NDArray[np.float64]
    thresholds: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Psds:
    """The score, the area of each class alone (no penalty for differing classes), and the curves of both.

    value is None when no class has events; per_class and class_curves hold the classes with events.
    """

    value: float | None
    per_class: Mapping[str, float]
    curve: RocCurve | None = None
    class_curves: Mapping[str, RocCurve] | None = None


def criterion_of(scenario: PsdsScenario) -> Intersection:
    """The criterion whose deltas `psds` needs: without cross-triggers where they do not count."""
    criteria = scenario.criteria
    return Intersection(criteria.dtc, criteria.gtc, criteria.cttc if scenario.alpha_ct else None)


def psds(
    deltas: Deltas, scenario: PsdsScenario, *, oracle: bool = True, weights: NDArray[np.int64] | None = None
) -> Psds:
    """The score from intersection deltas (`criterion_of(scenario)`).

    weights: (clips,) how often each clip counts, by default once each.
    """
    if deltas.max_false_alarms is not None:
        raise ValueError("rows of these deltas have been left out; use psds_of_scores, or deltas with all of them")
    return join_curves(_class_curves(deltas, scenario, oracle, weights), scenario)


def psds_of_scores(
    scores: Mapping[str, ScoreTable] | Iterable[tuple[str, ScoreTable]],
    truth: Truth,
    scenarios: Sequence[PsdsScenario],
    num_threads: int = 1,
) -> list[Psds]:
    """The score under every scenario, without what lies beyond `max_efpr`: the fast way to the score itself.

    The same values as by `score_deltas` and `psds`, several times faster and in bounded memory, with no deltas left to
    resample. scores: see `score_deltas`.
    """
    most = int(max(scenario.max_efpr for scenario in scenarios) * truth.clip_seconds.sum() / _SECONDS_PER_HOUR) + 1
    once = np.ones(truth.num_clips, dtype=np.int64)
    criteria = []
    for scenario in scenarios:
        rates = _rates_per_cross(truth, scenario, once)
        criteria.append(replace(criterion_of(scenario), rates=tuple(rates.tolist()) if scenario.alpha_ct else ()))
    pairs = zip(score_deltas(scores, truth, criteria, num_threads, most), scenarios, strict=True)
    alike = np.ones(len(truth.labels))  # what cross-triggers are worth is in their rows
    return [join_curves(_class_curves(deltas, scenario, True, once, alike), scenario) for deltas, scenario in pairs]


def independent_psds(
    deltas: Sequence[Deltas], scenario: PsdsScenario, *, weights: NDArray[np.int64] | None = None
) -> Psds:
    """The score of the best of several post-processings of one system, chosen for each class and rate."""
    every = [_class_curves(of_one, scenario, True, weights) for of_one in deltas]
    return join_curves({label: _highest([curves[label] for curves in every]) for label in every[0]}, scenario)


def _class_curves(
    deltas: Deltas,
    scenario: PsdsScenario,
    oracle: bool,
    weights: NDArray[np.int64] | None,
    rate_per_cross: NDArray[np.float64] | None = None,
) -> dict[str, RocCurve]:
    truth, rows, cross = deltas.truth, deltas.rows, deltas.cross
    if weights is None:
        weights = np.ones(truth.num_clips, dtype=np.int64)
    if scenario.alpha_ct and cross is None:
        raise ValueError("these deltas hold no cross-triggers; compute them with criterion_of(scenario)")
    if rate_per_cross is None:
        rate_per_cross = _rates_per_cross(truth, scenario, weights)
    num_reference = weights @ deltas.num_reference
    with_events = np.flatnonzero(num_reference)
    seconds = float(weights @ truth.clip_seconds)
    if not len(with_events):
        return {}
    if not seconds:
        raise DesedTaskError(
            "the evaluated clips last 0 s, and PSDS counts false alarms per hour; give their durations"
        )
    rate_per_false = _SECONDS_PER_HOUR / seconds
    empty = rows.threshold[:0], rows.clip[:0], rows.clip[:0], rows.clip[:0]
    curves = {}
    for label in with_events.tolist():
        own = slice(deltas.first_row[label], deltas.first_row[label + 1])
        crossing: tuple[Any, ...] = empty
        if cross is not None and scenario.alpha_ct:
            part = slice(deltas.first_cross[label], deltas.first_cross[label + 1])
            crossing = cross.threshold[part], cross.clip[part], cross.other[part], cross.count[part]
        curve = class_curve(
            rows.threshold[own],
            rows.clip[own],
            rows.true_positives[own],
            rows.false_positives[own],
            *crossing,
            weights,
            float(num_reference[label]),
            rate_per_false,
            rate_per_cross,
            scenario.max_efpr,
            oracle,
        )
        curves[truth.labels[label]] = RocCurve(*curve)
    return curves


def _rates_per_cross(truth: Truth, scenario: PsdsScenario, weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """(classes,) effective rate per hour of one cross-trigger by events of each class, 0 for classes without events."""
    seconds = weights @ truth.event_seconds()
    with_events = seconds > 0.0
    num_averaged = int(with_events.sum()) - (1 if truth.rules.ct_mean == "n-1" else 0)
    rates = np.zeros(len(seconds))
    rates[with_events] = scenario.alpha_ct * _SECONDS_PER_HOUR / max(num_averaged, 1) / seconds[with_events]
    return rates


def join_curves(curves: Mapping[str, RocCurve], scenario: PsdsScenario) -> Psds:
    """The score of the curves of all classes, whatever system each is of."""
    if not curves:
        return Psds(None, {})
    parts = list(curves.values())
    rates, ratios = np.concatenate([c.rates for c in parts]), np.concatenate([c.ratios for c in parts])
    first_point = np.cumsum([0, *(len(curve.rates) for curve in parts)])
    curve = RocCurve(*joint_curve(rates, ratios, first_point, scenario.alpha_st))
    per_class = {label: staircase_area(c.rates, c.ratios, scenario.max_efpr) for label, c in curves.items()}
    return Psds(staircase_area(curve.rates, curve.ratios, scenario.max_efpr), per_class, curve, curves)


def _highest(curves: Sequence[RocCurve]) -> RocCurve:
    """The upper edge of several staircases that all rise."""
    rates, ratios = np.concatenate([c.rates for c in curves]), np.concatenate([c.ratios for c in curves])
    order = np.lexsort((-ratios, rates))
    rates, ratios = rates[order], np.maximum.accumulate(ratios[order])
    steps = np.concatenate(([True], ratios[1:] > ratios[:-1]))
    return RocCurve(rates[steps], ratios[steps])
