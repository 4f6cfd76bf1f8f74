"""Figures: every metric of one system on one set of clips, each computed whether or not another one fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.events import EventTable, audio_id_of
from desed_task.metrics.counts import F1
from desed_task.metrics.reference import Psds, collar_f1, intersection_f1, psds, segment_f1
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2
from desed_task.metrics.tagging import tagging_f1
from desed_task.postprocessing.operating_points import detect_at_thresholds
from desed_task.postprocessing.pipeline import PostProcessing
from desed_task.postprocessing.thresholds import threshold_grid
from desed_task.scores import Scores

Result = TypeVar("Result")

_NO_PSDS = Psds(None, {})
_NO_F1 = F1(None, None, {})


@dataclass(frozen=True)
class MatchedClips:
    """The clips to evaluate: scores by audio_id, the rest by the filename of the table of durations.

    `filename`: audio_id -> filename; `listed`: every audio_id of the ground truth, evaluated or not.
    """

    scores: Mapping[str, Scores]
    filename: Mapping[str, str]
    reference: EventTable
    durations: Mapping[str, float]
    listed: frozenset[str]


@dataclass(frozen=True)
class Figures:
    """The result of every metric, undefined where it failed (see `problems`) or where the scores have no frames."""

    problems: tuple[str, ...]
    filtered: Mapping[str, Scores]
    tagging: F1
    psds1: Psds = _NO_PSDS
    psds2: Psds = _NO_PSDS
    collar: F1 = _NO_F1
    segment: F1 = _NO_F1
    intersection: F1 = _NO_F1
    detections: EventTable = field(default_factory=lambda: EventTable({}))
    operating_points: Mapping[float, EventTable] = field(default_factory=dict)


def match_clips(
    scores: Mapping[str, Scores],
    ground_truth: EventTable,
    durations: Mapping[str, float],
    count_clips_without_events: bool,
) -> MatchedClips:
    """Bring scores, events and durations together by audio_id; an error when a clip with scores has no duration."""
    events = ground_truth.by_audio_id()
    filename = {audio_id_of(name): name for name in durations}
    unknown = [audio_id for audio_id in scores if audio_id not in filename]
    if unknown:
        raise EventTableError(f"{unknown[0]} has scores but is not in the table of durations; add it or leave it out")
    evaluated = [audio_id for audio_id in scores if count_clips_without_events or events.get(audio_id)]
    if not evaluated:
        raise DesedTaskError(
            f"no clip to evaluate: {len(scores)} clips have scores, the ground truth holds {len(ground_truth)} events"
        )
    return MatchedClips(
        scores={audio_id: scores[audio_id] for audio_id in evaluated},
        filename={audio_id: filename[audio_id] for audio_id in evaluated},
        reference=EventTable({filename[audio_id]: events.get(audio_id, ()) for audio_id in evaluated}),
        durations={filename[audio_id]: durations[filename[audio_id]] for audio_id in evaluated},
        listed=frozenset(events),
    )


def compute_figures(clips: MatchedClips, postprocessing: PostProcessing, num_thresholds: int) -> Figures:
    """Tagging F1 and, where the scores have frames, PSDS at `num_thresholds` operating points and the F1s at one."""
    filtered = {audio_id: postprocessing.filter(clip) for audio_id, clip in clips.scores.items()}
    by_filename = {clips.filename[audio_id]: clip for audio_id, clip in filtered.items()}
    reference, durations = clips.reference, clips.durations
    attempt = _Attempt()
    clip_values = {name: clip.clip_values for name, clip in by_filename.items()}
    tags = {name: {event.event_label for event in events} for name, events in reference.items()}
    tagging = attempt("tagging F1", lambda: tagging_f1(clip_values, tags, postprocessing.labels), _NO_F1)
    if not _have_frames(filtered):
        return Figures(tuple(attempt.problems), {}, tagging)
    points = detect_at_thresholds(by_filename, threshold_grid(num_thresholds))
    detections = EventTable({name: postprocessing.detect_at(clip) for name, clip in by_filename.items()})
    psds1 = attempt("PSDS1", lambda: psds(points, reference, durations, PSDS_SCENARIO_1), _NO_PSDS)
    psds2 = attempt("PSDS2", lambda: psds(points, reference, durations, PSDS_SCENARIO_2), _NO_PSDS)
    collar = attempt("collar F1", lambda: collar_f1(detections, reference), _NO_F1)
    segment = attempt("segment F1", lambda: segment_f1(detections, reference), _NO_F1)
    intersection = attempt("intersection F1", lambda: intersection_f1(detections, reference, durations), _NO_F1)
    problems = tuple(attempt.problems)
    return Figures(problems, filtered, tagging, psds1, psds2, collar, segment, intersection, detections, points)


def _have_frames(scores: Mapping[str, Scores]) -> bool:
    without = [audio_id for audio_id, clip in scores.items() if clip.frame_values is None]
    if without and len(without) < len(scores):
        raise DesedTaskError(f"{without[0]} has clip scores only, other clips have frames; score all with one model")
    return not without


class _Attempt:
    """Runs one metric; what it raises becomes a sentence in `problems` and the figure stays undefined."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def __call__(self, name: str, metric: Callable[[], Result], undefined: Result) -> Result:
        try:
            return metric()
        except Exception as error:  # scorers are outside packages: hours of training must not end in their traceback
            kind = "" if isinstance(error, DesedTaskError) else f"{type(error).__name__}: "
            self.problems.append(f"{name} could not be computed: {kind}{' '.join(str(error).split())}")
            return undefined
