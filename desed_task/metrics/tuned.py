"""What tuning the post-processing gains, said honestly: three figures of each kind, of the same clips.

untuned       the default settings
out of fold   every clip post-processed by settings that were chosen without it and without its source's other clips
in sample     every clip post-processed by settings that were chosen on it, too: optimistic, not a result

The settings that are handed over are chosen on all clips; the out-of-fold figure estimates what they give on others.
The interval of the gain is a paired bootstrap over sources (`bootstrap`) with the choices as they were made: it says
how other clips of these folds would fall, not how other choices would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.metrics.bootstrap import Difference, draw_samples, sample_figures
from desed_task.metrics.folds import FoldSettings
from desed_task.metrics.tuning import Tuning
from desed_task.postprocessing.search import Measured, Settings, Weights, search_folds, search_settings

CONVENTIONS = (
    "decision: score > threshold, after the median filter; the clip is continued by its mirror image",
    "untuned: the default settings on all clips",
    "out_of_fold: each clip with settings chosen without it and without its source's other clips",
    "in_sample_not_a_result: each clip with settings that were chosen on it, too; optimistic",
    "gain: out_of_fold less untuned, percentile interval of a paired bootstrap over sources, choices as they were made",
    "psds: exact, mean - standard deviation over classes; per class: the area of the class alone",
    "F1: macro over the classes with events; per class: at the best threshold of the length",
    "ties: the length nearest to the default, then the shorter; the threshold nearest to the default",
)


@dataclass(frozen=True)
class TunedFigure:
    """One figure on all clips, None where undefined; gain: out of fold less untuned."""

    untuned: float | None
    out_of_fold: float | None
    in_sample_not_a_result: float | None
    gain: Difference


@dataclass(frozen=True, eq=False)
class Tuned:
    """Settings, and what they give. class_figures: (lengths, classes) of the objective on all clips."""

    objective: str
    decided_by: str
    labels: tuple[str, ...]
    lengths_seconds: NDArray[np.float64]
    default: Settings
    chosen: Settings
    of_folds: Sequence[Settings]
    class_figures: NDArray[np.float64]
    num_events: NDArray[np.int64]
    figures: dict[str, TunedFigure]

    def seconds(self, settings: Settings) -> dict[str, float]:
        """label -> median filter length of some settings."""
        return dict(zip(self.labels, self.lengths_seconds[settings.lengths].tolist(), strict=True))

    def thresholds(self, settings: Settings) -> dict[str, float]:
        """label -> threshold of some settings."""
        return dict(zip(self.labels, settings.thresholds.tolist(), strict=True))

    @property
    def without_events(self) -> list[str]:
        """Classes that keep their default, as no clip says anything about them."""
        return [label for label, count in zip(self.labels, self.num_events.tolist(), strict=True) if not count]

    def to_json(self) -> dict[str, Any]:
        """The part of `tuning.json` that the search knows."""
        return {
            "objective": self.objective,
            "thresholds_by": self.decided_by,
            "figures": {name: asdict(figure) for name, figure in self.figures.items()},
            "classes_without_events_keep_default": self.without_events,
            "median_filter_seconds_tried": self.lengths_seconds.tolist(),
            "classes": {label: self._class_json(position) for position, label in enumerate(self.labels)},
            "conventions": list(CONVENTIONS),
        }

    def _class_json(self, label: int) -> dict[str, Any]:
        def settings_of(settings: Settings) -> dict[str, float]:
            seconds = float(self.lengths_seconds[settings.lengths[label]])
            return {"median_filter_seconds": seconds, "threshold": float(settings.thresholds[label])}

        figures = [None if np.isnan(value) else float(value) for value in self.class_figures[:, label]]
        return {
            "events": int(self.num_events[label]),
            "default": settings_of(self.default),
            "chosen": settings_of(self.chosen),
            "of_folds": [settings_of(settings) for settings in self.of_folds],
            "folds_that_chose_the_same_length": self.agreement(label),
            f"in_sample_{self.objective}_by_length": figures,
        }

    def agreement(self, label: int) -> int:
        """In how many folds the class chose the length that it has on all clips."""
        return sum(int(settings.lengths[label] == self.chosen.lengths[label]) for settings in self.of_folds)

    def fold_lengths(self, label: int) -> list[tuple[float, int]]:
        """(seconds, folds that chose it), the most frequent first."""
        counts = Counter(float(self.lengths_seconds[settings.lengths[label]]) for settings in self.of_folds)
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def tune(
    tuning: Tuning,
    default: Settings,
    lengths_seconds: NDArray[np.float64],
    fold_of_clip: NDArray[np.intp],
    groups: Sequence[str],
    num_samples: int,
    seed: int,
) -> Tuned:
    """Choose on all clips, and judge the choosing out of fold. fold_of_clip, groups: (clips,) in the truth's order."""
    num_folds = int(fold_of_clip.max()) + 1
    with tqdm(total=num_folds + 1, unit="fold", desc="searching", disable=None) as bar:

        def measure(weights: Weights) -> Measured:
            bar.update()
            return tuning.measure(weights)

        whole = measure(np.ones(len(fold_of_clip), dtype=np.int64))
        chosen = search_settings(whole, default.lengths, lengths_seconds)
        of_folds = search_folds(measure, default.lengths, lengths_seconds, fold_of_clip)
    everything = np.zeros_like(fold_of_clip)
    return Tuned(
        tuning.objective,
        tuning.decided_by,
        tuning.truth.labels.names,
        lengths_seconds,
        default,
        chosen,
        of_folds,
        whole.class_figures,
        tuning.truth.num_events().sum(axis=0, dtype=np.int64),
        _figures(
            tuning,
            FoldSettings([default], everything),
            FoldSettings(of_folds, fold_of_clip),
            FoldSettings([chosen], everything),
            draw_samples(len(groups), num_samples, seed, groups=groups),
        ),
    )


def _figures(
    tuning: Tuning, default: FoldSettings, out_of_fold: FoldSettings, chosen: FoldSettings, weights: NDArray[np.int32]
) -> dict[str, TunedFigure]:
    with tqdm(total=2 * len(weights), unit="sample", desc="bootstrap", disable=None) as bar:
        untuned, tuned = (
            sample_figures([tuning.figures(settings)], weights, progress=bar.update)
            for settings in (default, out_of_fold)
        )
    ones = np.ones((1, weights.shape[1]), dtype=np.int32)
    in_sample = {name: float(figure(ones)[0]) for name, figure in tuning.figures(chosen).items()}
    return {
        name: TunedFigure(
            _defined(untuned[name].value),
            _defined(tuned[name].value),
            _defined(in_sample[name]),
            tuned[name].difference(untuned[name]),
        )
        for name in untuned
    }


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
