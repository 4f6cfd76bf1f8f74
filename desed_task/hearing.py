"""Hearing: one recording heard bit by bit. Blocks of samples in, windows out; scores of windows in, detections out.

    hearing = Hearing(bundle, options)
    for block in blocks:
        windows = hearing.feed(block)          # the windows that are now complete, each (window_samples,) float32
        ... what runs the graph says `hearing.said(scores)` of them, in order, now or later
    windows = hearing.end()                    # the last ones, at least one window in all
    detections = hearing.result()              # when something was said of every window

Whoever has many recordings prepares once what depends on bundle and options alone: `plan = Hearing.plan(bundle,
options)`, then `plan.begin()` for each. A hearing belongs to one thread at a time; a plan may be shared.

The result is that of the whole waveform (`Detector.scores`, then `decide`): both go through the same cutting,
stitching, filtering and joining.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from desed_task.audio.waveform import Waveform
from desed_task.bundle import Bundle
from desed_task.decoding import EventDecoder
from desed_task.errors import AudioError, OptionsError
from desed_task.events import Event
from desed_task.frame_stitcher import FrameStitcher
from desed_task.options import Options
from desed_task.postprocessing.pipeline import OTHER_CLASSES, build_postprocessing
from desed_task.postprocessing.running_median import MedianStream, filter_grouped, grouped
from desed_task.scores import Scores
from desed_task.window_cutter import WindowCutter

# Floats that hold integers of 32 bits are below; the square of far more leaves float32.
_LARGEST_SAMPLE = 1e10


class DetectionOptions(Options):
    """What is asked of one recording."""

    thresholds: float | dict[str, float] | None = Field(
        None,
        description="a class is active where its score is above this: one number, or class: value (the others keep the "
        "bundle's, or take that of `default`); null takes the bundle's",
    )
    labels: tuple[str, ...] | None = Field(None, description="the classes that are listed; null lists every class")
    min_duration: float = Field(0.0, ge=0, description="shorter events are left out, in seconds")
    frames: bool = Field(False, description="whether the frame scores are kept and given")

    @field_validator("thresholds")
    @classmethod
    def _check_thresholds(cls, value: float | dict[str, float] | None) -> float | dict[str, float] | None:
        for number in value.values() if isinstance(value, dict) else () if value is None else (value,):
            if not 0.0 <= number <= 1.0:
                raise ValueError(f"{number:g} is not from 0 to 1")
        return value


class WindowScores(NamedTuple):
    """What is said of some windows. strong: (windows, frames, classes), None without; weak: (windows, classes)."""

    strong: NDArray[np.float32] | None
    weak: NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Detections:
    """What is heard in one recording.

    events: sorted by onset; tags: (label, score) of every class, highest first; frames: (frames, classes) float32, the
    scores before filters and thresholds, when asked for and there are any; labels: the classes of its columns;
    duration: seconds.
    """

    events: tuple[Event, ...]
    tags: tuple[tuple[str, float], ...]
    frames: NDArray[np.float32] | None = None
    labels: tuple[str, ...] = ()
    duration: float = 0.0


class HearingPlan:
    """What every hearing with this bundle and these options shares. OptionsError when they do not fit its classes."""

    def __init__(self, bundle: Bundle, options: DetectionOptions) -> None:
        self.bundle = bundle
        self.options = options
        self._require_classes(options.labels or ())
        post = build_postprocessing(bundle.postprocessing, bundle.labels, bundle.grid)
        chosen = [label for label, name in enumerate(bundle.labels) if options.labels is None or name in options.labels]
        thresholds = self._thresholds(post.thresholds)
        self.labels = tuple(bundle.labels[label] for label in chosen)
        self.thresholds = np.array([thresholds[label] for label in chosen], dtype=np.float32)
        self.medians = grouped([bundle.grid.odd_frames_in(post.median_filter_seconds[label]) for label in chosen])
        self._columns = None if len(chosen) == len(bundle.labels) else np.array(chosen)

    def begin(self) -> Hearing:
        """A new recording."""
        return Hearing.planned(self)

    def decide(self, scores: Scores) -> Detections:
        """Scores of a whole recording -> what is heard in it."""
        decoder = self.decoder()
        frames = scores.frame_values
        if frames is not None:
            frames = self.chosen(frames)
            self.decode(filter_grouped(frames[: scores.grid.frames_covering(scores.duration)], self.medians), decoder)
        return self.detections(decoder, scores.clip_values, frames, scores.duration)

    def chosen(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., classes) of the bundle -> (..., classes) that are listed."""
        return values if self._columns is None else values[..., self._columns]

    def decoder(self) -> EventDecoder:
        """What makes events of decisions, for one recording."""
        return EventDecoder(self.labels, self.bundle.grid, self.options.min_duration)

    def decode(self, filtered: NDArray[np.float32], decoder: EventDecoder) -> None:
        """Filtered frames -> decisions -> events."""
        decoder.feed(filtered > self.thresholds, filtered)

    def detections(
        self,
        decoder: EventDecoder,
        clip_values: NDArray[np.float32],
        frames: NDArray[np.float32] | None,
        duration: float,
    ) -> Detections:
        """What is heard, when all frames are decoded."""
        listed = self.chosen(clip_values)
        order = np.argsort(-listed, kind="stable")
        tags = zip([self.labels[label] for label in order.tolist()], listed[order].tolist(), strict=True)
        return Detections(
            tuple(decoder.end(duration)),
            tuple(tags),
            frames if self.options.frames else None,
            self.labels,
            duration,
        )

    def _thresholds(self, own: Sequence[float]) -> Sequence[float]:
        """(classes,) of the bundle, with what the options say."""
        asked, labels = self.options.thresholds, self.bundle.labels
        if asked is None:
            return own
        if not isinstance(asked, dict):
            return [asked] * len(labels)
        self._require_classes(name for name in asked if name != OTHER_CLASSES)
        others = asked.get(OTHER_CLASSES)
        return [asked.get(name, own[label] if others is None else others) for label, name in enumerate(labels)]

    def _require_classes(self, names: Iterable[str]) -> None:
        unknown = next((name for name in names if name not in self.bundle.labels), None)
        if unknown is not None:
            raise OptionsError(f"{unknown!r} is not a class; the classes are {', '.join(self.bundle.labels)}")


class Hearing:
    """One recording; see the top."""

    def __init__(self, bundle: Bundle, options: DetectionOptions | None = None) -> None:
        self._begin(self.plan(bundle, options))

    @staticmethod
    def plan(bundle: Bundle, options: DetectionOptions | None = None) -> HearingPlan:
        """What may be kept for many recordings; OptionsError when the options do not fit the bundle's classes."""
        return HearingPlan(bundle, options or DetectionOptions())

    @classmethod
    def planned(cls, plan: HearingPlan) -> Hearing:
        """A new recording with what was prepared."""
        hearing = cls.__new__(cls)
        hearing._begin(plan)
        return hearing

    def _begin(self, plan: HearingPlan) -> None:
        view = plan.bundle.windowing
        self._plan = plan
        self._cutter = WindowCutter(view)
        self._pool = view.clip_pool()
        self._num_said = 0
        if plan.bundle.has_frames:
            self._stitcher = FrameStitcher(view)
            self._medians = MedianStream(plan.medians)
        self._decoder = plan.decoder()
        self._kept: list[NDArray[np.float32]] = []

    @property
    def num_samples(self) -> int:
        """Samples that were fed, at the bundle's rate."""
        return self._cutter.num_samples

    def feed(self, block: Waveform) -> list[Waveform]:
        """(samples,) float32 -> the windows that are now complete.

        The block is sound, as those of `audio.stream` are (else see `require_sound`), and does not change any more:
        windows may share its memory.
        """
        return self._cutter.feed(block)

    def end(self) -> list[Waveform]:
        """The last windows, at least one in all; AudioError when nothing was fed."""
        if self._cutter.num_samples == 0:
            raise AudioError("audio: holds no samples")
        return self._cutter.end()

    def said(self, scores: WindowScores) -> None:
        """The scores of the next windows, at least one, in the order in which they were given out."""
        first = self._num_said
        self._num_said += len(scores.weak)
        self._pool.add(scores.weak)
        if scores.strong is not None:
            starts = self._cutter.starts(first, self._num_said)
            certain = self._stitcher.feed(scores.strong, starts, self._cutter.num_samples)
            if len(certain):
                certain = self._keep(certain)
                self._plan.decode(self._medians.feed(certain), self._decoder)

    def result(self) -> Detections:
        """What is heard; once, after `end`, and after something was said of every window."""
        assert 0 < self._num_said == self._cutter.num_windows, "every window needs its scores"
        num_samples, plan = self._cutter.num_samples, self._plan
        if plan.bundle.has_frames:
            last = self._keep(self._stitcher.end(num_samples))
            plan.decode(self._medians.end(last), self._decoder)
        frames = np.concatenate(self._kept) if self._kept else None
        return plan.detections(self._decoder, self._pool.pooled(), frames, num_samples / plan.bundle.sample_rate)

    def _keep(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """The classes that are listed, kept when they are asked for."""
        listed = self._plan.chosen(frames)
        if self._plan.options.frames:
            # What comes of a window must not keep the whole batch alive.
            self._kept.append(listed.copy())
        return listed


def require_sound(waveform: Waveform) -> None:
    """AudioError when a waveform is not (samples,), or holds NaN, infinite or absurdly large samples."""
    if waveform.ndim != 1:
        raise AudioError(f"a waveform is (samples,), got {waveform.shape}; average the channels")
    # not (x <= y) also catches NaN
    if waveform.size and not (float(waveform.max()) <= _LARGEST_SAMPLE and float(waveform.min()) >= -_LARGEST_SAMPLE):
        raise AudioError("audio: holds NaN, infinite or absurdly large samples; export it again as PCM")
