"""What the page of an evaluation shows: one `SystemView` per system, filled by whoever evaluated it.

    Page
      title, subtitle          "Evaluation", "DESED dev-test, 1168 clips"
      rules                    name -> value in words: ct_mean, overlap, empty_clips, ... (shown below the figures)
      warnings                 sentences about the set as a whole, shown first
      standings                several systems ranked, for the leaderboard on top; empty for none
      systems                  one or several `SystemView`
        name
        files_present/expected a difference is a warning of its own
        headlines              figures in large type, each with spread and interval; same names in every system
        psds1, psds2           `metrics.psds.Psds` with curves, or None: no frames, no events
        per_class              class -> PSDS1, PSDS2, collar F1 and the number of events
        operating_curve        precision, recall and F1 over the threshold, or None
        operating_point        in words, for the timelines: "threshold 0.5, median filter 0.45 s"
        timelines              the clips to draw, see `worst_clips`
        warnings               sentences about this system

Everything undefined is None (not-a-number inside arrays), and is drawn as nothing or as an en dash. Times are seconds,
figures fractions. Names may hold any characters: the page escapes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.psds import Psds
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2
from desed_task.submission.leaderboard import Figure, Standing

Status = Literal["found", "missed", "false"]


@dataclass(frozen=True)
class Headline:
    """One figure in large type; meaning: a sentence for the tooltip."""

    name: str
    figure: Figure
    decimals: int = 3
    unit: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class ClassFigures:
    """One class, fractions in [0, 1]."""

    psds1: float | None = None
    psds2: float | None = None
    collar_f1: float | None = None
    num_events: int | None = None


@dataclass(frozen=True)
class OperatingPoint:
    """One threshold and what it gives."""

    threshold: float
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


@dataclass(frozen=True, eq=False)
class OperatingCurve:
    """thresholds: (points,) ascending, in [0, 1]; precision, recall, f1: (points,), not-a-number where undefined.

    The values of a threshold hold down to the threshold before it (decision: score >= threshold). criterion: in words,
    for the caption. best: the point with the highest F1; given: the one at which the system was submitted.
    """

    criterion: str
    thresholds: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    best: OperatingPoint | None = None
    given: OperatingPoint | None = None


@dataclass(frozen=True)
class MarkedEvent:
    """An event and what became of it: of the reference found or missed, of the detections found (right) or false."""

    onset: float
    offset: float
    event_label: str
    status: Status


@dataclass(frozen=True)
class Timeline:
    """One clip: its name, its duration in seconds, and its events, in any order."""

    audio_id: str
    duration: float
    reference: tuple[MarkedEvent, ...]
    detected: tuple[MarkedEvent, ...]


@dataclass(frozen=True, eq=False)
class SystemView:
    """One system; see the top of this file."""

    name: str
    headlines: tuple[Headline, ...] = ()
    psds1: Psds | None = None
    psds2: Psds | None = None
    per_class: Mapping[str, ClassFigures] = field(default_factory=dict)
    operating_curve: OperatingCurve | None = None
    operating_point: str = ""
    timelines: tuple[Timeline, ...] = ()
    files_present: int | None = None
    files_expected: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Page:
    """The whole page; max_efpr: false alarms per hour up to which the curves of each scenario are drawn."""

    title: str
    systems: tuple[SystemView, ...]
    subtitle: str = ""
    rules: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    standings: tuple[Standing, ...] = ()
    max_efpr: tuple[float, float] = (PSDS_SCENARIO_1.max_efpr, PSDS_SCENARIO_2.max_efpr)


def worst_clips(
    audio_ids: Sequence[str], num_missed: NDArray[np.integer], num_false: NDArray[np.integer], limit: int = 8
) -> tuple[str, ...]:
    """The clips with the most errors (missed events and false alarms) at an operating point, the worst first.

    num_missed, num_false: (clips,). Among equals those with more missed events come first, then by name; clips without
    errors are never among them.
    """
    errors = [(int(missed), int(false)) for missed, false in zip(num_missed, num_false, strict=True)]
    ranked = sorted(zip(errors, audio_ids, strict=True), key=lambda row: (-sum(row[0]), -row[0][0], row[1]))
    return tuple(audio_id for (missed, false), audio_id in ranked[:limit] if missed + false)
