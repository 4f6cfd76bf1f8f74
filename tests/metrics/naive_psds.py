"""PSDS as its definition reads: every threshold, decode, match, count, one after another. Slow, and hard to get wrong.

From C. Bilen et al. (arXiv 1910.08440) and the definitions on top of `psds` and `intersection`, with none of that code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from score_sets import ScoreSet, runs_at

from desed_task.events import Event, EventTable, audio_id_of
from desed_task.metrics.rules import DEFAULT_RULES, Rules
from desed_task.metrics.scenarios import PsdsScenario

Span = tuple[float, float]


@dataclass(frozen=True)
class Counts:
    """What one class counts at one threshold; crossed: by other class."""

    found: int
    failed: int
    crossed: Mapping[str, int]


def naive_psds(
    data: ScoreSet,
    scenario: PsdsScenario,
    rules: Rules = DEFAULT_RULES,
    *,
    oracle: bool = True,
    points: Mapping[float, EventTable] | None = None,
) -> float | None:
    """Over all thresholds of the scores, or over the given operating points."""
    curves = naive_curves(data, scenario, rules, oracle=oracle, points=points)
    return area_of(curves, scenario) if curves else None


def naive_curves(
    data: ScoreSet,
    scenario: PsdsScenario,
    rules: Rules = DEFAULT_RULES,
    *,
    oracle: bool = True,
    points: Mapping[float, EventTable] | None = None,
) -> list[list[tuple[float, float]]]:
    """(rate, ratio) of every threshold of each class with events, as a staircase."""
    scale = 1 if rules.time_decimals is None else 10**rules.time_decimals
    events = {audio_id_of(name): of_clip for name, of_clip in data.ground_truth.items()}
    seconds = {audio_id_of(name): duration for name, duration in data.durations.items()}
    clips = [name for name in seconds if rules.empty_clips == "count" or events.get(name)]
    reference = {
        name: {label: _spans(events.get(name, ()), label, scale, rules) for label in data.labels} for name in clips
    }
    hours = sum(_tick(seconds[name], scale) for name in clips) / scale / 3600
    hours_of = {
        label: sum(off - on for name in clips for on, off in reference[name][label]) / scale / 3600
        for label in data.labels
    }
    active = [label for label in data.labels if hours_of[label] > 0]
    num_averaged = max(1, len(active) - (rules.ct_mean == "n-1"))
    curves = []
    for label in active:
        num_events = sum(len(reference[name][label]) for name in clips)
        ops = [(0.0, 0.0)]
        for detections in _every_point(data, clips, label, scale, rules, points):
            counts = _counts(detections, reference, label, scenario, rules)
            crossing = sum(
                counts.crossed[other] / hours_of[other] for other in active if other != label and scenario.alpha_ct
            )
            rate = counts.failed / hours + scenario.alpha_ct * crossing / num_averaged
            ops.append((rate, counts.found / num_events))
        curves.append(staircase(ops, oracle))
    return curves


def staircase(ops: Sequence[tuple[float, float]], oracle: bool) -> list[tuple[float, float]]:
    """Points by rate; of one rate the highest ratio; with an oracle, only those above all before them."""
    stairs: list[tuple[float, float]] = []
    for rate, ratio in sorted(ops):
        if stairs and abs(rate - stairs[-1][0]) < 1e-9 * max(1.0, rate):
            stairs[-1] = (stairs[-1][0], max(ratio, stairs[-1][1]))
        elif not stairs or not oracle or ratio > stairs[-1][1]:
            stairs.append((rate, ratio))
    return stairs


def area_of(curves: Sequence[Sequence[tuple[float, float]]], scenario: PsdsScenario) -> float:
    """The area below mean - alpha_st * deviation of the staircases."""
    rates = sorted({rate for curve in curves for rate, _ in curve if rate <= scenario.max_efpr})
    area = 0.0
    for begin, end in zip(rates, [*rates[1:], scenario.max_efpr], strict=True):
        ratios = [max((rate, ratio) for rate, ratio in curve if rate <= begin)[1] for curve in curves]
        area += max(0.0, float(np.mean(ratios) - scenario.alpha_st * np.std(ratios))) * (end - begin)
    return area / scenario.max_efpr


def _every_point(
    data: ScoreSet,
    clips: Sequence[str],
    label: str,
    scale: int,
    rules: Rules,
    points: Mapping[float, EventTable] | None,
) -> list[dict[str, list[Span]]]:
    if points is not None:
        seconds = {audio_id_of(name): duration for name, duration in data.durations.items()}
        tables = [
            {name: [e for e in of_clip if e.onset < seconds[name]] for name, of_clip in table.by_audio_id().items()}
            for table in points.values()
        ]
        return [{name: _spans(table.get(name, ()), label, scale, rules) for name in clips} for table in tables]
    number = data.labels.index(label)
    thresholds = np.unique(np.concatenate([data.scores[name].values[:, number] for name in clips]))
    return [
        {name: _spans(runs_at(data.scores[name], threshold, [label]), label, scale, rules) for name in clips}
        for threshold in thresholds.tolist()
    ]


def _counts(
    detections: Mapping[str, Sequence[Span]],
    reference: Mapping[str, Mapping[str, Sequence[Span]]],
    label: str,
    scenario: PsdsScenario,
    rules: Rules,
) -> Counts:
    criteria, whole = scenario.criteria, rules.time_decimals is not None
    found = failed = 0
    crossed = dict.fromkeys(next(iter(reference.values()), {}), 0)
    for name, spans in detections.items():
        own = reference[name][label]
        passing = []
        for span in spans:
            if _enough(sum(_common(span, event) for event in own), span, criteria.dtc, whole):
                passing.append(span)
                continue
            failed += 1
            for other, of_other in reference[name].items():
                if other != label:
                    crossed[other] += _enough(
                        sum(_common(span, event) for event in of_other), span, criteria.cttc, whole
                    )
        for event in own:
            found += _enough(sum(_common(span, event) for span in passing), event, criteria.gtc, whole)
    return Counts(found, failed, crossed)


def _enough(shared: float, span: Span, fraction: float, whole: bool) -> bool:
    length = span[1] - span[0]
    return shared > 0 and (shared >= round(fraction * length) if whole else shared / length >= fraction)


def _common(one: Span, other: Span) -> float:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def _spans(events: Sequence[Event], label: str, scale: int, rules: Rules) -> list[Span]:
    spans = sorted((_tick(e.onset, scale), _tick(e.offset, scale)) for e in events if e.event_label == label)
    spans = [(on, off) for on, off in spans if off > on]
    if rules.overlap != "merge":
        return spans
    merged: list[Span] = []
    for on, off in spans:
        if merged and on < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(off, merged[-1][1]))
        else:
            merged.append((on, off))
    return merged


def _tick(seconds: float, scale: int) -> float:
    return seconds if scale == 1 else round(seconds * scale)
