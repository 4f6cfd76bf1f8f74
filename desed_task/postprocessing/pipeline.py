"""PostProcessing: what stands between a model's scores and its events, one object for evaluation and for the service.

scores -> median filter -> threshold -> runs of active frames -> events in seconds, cut at the clip's end. Its options
are stored with the model, so what was measured is what is served.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, field_validator

from desed_task.decoding import EventDecoder
from desed_task.errors import DesedTaskError, OptionsError
from desed_task.events import Event
from desed_task.labels import LabelSet
from desed_task.options import Options, read_options, write_options
from desed_task.postprocessing.median import median_filter
from desed_task.postprocessing.thresholds import decide
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid

# DESED baselines 2021-2024: 7 frames of 64 ms, one threshold for all classes.
MEDIAN_FILTER_SECONDS = 0.448
THRESHOLD = 0.5
# In a mapping of classes to values, stands for every class that is not named.
OTHER_CLASSES = "default"

PerClass = float | dict[str, float]


class PostProcessingOptions(Options):
    """How scores become events."""

    median_filter_seconds: PerClass = Field(
        default=MEDIAN_FILTER_SECONDS,
        description="Window of the median filter in seconds, one number or class: seconds (`default` for the others).",
    )
    threshold: PerClass = Field(
        default=THRESHOLD,
        description="A class is active where its score is above this, one number or class: value (`default` likewise).",
    )

    @field_validator("median_filter_seconds")
    @classmethod
    def _check_median_filter(cls, value: PerClass) -> PerClass:
        return _checked(value, lambda x: math.isfinite(x) and x >= 0, "a number of seconds, 0 (no filter) or more")

    @field_validator("threshold")
    @classmethod
    def _check_threshold(cls, value: PerClass) -> PerClass:
        return _checked(value, lambda x: 0 < x < 1, "between 0 and 1, both excluded")


class _PostProcessingFile(Options):
    """A conf that says nothing but how scores become events."""

    postprocessing: PostProcessingOptions = Field(description="How scores become events.")


@dataclass(frozen=True)
class PostProcessing:
    """Scores of one system -> events and tags. Built by `build_postprocessing`.

    median_filter_seconds, thresholds: (classes,) in the order of `labels`.
    """

    labels: LabelSet
    grid: FrameGrid
    median_filter_seconds: tuple[float, ...]
    thresholds: tuple[float, ...]

    def filter(self, scores: Scores) -> Scores:
        """The median-filtered scores; they need no more than a threshold to become decisions."""
        if scores.grid != self.grid:
            raise DesedTaskError(
                f"the scores have frames of {scores.grid.frame_seconds:g} s, the post-processing is set up for "
                f"{self.grid.frame_seconds:g} s ({self.grid}); use the one stored with the model"
            )
        if scores.labels != self.labels:
            raise DesedTaskError(
                f"the scores are of the classes {', '.join(scores.labels)}, "
                f"the post-processing of {', '.join(self.labels)}; use the one stored with the model"
            )
        return median_filter(scores, self.median_filter_seconds)

    def detect(self, scores: Scores) -> list[Event]:
        """Events of the clip, sorted by onset, each with the mean of its filtered frame scores as `score`."""
        return self.detect_at(self.filter(scores))

    def detect_at(self, filtered: Scores, threshold: float | Sequence[float] | None = None) -> list[Event]:
        """Events of already filtered scores at another threshold, one or (classes,) (None: the system's own).

        Scores without frames have no events.
        """
        values = filtered.frame_values
        if values is None:
            return []
        values = values[: filtered.grid.frames_covering(filtered.duration)]
        decoder = EventDecoder(filtered.labels.names, filtered.grid)
        decoder.feed(decide(values, self.thresholds if threshold is None else threshold), values)
        return decoder.end(filtered.duration)

    def tags(self, scores: Scores) -> list[tuple[str, float]]:
        """Every class with its score for the whole clip, the highest first."""
        order = np.argsort(-scores.clip_values, kind="stable")
        return [(scores.labels[position], float(scores.clip_values[position])) for position in order]


def build_postprocessing(options: PostProcessingOptions, labels: LabelSet, grid: FrameGrid) -> PostProcessing:
    """The post-processing of a system; OptionsError when a value is for an unknown class or a class has none."""
    return PostProcessing(
        labels,
        grid,
        per_class(options.median_filter_seconds, labels, "median_filter_seconds"),
        per_class(options.threshold, labels, "threshold"),
    )


def read_postprocessing(path: Path, labels: LabelSet) -> PostProcessingOptions:
    """The one section `postprocessing` of a file, such as `tune_postprocessing.py` writes, with values for `labels`.

    OptionsError when the file says anything else, or names other classes.
    """
    options = read_options(path, _PostProcessingFile).postprocessing
    try:
        per_class(options.median_filter_seconds, labels, "postprocessing.median_filter_seconds")
        per_class(options.threshold, labels, "postprocessing.threshold")
    except OptionsError as error:
        raise OptionsError(f"{path}: {error}") from None
    return options


def write_postprocessing(options: PostProcessingOptions, path: Path) -> None:
    """Write the file that `read_postprocessing` reads back to the same; its section may be pasted into a conf."""
    write_options(_PostProcessingFile(postprocessing=options), path)


def _checked(value: PerClass, is_valid: Callable[[float], bool], rule: str) -> PerClass:
    for name, number in value.items() if isinstance(value, Mapping) else [("", value)]:
        if not is_valid(number):
            raise ValueError(f"{number:g}{f' of {name}' if name else ''} is not {rule}")
    return value


def per_class(value: PerClass, labels: LabelSet, key: str) -> tuple[float, ...]:
    """(classes,) values of one option; OptionsError, which names `key`, for an unknown class or one without value."""
    if not isinstance(value, Mapping):
        return (float(value),) * len(labels)
    unknown = [name for name in value if name not in labels and name != OTHER_CLASSES]
    if unknown:
        raise OptionsError(f"{key}: {unknown[0]!r} is not a class; the classes are {', '.join(labels)}")
    missing = [name for name in labels if name not in value]
    if missing and OTHER_CLASSES not in value:
        raise OptionsError(f"{key}: no value for {missing[0]!r}; add it, or `{OTHER_CLASSES}` for the other classes")
    return tuple(float(value[name] if name in value else value[OTHER_CLASSES]) for name in labels)
