"""TagReport: everything that is measured about one tagger on one set of clips.

mAP, mean AUC and d' (`tag_ranking`, `dprime`), of the set and of each class, accuracy where every clip has exactly one
class, and F1 at 0.5 (`tagging`), with 95 % intervals over clips. All are fractions in [0, 1] but d', and None (null)
where undefined. Classes that cannot be ranked (no clip holds them, or every clip) are left out of the means and named
in `warnings`.

The published code (PSLA, AST, fsd50k-pytorch, GISE-51) lets scikit-learn's loop over classes give the same mAP and AUC,
and stops, or counts 0, where a class has no positives.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError
from desed_task.labels import LabelSet
from desed_task.metrics.bootstrap import Interval
from desed_task.metrics.dprime import dprime, dprimes
from desed_task.metrics.tag_ranking import TagRanking, TagScores, mean_defined, rank_tags
from desed_task.metrics.tag_samples import interval_of_tags
from desed_task.metrics.tag_thresholds import best_micro_f1
from desed_task.metrics.tagging import tagging_f1
from desed_task.metrics.uncertainty import NUM_SAMPLES
from desed_task.scores import Scores

CONVENTIONS = (
    "map: macro average precision, the mean over the classes that some clips hold and others do not",
    "mauc: the mean of the same classes' areas under the ROC curve",
    "dprime: sqrt(2) times the normal quantile of mauc, as in published tables",
    "dprime_per_class_mean: the mean of the classes' own d', without classes whose AUC is 0 or 1",
    "accuracy: the class of the highest score is the clip's; where every clip has one class",
    "tagging F1: clip score > 0.5; macro: mean over the classes of the reference",
    "best: at the thresholds of the classes that make micro F1 highest, which only the ground truth tells",
)


@dataclass(frozen=True)
class TagClassReport:
    """One class: how well clips with it are told from others, and how many there are."""

    average_precision: float | None
    auc: float | None
    dprime: float | None
    tagging_f1: float | None
    num_clips: int
    best_threshold: float | None = None


@dataclass(frozen=True)
class TagReport:
    """Figures of one tagger. What training measured is filled in by who knows it (`dataclasses.replace`)."""

    map: float | None
    mauc: float | None
    dprime: float | None
    dprime_per_class_mean: float | None
    accuracy: float | None
    tagging_f1_macro: float | None
    tagging_f1_micro: float | None
    per_class: Mapping[str, TagClassReport]
    files_present: int
    files_expected: int
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    tagging_f1_best_micro: float | None = None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    val_loss: float | None = None
    energy_kwh_training: float | None = None
    energy_kwh_inference: float | None = None
    energy_kwh_scoring: float | None = None
    energy_estimated: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """The flat mapping that `report.json` holds."""
        figures = dict(vars(self))
        figures["per_class"] = {label: asdict(of_class) for label, of_class in self.per_class.items()}
        figures["intervals"] = {name: [interval.low, interval.high] for name, interval in self.intervals.items()}
        figures["scorer"] = {"conventions": list(CONVENTIONS), "clips_evaluated": self.files_present}
        return {**figures, "warnings": list(self.warnings), "problems": list(self.problems)}


def evaluate_tags(
    scores: Mapping[str, NDArray[np.float32]],
    truth: Mapping[str, Collection[str]],
    labels: LabelSet,
    *,
    num_samples: int = NUM_SAMPLES,
    groups: Mapping[str, str] | None = None,
    files_expected: int | None = None,
) -> TagReport:
    """scores: audio_id -> (classes,); truth: audio_id -> its class names, for at least the clips with scores.

    num_samples: of the bootstrap, 0 for no intervals; groups: audio_id -> its recording, where clips of one recording
    are to be drawn together. files_expected: clips of the set when complete, by default those of the truth. Clips
    without scores are left out, with a warning. DesedTaskError when the inputs do not fit one another.
    """
    values = stack_scores(scores, labels)
    present = encode_tags(truth, tuple(scores), labels)
    ranking = rank_tags(values, present)
    f1, best = tagging_f1(scores, truth, labels), best_micro_f1(ranking)
    expected = len(truth) if files_expected is None else files_expected
    of_class = dprimes(ranking.auc)
    drawn_together = None if groups is None else [groups[audio_id] for audio_id in scores]
    return TagReport(
        map=_defined(mean_defined(ranking.average_precision)),
        mauc=_defined(mean_defined(ranking.auc)),
        dprime=_defined(dprime(mean_defined(ranking.auc))),
        dprime_per_class_mean=_defined(mean_defined(of_class)),
        accuracy=_defined(accuracy(values, present)),
        tagging_f1_macro=f1.macro,
        tagging_f1_micro=f1.micro,
        per_class={
            label: TagClassReport(
                average_precision=_defined(ranking.average_precision[position]),
                auc=_defined(ranking.auc[position]),
                dprime=_defined(of_class[position]),
                tagging_f1=f1.per_class[label].f1 if label in f1.per_class else None,
                num_clips=int(ranking.num_positive[position]),
                best_threshold=_defined(best.thresholds[position]),
            )
            for position, label in enumerate(labels)
        },
        files_present=len(scores),
        files_expected=expected,
        warnings=_warnings(ranking, of_class, labels, len(scores), expected),
        tagging_f1_best_micro=best.micro_f1,
        intervals=interval_of_tags(values, present, num_samples, groups=drawn_together),
    )


def evaluate_clip_scores(
    scores: Mapping[str, Scores], truth: Mapping[str, Collection[str]], labels: LabelSet, **options: Any
) -> TagReport:
    """As `evaluate_tags`, from the clip values of Scores; options: those of `evaluate_tags`."""
    return evaluate_tags({audio_id: clip.clip_values for audio_id, clip in scores.items()}, truth, labels, **options)


def stack_scores(scores: Mapping[str, NDArray[np.float32]], labels: LabelSet) -> TagScores:
    """(clips, classes) in the order of the mapping; DesedTaskError for none, other widths or numbers not finite."""
    if not scores:
        raise DesedTaskError("no clip has scores; there is nothing to evaluate")
    for audio_id, of_clip in scores.items():
        if of_clip.shape != (len(labels),):
            raise DesedTaskError(f"{audio_id}: scores of shape {of_clip.shape} do not fit {len(labels)} classes")
    values: TagScores = np.stack(list(scores.values()))
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise DesedTaskError(f"{tuple(scores)[int(finite.argmin())]}: has a score that is not a finite number")
    return values


def encode_tags(truth: Mapping[str, Collection[str]], audio_ids: Sequence[str], labels: LabelSet) -> NDArray[np.bool_]:
    """(clips, classes) whether the clip holds the class; DesedTaskError for a clip or a class that is not known."""
    present = np.zeros((len(audio_ids), len(labels)), dtype=np.bool_)
    for row, audio_id in enumerate(audio_ids):
        if audio_id not in truth:
            raise DesedTaskError(f"{audio_id}: has scores and no entry in the ground truth; evaluate clips with labels")
        for label in truth[audio_id]:
            if label not in labels:
                raise DesedTaskError(f"{audio_id}: class {label!r} of the ground truth is not in the label set")
            present[row, labels.index(label)] = True
    return present


def accuracy(values: TagScores, present: NDArray[np.bool_]) -> float:
    """The share of clips whose class has the highest score (the first of equals); NaN unless every clip has one."""
    if not (present.sum(axis=1) == 1).all():
        return math.nan
    return float((values.argmax(axis=1) == present.argmax(axis=1)).mean())


def _warnings(
    ranking: TagRanking, of_class: NDArray[np.float64], labels: LabelSet, files_present: int, files_expected: int
) -> tuple[str, ...]:
    found = []
    if files_present != files_expected:
        found.append(f"{files_present} of {files_expected} files present: not comparable with published numbers")
    for why, count in (("no clip holds", ranking.num_positive), ("every clip holds", ranking.num_negative)):
        names = [label for label, number in zip(labels, count, strict=True) if number == 0]
        if names:
            found.append(f"{why} {_listing(names)}: left out of map, mauc and dprime")
    perfect = np.isnan(of_class) & ~np.isnan(ranking.auc)
    names = [label for label, there in zip(labels, perfect, strict=True) if there]
    if names:
        found.append(f"{_listing(names)}: AUC 0 or 1, left out of dprime_per_class_mean")
    return tuple(found)


def _listing(names: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more classes" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _defined(value: float) -> float | None:
    """None where it is no finite number."""
    return float(value) if math.isfinite(value) else None
