"""Collar, segment and intersection F1 of one list of detections, as a system's operating point gives them.

Conventions of the published scorers (sed_eval for collar and segment, psds_eval for intersection):
- Clips are matched by audio_id, so `x.wav` and `x` are one clip.
- Collar and segment F1 look at the clips that the ground truth lists, with or without events. Their classes are those
  of ground truth and detections together; events of a class may overlap.
- Intersection F1 looks at every clip in `durations`, those without events too; a detection in them is a false alarm.
  Its classes are those of the ground truth; detections of other classes are not counted. Overlaps as the rules say.
- A class without detections has F1 0 (sed_eval's segment F1 and psds_eval's macro F1 leave such classes out).

Collar and segment F1 compare times as floats by default, as sed_eval does, and give its numbers to the last digit (and
its text, but for substitutions, see `Collar`). At an edge that depends on rounding: of three pairs of the published
student that are 0.2 s apart, one is a miss. With DEFAULT_RULES, as `score_deltas` has them, all three are hits: macro
39.90 % instead of 39.87 %, micro 40.98 % instead of 40.95 %. Segments are the same. Intersection F1 compares whole
microseconds by default; Rules(time_decimals=None) compares floats and equals psds_eval to the last digit, and so does
the default for the published student.

A report and the selection of an epoch take their F1s from `figures`, all under one set of rules, and from here the text
tables alone, under the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from desed_task.errors import EventTableError
from desed_task.events import EventTable, audio_id_of
from desed_task.labels import LabelSet
from desed_task.metrics.collar import Collar
from desed_task.metrics.counts import F1
from desed_task.metrics.deltas import Criterion, point_deltas
from desed_task.metrics.detections import PointDetections, gather_points
from desed_task.metrics.f1 import f1_at
from desed_task.metrics.intersection import Intersection
from desed_task.metrics.rules import DEFAULT_RULES, Rules
from desed_task.metrics.scenarios import INTERSECTION_F1, IntersectionCriteria
from desed_task.metrics.segment import Segments
from desed_task.metrics.text_tables import Evaluated, event_table, segment_table
from desed_task.metrics.truth import Truth, build_truth

NO_F1 = F1(None, None, {})
# sed_eval: floats as they are, and overlaps do not matter.
SED_EVAL_RULES = Rules(overlap="allow", time_decimals=None)


def collar_f1(
    detections: EventTable, ground_truth: EventTable, rules: Rules = SED_EVAL_RULES, collar: Collar | None = None
) -> F1:
    """Event F1: both ends near those of an event (see `collar`), with its text table."""
    criterion = collar or Collar()
    truth = _listed_clips(detections, ground_truth, rules)
    if truth is None:
        return NO_F1
    f1, points = _f1(detections, truth, criterion), _points(detections, truth)
    table = event_table(f1.per_class, criterion.count_substitutions(points, truth), _evaluated(truth), criterion)
    return replace(f1, table=table)


def segment_f1(
    detections: EventTable, ground_truth: EventTable, rules: Rules = SED_EVAL_RULES, segments: Segments | None = None
) -> F1:
    """Segment F1: is the class active anywhere in each second of the clip, with its text table."""
    criterion = segments or Segments()
    truth = _listed_clips(detections, ground_truth, rules)
    if truth is None:
        return NO_F1
    f1, points = _f1(detections, truth, criterion), _points(detections, truth)
    totals = criterion.count_totals(points, truth)
    table = segment_table(f1.per_class, totals, _evaluated(truth, points), criterion.segment_seconds)
    return replace(f1, table=table)


def intersection_f1(
    detections: EventTable,
    ground_truth: EventTable,
    durations: Mapping[str, float],
    criteria: IntersectionCriteria = INTERSECTION_F1,
    rules: Rules = DEFAULT_RULES,
) -> F1:
    """F1 by intersection (see `intersection`). True positives are events, false alarms are detections: no micro.

    durations: filename -> seconds of every evaluated clip. EventTableError when a table names a clip without a
    duration, or when events of one class overlap in a clip and the rules refuse it.
    """
    if not len(ground_truth):
        return NO_F1
    _require_durations(detections, durations)
    truth = build_truth(ground_truth, durations, LabelSet(ground_truth.labels()), rules)
    f1 = _f1(detections, truth, Intersection(criteria.dtc, criteria.gtc))
    said = {label: int((detections.event_label == label).sum()) for label in f1.per_class}
    per_class = {label: replace(counts, num_detected=said[label]) for label, counts in f1.per_class.items()}
    return replace(f1, micro=None, per_class=per_class)


def _listed_clips(detections: EventTable, ground_truth: EventTable, rules: Rules) -> Truth | None:
    """The clips that the ground truth lists, each of them as long as its events; None without any class."""
    labels = sorted({*detections.labels(), *ground_truth.labels()})
    if not labels:
        return None
    if rules.overlap == "error":
        rules = replace(rules, overlap="allow")
    return build_truth(ground_truth, dict.fromkeys(ground_truth.filenames, 0.0), LabelSet(labels), rules)


def _f1(detections: EventTable, truth: Truth, criterion: Criterion) -> F1:
    (deltas,) = point_deltas({0.0: detections}, truth, [criterion])
    return replace(f1_at(deltas, -np.inf), thresholds={})


def _points(detections: EventTable, truth: Truth) -> PointDetections:
    return gather_points({0.0: detections}, truth)


def _evaluated(truth: Truth, points: PointDetections | None = None) -> Evaluated:
    """Up to the last event of each clip, reference or (where they are given) detected."""
    last = np.zeros(truth.num_clips)
    np.maximum.at(last, truth.event_clip(), truth.offset)
    if points is not None:
        np.maximum.at(last, points.clip, points.offset)
    return Evaluated(truth.num_clips, float(last.sum()) / truth.rules.ticks_per_second)


def _require_durations(detections: EventTable, durations: Mapping[str, float]) -> None:
    known = {audio_id_of(filename) for filename in durations}
    for filename in dict.fromkeys(detections.filename.tolist()):
        if audio_id_of(filename) not in known:
            raise EventTableError(f"detections: {filename} is not in the table of durations; add it")
