"""What a run decided in a clip, and what became of it: the timelines of the worst clips.

An event is found when a detection of its class lies within the collars of both its ends (see `metrics.collar`); a
detection that pairs with no event is a false alarm. The detections are those that the run submitted, or those of its
scores at one threshold (score > threshold), from edge to edge of its windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from desed_task.encoding import active_runs
from desed_task.events import Event, EventTable, audio_id_of
from desed_task.metrics.collar import Collar
from desed_task.metrics.comparison import clip_counts
from desed_task.metrics.detections import gather_points
from desed_task.metrics.figures import Figures
from desed_task.metrics.truth import Truth
from desed_task.scores import ScoreTable
from desed_task.submission.page_views import MarkedEvent, Status, Timeline

NUM_WORST_CLIPS = 8


def worst_timelines(
    figures: Figures, decided: EventTable | Mapping[str, ScoreTable], threshold: float, number: int = NUM_WORST_CLIPS
) -> tuple[Timeline, ...]:
    """The clips with most misses and false alarms by the collar criterion, the worst first.

    figures: those of the decisions, with the collar F1. decided: the decisions by filename, or scores by audio_id.
    """
    if figures.collar.macro is None:
        return ()
    truth = figures.truth
    worst = clip_counts(figures.deltas["collar"], figures.collar.thresholds).worst(number)
    events: dict[str, Sequence[Event]]
    if isinstance(decided, EventTable):
        clips = {audio_id_of(filename): filename for filename in decided.filenames}
        events = {audio_id: decided.of(clips[audio_id]) if audio_id in clips else () for audio_id in worst}
    else:
        events = {audio_id: events_above(decided[audio_id], threshold) for audio_id in worst}
    return _timelines(events, truth)


def events_above(table: ScoreTable, threshold: float) -> list[Event]:
    """The events of score > threshold, sorted by onset."""
    active = table.values > np.asarray(threshold, dtype=table.values.dtype)
    edges = table.edges.tolist()
    return sorted(
        Event(edges[first], edges[last], label)
        for position, label in enumerate(table.labels)
        for first, last in active_runs(active[:, position])
    )


def _timelines(events: Mapping[str, Sequence[Event]], truth: Truth) -> tuple[Timeline, ...]:
    points = gather_points({0.0: EventTable(events)}, truth)
    paired_with = Collar().pair(points, truth)
    found = np.zeros(len(truth.onset), dtype=bool)
    found[paired_with[paired_with >= 0]] = True
    ticks, seconds = truth.rules.ticks_per_second, truth.clip_seconds
    event_clip = truth.event_clip()

    def marked(label: int, onset: float, offset: float, status: Status) -> MarkedEvent:
        return MarkedEvent(float(onset / ticks), float(offset / ticks), truth.labels[label], status)

    timelines = []
    for audio_id in events:
        clip = truth.audio_ids.index(audio_id)
        there, said = np.flatnonzero(event_clip == clip), np.flatnonzero(points.clip == clip)
        reference = tuple(
            marked(int(truth.label[k]), truth.onset[k], truth.offset[k], "found" if found[k] else "missed")
            for k in there.tolist()
        )
        detected = tuple(
            marked(int(points.label[k]), points.onset[k], points.offset[k], "found" if paired_with[k] >= 0 else "false")
            for k in said.tolist()
        )
        timelines.append(Timeline(audio_id, float(seconds[clip]), reference, detected))
    return tuple(timelines)
