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

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from desed_task.audio.reading import Waveform
from desed_task.bundle import Bundle
from desed_task.errors import AudioError, OptionsError
from desed_task.events import Event
from desed_task.options import Options
from desed_task.postprocessing.pipeline import build_postprocessing
from desed_task.scores import Scores
from desed_task.window_cutter import WindowCutter

# Integer-scaled float files reach 2^31; the square of more than this soon leaves float32.
_LARGEST_SAMPLE = 2.0**32


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
        self.labels = options.labels or bundle.labels.names
        unknown = [name for name in self.labels if name not in bundle.labels]
        if isinstance(options.thresholds, dict):
            unknown += [name for name in options.thresholds if name not in bundle.labels and name != "default"]
        if unknown:
            raise OptionsError(f"{unknown[0]!r} is not a class; the classes are {', '.join(bundle.labels)}")
        self._postprocessing = build_postprocessing(bundle.postprocessing, bundle.labels, bundle.grid)
        self._thresholds = self._postprocessing.thresholds
        if isinstance(options.thresholds, dict):
            said, other = options.thresholds, options.thresholds.get("default")
            own = zip(bundle.labels, self._thresholds, strict=True)
            self._thresholds = tuple(said.get(name, value if other is None else other) for name, value in own)
        elif options.thresholds is not None:
            self._thresholds = (options.thresholds,) * len(bundle.labels)

    def begin(self) -> Hearing:
        """A new recording."""
        return Hearing.planned(self)

    def decide(self, scores: Scores) -> Detections:
        """Scores of the whole recording -> events and tags."""
        filtered = self._postprocessing.filter(scores)
        events = self._postprocessing.detect_at(filtered, self._thresholds)
        kept = tuple(e for e in events if e.event_label in self.labels and e.duration >= self.options.min_duration)
        tags = tuple(tag for tag in self._postprocessing.tags(scores) if tag[0] in self.labels)
        frames = scores.frame_values if self.options.frames else None
        if frames is not None and self.options.labels is not None:
            frames = frames[:, [scores.labels.index(name) for name in self.labels]]
        return Detections(kept, tags, frames, self.labels, scores.duration)


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
        self._plan = plan
        self._cutter = WindowCutter(plan.bundle.windowing)
        self._said: list[WindowScores] = []

    @property
    def num_samples(self) -> int:
        """Samples that were fed, at the bundle's rate."""
        return self._cutter.num_samples

    def feed(self, block: Waveform) -> list[Waveform]:
        """(samples,) float32 -> the windows that are now complete. AudioError when it is no sound."""
        require_sound(block)
        return self._cutter.feed(block)

    def end(self) -> list[Waveform]:
        """The last windows, at least one in all; AudioError when nothing was fed."""
        if self._cutter.num_samples == 0:
            raise AudioError("audio: holds no samples")
        return self._cutter.end()

    def said(self, scores: WindowScores) -> None:
        """The scores of the next windows, in the order in which they were given out."""
        self._said.append(scores)

    def result(self) -> Detections:
        """Events, tags, and frames when asked for; after `end`, and after something was said of every window."""
        bundle = self._plan.bundle
        strong = [scores.strong for scores in self._said if scores.strong is not None]
        weak = np.concatenate([scores.weak for scores in self._said])
        frames = np.concatenate(strong) if strong else None
        scores = bundle.windowing.stitch(frames, weak, bundle.labels, self.num_samples)
        return self._plan.decide(scores)


def require_sound(waveform: Waveform) -> None:
    """AudioError when a waveform is not (samples,), or holds NaN, infinite or absurdly large samples."""
    if waveform.ndim != 1:
        raise AudioError(f"a waveform is (samples,), got {waveform.shape}; average the channels")
    # not (x <= y) also catches NaN
    if waveform.size and not (float(waveform.max()) <= _LARGEST_SAMPLE and float(waveform.min()) >= -_LARGEST_SAMPLE):
        raise AudioError("audio: holds NaN, infinite or absurdly large samples; export it again as PCM")
