"""The clips to evaluate: scores, events and durations brought together by audio_id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.events import EventTable, audio_id_of
from desed_task.metrics.rules import Rules
from desed_task.scores import Scores


@dataclass(frozen=True)
class MatchedClips:
    """Scores by audio_id, the rest by the filename of the table of durations.

    filename: audio_id -> filename; listed: every audio_id of the ground truth, evaluated or not.
    """

    scores: Mapping[str, Scores]
    filename: Mapping[str, str]
    reference: EventTable
    durations: Mapping[str, float]
    listed: frozenset[str]

    @property
    def tags(self) -> dict[str, set[str]]:
        """audio_id -> the classes that occur in the clip."""
        return {
            audio_id: {event.event_label for event in self.reference.of(filename)}
            for audio_id, filename in self.filename.items()
        }

    @property
    def have_frames(self) -> bool:
        """All have frame scores; DesedTaskError when some have and some have not."""
        without = [audio_id for audio_id, clip in self.scores.items() if clip.frame_values is None]
        if without and len(without) < len(self.scores):
            raise DesedTaskError(
                f"{without[0]} has clip scores only, other clips have frames; score all with one model"
            )
        return not without


def match_clips(
    scores: Mapping[str, Scores], ground_truth: EventTable, durations: Mapping[str, float], rules: Rules
) -> MatchedClips:
    """The clips with scores, those without events left out where the rules say so.

    EventTableError when a clip with scores has no duration, DesedTaskError when there is no clip to evaluate.
    """
    events = ground_truth.by_audio_id()
    filename = {audio_id_of(name): name for name in durations}
    unknown = [audio_id for audio_id in scores if audio_id not in filename]
    if unknown:
        raise EventTableError(f"{unknown[0]} has scores but is not in the table of durations; add it or leave it out")
    evaluated = [audio_id for audio_id in scores if rules.empty_clips == "count" or events.get(audio_id)]
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
