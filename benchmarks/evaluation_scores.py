"""Recordings that never were: a seeded ground truth and scores like those of a trained system, clip by clip.

Scores are a sigmoid of smoothed noise, raised under the events with errors of a real system: late and early edges, weak
and missed events, events heard as another class as well, and bumps where there is nothing. Every scorer gets the same
numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from desed_task.events import Event
from desed_task.labels import LabelSet
from desed_task.scores import ScoreTable


@dataclass(frozen=True)
class Corpus:
    """What to draw. present: share of clip-classes with events; events_per_present: their mean number of events;
    noisy: share of clip-classes with bumps in their scores that mean nothing.

    frame_seconds and duration in seconds. quality: how far events raise the logits, from about `silence`. zero_below:
    lower scores are zero; if there is such a limit, so are all scores of a class of which there is no sign in the clip.
    """

    num_clips: int
    num_frames: int
    num_classes: int
    frame_seconds: float
    duration: float
    present: float = 0.2
    events_per_present: float = 1.8
    noisy: float = 0.05
    zero_below: float = 0.0
    quality: float = 3.0
    silence: float = -4.5

    @property
    def labels(self) -> LabelSet:
        """class_000, class_001, ..."""
        return LabelSet(tuple(f"class_{number:03d}" for number in range(self.num_classes)))

    @property
    def edges(self) -> NDArray[np.float64]:
        """(frames + 1,) seconds, to the microsecond, within the clip."""
        return np.minimum(np.round(np.arange(self.num_frames + 1) * self.frame_seconds, 6), self.duration)

    def audio_id(self, clip: int) -> str:
        """The name of a clip."""
        return f"clip_{clip:05d}"

    @property
    def durations(self) -> dict[str, float]:
        """audio_id -> seconds."""
        return {self.audio_id(clip): self.duration for clip in range(self.num_clips)}


# The DESED dev-test: 1168 clips of 10 s, 64 ms frames.
DEV_TEST = Corpus(1168, 156, 10, 0.064, 10.0)
AUDIOSET_STRONG = Corpus(17_000, 250, 447, 0.04, 10.0, 0.03, zero_below=0.01, quality=4.0, silence=-6.0)
ONE_HOUR = Corpus(1, 90_000, 10, 0.04, 3600.0, 1.0, events_per_present=100.0)


def small(corpus: Corpus) -> Corpus:
    """The same in a size for tests."""
    if corpus.num_clips == 1:
        return replace(corpus, num_frames=3000, duration=120.0, events_per_present=8.0)
    return replace(corpus, num_clips=40, num_classes=min(corpus.num_classes, 12))


def draw_events(corpus: Corpus, seed: int) -> dict[str, tuple[Event, ...]]:
    """audio_id -> events in order of their onset; those of one class neither overlap nor touch."""
    labels = corpus.labels
    events = {}
    for clip in range(corpus.num_clips):
        random = np.random.default_rng((seed, clip, 0))
        present = np.flatnonzero(random.random(corpus.num_classes) < corpus.present)
        drawn = [event for label in present.tolist() for event in _of_class(random, corpus, labels[label])]
        events[corpus.audio_id(clip)] = tuple(sorted(drawn, key=lambda event: event.onset))
    return events


def draw_scores(
    corpus: Corpus, events: dict[str, tuple[Event, ...]], seed: int, system: int = 0
) -> Iterator[tuple[str, ScoreTable]]:
    """(audio_id, scores) clip by clip; system: which of several systems with errors of their own."""
    labels, edges = corpus.labels, corpus.edges
    position = {label: number for number, label in enumerate(labels)}
    for clip in range(corpus.num_clips):
        audio_id = corpus.audio_id(clip)
        random = np.random.default_rng((seed, clip, 1, system))
        values = _clip_values(random, corpus, [(position[e.event_label], e.onset, e.offset) for e in events[audio_id]])
        yield audio_id, ScoreTable(edges, values, labels)


def _of_class(random: np.random.Generator, corpus: Corpus, label: str) -> Iterator[Event]:
    """Events between a like number of gaps, each a share of the clip."""
    number = 1 + int(random.poisson(corpus.events_per_present - 1))
    lengths = random.lognormal(0.0, 0.8, number)
    gaps = random.exponential(1.5, number + 1) + 0.05
    times = np.cumsum(np.stack((gaps[:-1], lengths), axis=1))
    times = np.round(times * corpus.duration / (times[-1] + gaps[-1]), 3)
    for onset, offset in times.reshape(-1, 2).tolist():
        if offset - onset >= 0.02:
            yield Event(onset, offset, label)


def _clip_values(
    random: np.random.Generator, corpus: Corpus, events: list[tuple[int, float, float]]
) -> NDArray[np.float32]:
    """(frames, classes) scores of one clip."""
    raised = np.zeros((corpus.num_classes, corpus.num_frames), dtype=np.float32)
    signs = random.random(corpus.num_classes) < corpus.noisy
    bumps = random.standard_normal((int(signs.sum()), corpus.num_frames), dtype=np.float32)
    raised[signs] = 2.0 * np.abs(_smoothed(bumps, 31))
    for label, onset, offset in events:
        edges = np.array([onset, offset]) + random.normal(0.0, 0.1, 2)
        first, last = np.clip(np.rint(edges / corpus.frame_seconds), 0, corpus.num_frames).astype(int)
        height = corpus.quality * float(random.normal(1.5, 0.6))
        heard = [(label, height)]
        if random.random() < 0.1:
            heard.append((int(random.integers(corpus.num_classes)), 0.6 * height))
        for as_label, by in heard:
            raised[as_label, first : max(last, first + 1)] += by
            signs[as_label] = True
    if not corpus.zero_below:
        signs[:] = True
    noise = random.standard_normal((int(signs.sum()), corpus.num_frames), dtype=np.float32)
    values = np.zeros_like(raised)
    values[signs] = 1.0 / (1.0 + np.exp(-(raised[signs] + 0.8 * _smoothed(noise, 7) + corpus.silence)))
    values[values < corpus.zero_below] = 0.0
    return np.ascontiguousarray(values.T)


def _smoothed(noise: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """(rows, frames) running means of `width` frames, with a standard deviation of 1."""
    summed = np.cumsum(np.pad(noise, ((0, 0), (width // 2 + 1, width - width // 2 - 1)), mode="wrap"), axis=1)
    return (summed[:, width:] - summed[:, :-width]) / np.float32(np.sqrt(width))
