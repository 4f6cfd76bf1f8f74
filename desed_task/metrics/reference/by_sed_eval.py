"""sed_eval (0.2.1) behind our nouns: collar and segment F1 of one table of detections.

- Evaluated are the clips that the ground truth lists, with or without events; the classes are those of ground truth
  and detections together. A clip's segments end with its last event, reference or detected.
- A class without detections has F1 0. sed_eval's segment F1 leaves such a class out of the average, which flatters weak
  systems; published systems have no such class.
- Times are compared as floats. At the collar's edge (0.2 s within rounding) a pair may be a hit here and a miss in
  published tables: one pair of 4224 on the DESED dev-test.
"""

from __future__ import annotations

from typing import Any

from desed_task.events import EventTable
from desed_task.metrics.counts import F1, macro_f1, matched_counts, micro_f1
from desed_task.metrics.reference.packages import load, quiet
from desed_task.metrics.scenarios import COLLAR_SECONDS, OFFSET_COLLAR_FRACTION, SEGMENT_SECONDS


def collar_f1(detections: EventTable, ground_truth: EventTable) -> F1:
    """Event F1: onset within 0.2 s, offset within the larger of 0.2 s and 20 % of the reference event."""
    with quiet():
        metric = load("sed_eval").sound_event.EventBasedMetrics(
            event_label_list=_labels_of(detections, ground_truth),
            t_collar=COLLAR_SECONDS,
            percentage_of_length=OFFSET_COLLAR_FRACTION,
            empty_system_output_handling="zero_score",
        )
        return _f1(metric, detections, ground_truth)


def segment_f1(detections: EventTable, ground_truth: EventTable) -> F1:
    """Segment F1: is the class active anywhere in each second of the clip."""
    with quiet():
        metric = load("sed_eval").sound_event.SegmentBasedMetrics(
            event_label_list=_labels_of(detections, ground_truth), time_resolution=SEGMENT_SECONDS
        )
        metric.empty_system_output_handling = "zero_score"
        return _f1(metric, detections, ground_truth)


def _labels_of(detections: EventTable, ground_truth: EventTable) -> list[str]:
    return sorted({*detections.labels(), *ground_truth.labels()})


def _f1(metric: Any, detections: EventTable, ground_truth: EventTable) -> F1:
    detected, reference = _event_lists(detections), _event_lists(ground_truth)
    for audio_id, events in reference.items():
        metric.evaluate(reference_event_list=events, estimated_event_list=detected.get(audio_id, []))
    per_class = {
        label: matched_counts(int(counts["Nref"]), int(counts["Nsys"]), int(counts["Ntp"]))
        for label, counts in metric.class_wise.items()
    }
    return F1(macro_f1(per_class), micro_f1(per_class), per_class, str(metric) if per_class else "")


def _event_lists(table: EventTable) -> dict[str, list[dict[str, Any]]]:
    """audio_id -> events as sed_eval takes them, without the tables that the published loop converts per clip."""
    return {
        audio_id: [{"onset": e.onset, "offset": e.offset, "event_label": e.event_label} for e in events]
        for audio_id, events in table.by_audio_id().items()
    }
