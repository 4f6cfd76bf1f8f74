"""The evaluation set: what submissions are compared with, read and checked once for all of them.

A submission names its clips with or without an extension; they are matched by audio_id. Times may pass the end of a
clip: systems that work on windows of 10 s write what they hear in the padding (the published 2021 student does so in
116 detections, by up to 7.6 s), and psds_eval counts it. So a time is refused only where no clip of the set reaches,
`END_TOLERANCE_SECONDS` beyond the longest; before that it is counted and noted. Scores must reach the end of their clip
to within the same tolerance, as a last window that is not whole is often left out (9.984 s of 10 s).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from desed_task.errors import SubmissionError
from desed_task.events import EventTable, audio_id_of
from desed_task.formats.dcase import read_durations, read_strong
from desed_task.labels import DESED_LABELS, LabelSet
from desed_task.metrics.rules import DEFAULT_RULES, Rules
from desed_task.metrics.truth import build_truth

END_TOLERANCE_SECONDS = 0.5
# More clips that are not of the set are one sentence.
MAX_STRANGERS_TOLD = 3
# Clips of which so little is annotated are rather given in milliseconds.
_SUSPECT_RATIO = 100.0


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """ground_truth by filename; durations: filename -> seconds; sources: the two tables they were read from.

    score_labels: the classes of a run's scores, which its events may be of as well.
    """

    ground_truth: EventTable
    durations: Mapping[str, float]
    rules: Rules
    sources: tuple[Path, ...] = ()
    score_labels: tuple[str, ...] = ()

    @cached_property
    def seconds_of(self) -> Mapping[str, float]:
        """audio_id -> seconds of the clip."""
        return {audio_id_of(filename): seconds for filename, seconds in self.durations.items()}

    @cached_property
    def longest(self) -> float:
        """Seconds of the longest clip."""
        return max(self.durations.values())

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the set as a whole, though it can be used."""
        last = float(self.ground_truth.offset.max())
        typical = float(np.median(list(self.durations.values())))
        if typical < _SUSPECT_RATIO * last:
            return ()
        return (
            f"clips of {typical:g} s (median), but no event of the ground truth ends after {last:g} s: false alarms "
            "per hour and PSDS are wrong if the durations are not in seconds",
        )

    @cached_property
    def truth_labels(self) -> tuple[str, ...]:
        """The classes that occur in the ground truth, sorted."""
        return self.ground_truth.labels()

    @cached_property
    def event_labels(self) -> LabelSet:
        """The classes that events may be of: those of truth and scores; all ten of DESED where there is no other."""
        known = {*self.truth_labels, *self.score_labels}
        return LabelSet(DESED_LABELS if known <= set(DESED_LABELS) else sorted(known))

    def same_source(self, path: Path) -> bool:
        """Whether `path` is one of the two tables, and so no part of a submission."""
        # Resolving a path asks the disk, so only what is called alike is: a folder holds thousands of tables.
        alike = [source for source in self.sources if source.name.lower() == path.name.lower()]
        return any(path.resolve() == source.resolve() for source in alike)


def read_evaluation_set(ground_truth: Path, durations: Path, rules: Rules = DEFAULT_RULES) -> EvaluationSet:
    """Read both tables. EventTableError when one cannot be read, they do not fit, or events of a class overlap."""
    evaluation_set = EvaluationSet(
        read_strong(ground_truth), read_durations(durations), rules, (ground_truth, durations)
    )
    if not evaluation_set.durations:
        raise SubmissionError(f"{durations}: no clip is listed; give filename and duration of each")
    if not evaluation_set.truth_labels:
        raise SubmissionError(f"{ground_truth}: no event is listed; PSDS and F1 need events")
    build_truth(evaluation_set.ground_truth, evaluation_set.durations, LabelSet(evaluation_set.truth_labels), rules)
    return evaluation_set
