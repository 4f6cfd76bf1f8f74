"""Seeded sets of clips with events and scores, small and full of edges, for oracle and property tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.deltas import point_deltas, score_deltas
from desed_task.metrics.psds import Psds, criterion_of, psds
from desed_task.metrics.rules import DEFAULT_RULES, Rules
from desed_task.metrics.scenarios import PsdsScenario
from desed_task.metrics.truth import Truth, build_truth
from desed_task.scores import ScoreTable


@dataclass(frozen=True)
class ScoreSet:
    """What an evaluation is given. scores, durations: by clip name."""

    scores: Mapping[str, ScoreTable]
    ground_truth: EventTable
    durations: Mapping[str, float]
    labels: LabelSet

    def truth(self, rules: Rules = DEFAULT_RULES) -> Truth:
        return build_truth(self.ground_truth, self.durations, self.labels, rules)

    def psds(self, scenario: PsdsScenario, rules: Rules = DEFAULT_RULES, *, oracle: bool = True) -> Psds:
        """Ours, over all thresholds."""
        (deltas,) = score_deltas(self.scores, self.truth(rules), [criterion_of(scenario)])
        return psds(deltas, scenario, oracle=oracle)

    def point_psds(self, scenario: PsdsScenario, points: Mapping[float, EventTable], rules: Rules) -> Psds:
        """Ours, over given operating points."""
        (deltas,) = point_deltas(points, self.truth(rules), [criterion_of(scenario)])
        return psds(deltas, scenario)

    def map_values(self, change: object) -> ScoreSet:
        """With other score values: `change` takes and returns an array (frames, classes)."""
        tables = {name: replace(table, values=change(table.values)) for name, table in self.scores.items()}  # type: ignore[operator]
        return replace(self, scores=tables)

    def at(self, threshold: float) -> EventTable:
        """The detections at or above a threshold."""
        return EventTable({name: list(runs_at(table, threshold)) for name, table in self.scores.items()})


def runs_at(table: ScoreTable, threshold: float, labels: Sequence[str] | None = None) -> list[Event]:
    """Runs of frames at or above the threshold, frame by frame; runs of windows without length are none.

    labels: those of these classes only.
    """
    events = []

    def add(onset: float, offset: float, label: str) -> None:
        if offset > onset:
            events.append(Event(onset, offset, label))

    for label in table.labels if labels is None else labels:
        onset = None
        for frame, value in enumerate(table.values[:, table.labels.index(label)].tolist()):
            if value >= threshold and onset is None:
                onset = table.edges[frame]
            if value < threshold and onset is not None:
                add(float(onset), float(table.edges[frame]), label)
                onset = None
        if onset is not None:
            add(float(onset), float(table.edges[-1]), label)
    return events


def draw_set(
    seed: int,
    *,
    num_clips: int = 6,
    num_classes: int = 3,
    num_frames: tuple[int, int] = (1, 40),
    frame_seconds: float = 0.25,
    even_frames: bool = True,
    events_on_edges: bool = False,
    events_beyond: bool = False,
    overlaps: bool = False,
    silent_seconds: float = 300.0,
    dtype: type = np.float32,
) -> ScoreSet:
    """Clips whose scores follow their events, with noise; the first clip has none and lasts `silent_seconds`.

    even_frames: all of `frame_seconds`, else of random length. Events of one class are at least 10 ms apart, unless
    `overlaps`. events_beyond: some end after the last frame.
    """
    rng = np.random.default_rng(seed)
    labels = LabelSet([f"class_{k}" for k in range(num_classes)])
    scores, events, durations = {}, {}, {}
    for clip in range(num_clips):
        frames = int(rng.integers(num_frames[0], num_frames[1] + 1))
        lengths = np.full(frames, frame_seconds) if even_frames else rng.uniform(0.02, 2 * frame_seconds, frames)
        edges = np.round(np.concatenate(([0.0], np.cumsum(lengths))), 6)
        name, end = f"clip_{clip}.wav", float(edges[-1])
        reach = end + (frame_seconds if events_beyond else 0.0)
        of_clip = [] if clip == 0 else _draw_events(rng, labels, edges, reach, events_on_edges, overlaps)
        scores[name.removesuffix(".wav")] = ScoreTable(edges, _draw_values(rng, edges, of_clip, labels, dtype), labels)
        events[name] = of_clip
        durations[name] = silent_seconds if clip == 0 else max(end, *(e.offset for e in of_clip), 0.0)
    if not any(events.values()):  # nothing to evaluate: one event in the last clip
        events[name] = [Event(0.0, durations[name], labels[0])]
    return ScoreSet(scores, EventTable(events), durations, labels)


def _draw_events(
    rng: np.random.Generator,
    labels: LabelSet,
    edges: NDArray[np.float64],
    reach: float,
    on_edges: bool,
    overlaps: bool,
) -> list[Event]:
    events = []
    for label in labels:
        if rng.random() < 0.4:
            continue
        count = 2 * int(rng.integers(1, 4))
        times = rng.choice(edges, count) if on_edges else np.round(rng.uniform(0.0, reach, count), 3)
        if overlaps:
            pairs = np.sort(times.reshape(-1, 2), axis=1)
        else:
            pairs = np.unique(times)[: 2 * (len(np.unique(times)) // 2)].reshape(-1, 2)
        events += [Event(float(on), float(off), label) for on, off in pairs.tolist() if off - on > 0.01]
    if overlaps:
        return events
    kept: list[Event] = []
    for event in sorted(events, key=lambda event: (event.event_label, event.onset)):
        if kept and kept[-1].event_label == event.event_label and event.onset - kept[-1].offset < 0.01:
            continue
        kept.append(event)
    return kept


def _draw_values(
    rng: np.random.Generator, edges: NDArray[np.float64], events: list[Event], labels: LabelSet, dtype: type
) -> NDArray[np.float64]:
    middle = (edges[1:] + edges[:-1]) / 2
    values = np.zeros((len(middle), len(labels)))
    for event in events:
        values[(middle >= event.onset) & (middle < event.offset), labels.index(event.event_label)] += 1.0
        if rng.random() < 0.3:  # heard as another class, too
            values[(middle >= event.onset) & (middle < event.offset), rng.integers(len(labels))] += 0.8
    noise = rng.normal(0.0, 0.8, values.shape)
    smooth = np.cumsum(noise, axis=0) * 0.3 if rng.random() < 0.5 else noise
    return (1.0 / (1.0 + np.exp(-2.5 * (values + smooth - 0.7)))).astype(dtype)
