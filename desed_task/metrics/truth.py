"""Truth: the ground truth as the kernels want it, numbers in place of names and whole ticks in place of seconds.

Built once for a set of clips, and shared by every criterion and every system. A tick is 10**-time_decimals seconds
(see `rules`), so sums of durations are exact and a comparison at the edge of a criterion does not depend on rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import EventTableError
from desed_task.events import Event, EventTable, audio_id_of, merge_close_events
from desed_task.labels import LabelSet
from desed_task.metrics.rules import DEFAULT_RULES, Rules

# Whole ticks, or float seconds where the rules do not round.
Times = NDArray[np.int64] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Truth:
    """Events of the evaluated clips, sorted by clip, class and onset.

    audio_ids: (clips,); clip_ticks: (clips,) durations; first_event: (clips + 1,) the rows of each clip; label:
    (events,) positions in `labels`; onset, offset: (events,) ticks; disjoint: no two events of a class overlap.
    """

    labels: LabelSet
    audio_ids: tuple[str, ...]
    clip_ticks: Times
    first_event: NDArray[np.int64]
    label: NDArray[np.int32]
    onset: Times
    offset: Times
    disjoint: bool
    rules: Rules

    @property
    def num_clips(self) -> int:
        """The evaluated clips."""
        return len(self.audio_ids)

    @property
    def clip_seconds(self) -> NDArray[np.float64]:
        """(clips,) durations."""
        return np.asarray(self.clip_ticks / self.rules.ticks_per_second, dtype=np.float64)

    @property
    def whole(self) -> bool:
        """Times are whole ticks."""
        return self.rules.time_decimals is not None

    @property
    def event_arrays(self) -> tuple[Any, ...]:
        """first_event, label, onset, offset, disjoint, whole: the events as the kernels take them.

        disjoint lets kernels subtract running sums, which is exact for whole ticks only.
        """
        return self.first_event, self.label, self.onset, self.offset, self.disjoint and self.whole, self.whole

    def ticks(self, seconds: NDArray[np.float64]) -> Times:
        """Seconds, any shape, as the nearest ticks (as they are where the rules do not round)."""
        return in_ticks(seconds, self.rules)

    def event_clip(self) -> NDArray[np.int32]:
        """(events,) the clip of each event."""
        return np.repeat(np.arange(self.num_clips, dtype=np.int32), np.diff(self.first_event))

    def num_events(self) -> NDArray[np.int32]:
        """(clips, classes) events."""
        counts = np.zeros((self.num_clips, len(self.labels)), dtype=np.int32)
        np.add.at(counts, (self.event_clip(), self.label), 1)
        return counts

    def event_seconds(self) -> NDArray[np.float64]:
        """(clips, classes) seconds under events."""
        ticks = np.zeros((self.num_clips, len(self.labels)), dtype=self.onset.dtype)
        np.add.at(ticks, (self.event_clip(), self.label), self.offset - self.onset)
        return np.asarray(ticks / self.rules.ticks_per_second, dtype=np.float64)


def build_truth(
    ground_truth: EventTable, durations: Mapping[str, float], labels: LabelSet, rules: Rules = DEFAULT_RULES
) -> Truth:
    """The ground truth of the clips in `durations` (filename -> seconds); clips that it does not list have no events.

    Clips are matched by audio_id. EventTableError on an event of another class or in a clip without a duration, and on
    overlapping events of one class where `rules.overlap` is "error".
    """
    ground_truth.require_labels(labels, "ground truth")
    events = ground_truth.by_audio_id()
    seconds = {audio_id_of(filename): duration for filename, duration in durations.items()}
    if len(seconds) != len(durations):
        raise EventTableError("two files of the table of durations differ in folder or extension only; rename one")
    absent = [audio_id for audio_id, of_clip in events.items() if of_clip and audio_id not in seconds]
    if absent:
        raise EventTableError(f"ground truth: {absent[0]} is not in the table of durations; add it")
    if rules.empty_clips == "leave_out":
        seconds = {audio_id: duration for audio_id, duration in seconds.items() if events.get(audio_id)}
    audio_ids = tuple(seconds)
    position = {name: number for number, name in enumerate(labels)}
    rows = [
        (clip, position[event.event_label], event.onset, event.offset)
        for clip, audio_id in enumerate(audio_ids)
        for event in _without_overlaps(events.get(audio_id, ()), rules)
    ]
    clip, label, onset, offset = (np.array(column) for column in (zip(*rows, strict=True) if rows else ((),) * 4))
    ticks = rules.ticks_per_second
    onset, offset = in_ticks(onset, rules), in_ticks(offset, rules)
    order = np.lexsort((onset, label, clip)).astype(np.int64)
    order = order[(offset > onset)[order]]  # an event shorter than a tick is none
    clip, label, onset, offset = (column[order] for column in (clip.astype(np.int64), label, onset, offset))
    overlapping = _overlaps(clip, label, onset, offset)
    if len(overlapping) and rules.overlap == "error":
        row = int(overlapping[0])
        raise EventTableError(
            f"ground truth: two {labels[int(label[row])]} events of {audio_ids[int(clip[row])]} overlap at "
            f"{onset[row] / ticks:.3f} s, for which PSDS is not defined; merge them, or choose the overlap rule merge"
        )
    return Truth(
        labels,
        audio_ids,
        in_ticks(np.array(list(seconds.values()), dtype=np.float64), rules),
        np.searchsorted(clip, np.arange(len(audio_ids) + 1)).astype(np.int64),
        label.astype(np.int32),
        onset,
        offset,
        not len(overlapping),
        rules,
    )


def in_ticks(seconds: NDArray[np.float64], rules: Rules) -> Times:
    """Seconds, any shape, as the nearest ticks (as they are where the rules do not round)."""
    seconds = np.asarray(seconds, dtype=np.float64)
    return seconds if rules.time_decimals is None else np.rint(seconds * rules.ticks_per_second).astype(np.int64)


def _without_overlaps(events: Sequence[Event], rules: Rules) -> Sequence[Event]:
    if rules.overlap != "merge" or len(events) < 2:
        return events
    decimals = rules.time_decimals
    if decimals is not None:  # events that touch but for rounding stay two
        times = [(round(e.onset, decimals), round(e.offset, decimals), e.event_label) for e in events]
        events = [Event(onset, offset, label) for onset, offset, label in times if offset > onset]
    return merge_close_events(events, 0.0)


def _overlaps(clip: NDArray[np.int64], label: NDArray[np.int64], onset: Times, offset: Times) -> NDArray[np.int64]:
    """Rows that begin before the end of the row before them, in the same clip and class."""
    same = (clip[1:] == clip[:-1]) & (label[1:] == label[:-1])
    return np.flatnonzero(same & (onset[1:] < offset[:-1])) + 1
