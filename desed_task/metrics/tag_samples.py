"""How sure the figures of taggers are: mAP, AUC, d' and accuracy over resampled clips, and paired differences.

The bootstrap of `bootstrap`, whose samples all systems share. Every sample's figures equal `tag_ranking` on the list of
its clips, to rounding; clips are sorted once, not per sample. A class that a sample does not hold, or that all its
clips hold, is left out of that sample's means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.bootstrap import Difference, Interval, Samples, draw_samples, sample_jointly
from desed_task.metrics.curves.rankings import sample_rankings
from desed_task.metrics.dprime import dprimes
from desed_task.metrics.resampled import Weights, mean_defined
from desed_task.metrics.tag_ranking import TagScores, rank_tags
from desed_task.metrics.uncertainty import SAMPLES_SEED

# A kernel's row per clip: long enough for the processor's wide registers, and all clips' rows fit its cache.
_SAMPLES_AT_ONCE = 64


class SampledTags:
    """Figures of one run in many samples of clips; `map mauc dprime dprime_per_class_mean accuracy`."""

    def __init__(self, scores: TagScores, truth: NDArray[np.bool_]) -> None:
        """scores, truth: (clips, classes)."""
        ranking = rank_tags(scores, truth)
        order = np.argsort(np.ascontiguousarray(np.negative(scores.T)), axis=1).astype(np.int32)
        self._truth = truth
        self._rows = (order, truth, ranking.first_step, ranking.above, ranking.listed)
        one_class = bool((truth.sum(axis=1) == 1).all())
        self._is_right = (scores.argmax(axis=1) == truth.argmax(axis=1)).astype(np.float64) if one_class else None

    def __call__(self, weights: Weights) -> dict[str, NDArray[np.float64]]:
        """(samples, clips) -> name -> (samples,), NaN where undefined."""
        by_clip = np.ascontiguousarray(weights.T, dtype=np.int32)
        precision, area = (of_class.T for of_class in sample_rankings(*self._rows, by_clip))
        mauc = mean_defined(area)
        figures = {"map": mean_defined(precision), "mauc": mauc, "dprime": dprimes(mauc)}
        figures["dprime_per_class_mean"] = mean_defined(dprimes(area))
        if self._is_right is not None:
            figures["accuracy"] = (weights @ self._is_right) / weights.sum(axis=1)
        return figures


def sample_tags(
    runs: Sequence[SampledTags], weights: Weights, *, progress: Callable[[int], object] | None = None
) -> dict[str, Samples]:
    """The figures of one system on the clips as they are and on all samples; several runs (seeds): their mean."""

    def values_of(part: Weights) -> dict[str, NDArray[np.float64]]:
        of_runs = [run(part) for run in runs]
        return {name: np.mean([of_run[name] for of_run in of_runs], axis=0) for name in of_runs[0]}

    return sample_jointly(values_of, weights, num_threads=2, progress=progress, samples_at_once=_SAMPLES_AT_ONCE)


def interval_of_tags(
    scores: TagScores, truth: NDArray[np.bool_], num_samples: int, *, groups: Sequence[str] | None = None
) -> dict[str, Interval]:
    """The 95 % interval of every figure that is defined; empty without samples. groups: see `draw_samples`."""
    if not num_samples:
        return {}
    weights = draw_samples(len(scores), num_samples, SAMPLES_SEED, groups=groups)
    samples = sample_tags([SampledTags(scores, truth)], weights)
    return {name: of_one.interval() for name, of_one in samples.items() if not np.isnan(of_one.value)}


def compare_tags(
    ours: Sequence[TagScores],
    theirs: Sequence[TagScores],
    truth: NDArray[np.bool_],
    num_samples: int,
    *,
    groups: Sequence[str] | None = None,
) -> Mapping[str, Difference]:
    """Our system less the other, paired by clip; each by its runs' scores (clips, classes), all on the same clips."""
    weights = draw_samples(len(truth), num_samples, SAMPLES_SEED, groups=groups)
    first, second = (sample_tags([SampledTags(run, truth) for run in runs], weights) for runs in (ours, theirs))
    return {name: first[name].difference(second[name]) for name in first}
