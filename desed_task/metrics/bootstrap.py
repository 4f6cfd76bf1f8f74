"""How sure a figure is: intervals and paired differences over resampled clips (the bootstrap).

A sample draws as many clips as there are, with replacement; every figure is computed anew from the counts of the drawn
clips, which equals scoring the list of them. All systems see the same samples, so a difference of two systems is taken
sample by sample, and clips that are hard for both do not blur it. (B. Efron and R. Tibshirani, "An Introduction to the
Bootstrap", 1993, chapters 13 and 15; for this field J. Ebbers et al., arXiv 2406.04212.)

- Interval: the central `level` of the sampled values (percentile interval), around the value on the list itself.
- p value of a difference, two-sided, from its B samples d: 2 min(1 + #(d <= 0), 1 + #(d >= 0)) / (B + 1), at most 1.
- Several runs of a system (seeds): the mean of their figures within each sample. The interval says how other test clips
  would fall; `intervals.spread` says how other seeds would.
- A sample in which a figure is undefined (no class with events, for instance) is left out; `undefined` counts them.
- Clips cut from one recording are not independent: with `groups`, all clips of a group are drawn together.

sed_scores_eval deals the n-fold repeated list of clips out to n samples (`balanced=True`): each clip is drawn n times
in all, which takes sampling noise off the mean of the samples; its intervals are 90 % by default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.resampled import Figure, Weights

# Samples that a thread takes at a time: enough to keep a kernel busy, few enough for a lively progress bar.
_SAMPLES_AT_ONCE = 20


@dataclass(frozen=True)
class Interval:
    """A figure and its confidence interval, None where undefined; undefined: samples without a value."""

    value: float | None
    low: float | None
    high: float | None
    level: float
    undefined: int = 0


@dataclass(frozen=True)
class Difference(Interval):
    """One system less another, with the two-sided p value of no difference."""

    p_value: float | None = None


@dataclass(frozen=True, eq=False)
class Samples:
    """A figure of one system: its value on the clips as they are (NaN where undefined), and on every sample."""

    value: float
    sampled: NDArray[np.float64]

    def interval(self, level: float = 0.95) -> Interval:
        """The value between the percentiles of the samples."""
        low, high = _percentiles(self.sampled, level)
        return Interval(_defined(self.value), low, high, level, int(np.isnan(self.sampled).sum()))

    def difference(self, other: Samples, level: float = 0.95) -> Difference:
        """This system less the other, sample by sample; both must come from the same weights."""
        if self.sampled.shape != other.sampled.shape:
            raise ValueError(f"{len(self.sampled)} and {len(other.sampled)} samples cannot be paired")
        changes = self.sampled - other.sampled
        defined = changes[~np.isnan(changes)]
        p_value = None
        if len(defined):
            fewest = 1 + min(int((defined <= 0).sum()), int((defined >= 0).sum()))
            p_value = min(1.0, 2 * fewest / (len(defined) + 1))
        low, high = _percentiles(changes, level)
        undefined = len(changes) - len(defined)
        return Difference(_defined(self.value - other.value), low, high, level, undefined, p_value)


def draw_samples(
    num_clips: int,
    num_samples: int,
    seed: int,
    *,
    balanced: bool = False,
    groups: Sequence[str] | None = None,
) -> Weights:
    """(samples, clips) how often each sample holds each clip; use the same for all systems that are to be compared.

    balanced: every clip is drawn num_samples times over all samples. groups: (clips,) the source of each clip; sources
    are drawn in place of clips, as many as there are, so the number of clips varies from sample to sample.
    """
    if num_clips < 1 or num_samples < 1:
        raise ValueError(f"there are no samples to draw ({num_samples} of {num_clips} clips)")
    unit = np.arange(num_clips)
    if groups is not None:
        if len(groups) != num_clips:
            raise ValueError(f"{len(groups)} groups do not fit {num_clips} clips")
        unit = np.unique(np.asarray(groups), return_inverse=True)[1]
    num_units = int(unit.max()) + 1
    random = np.random.default_rng(seed)
    dealt = random.permutation(np.repeat(np.arange(num_units), num_samples)) if balanced else None
    weights = np.empty((num_samples, num_clips), dtype=np.int32)
    for sample in range(num_samples):
        if dealt is None:
            drawn = random.integers(num_units, size=num_units)
        else:
            drawn = dealt[sample * num_units : (sample + 1) * num_units]
        weights[sample] = np.bincount(drawn, minlength=num_units)[unit]
    return weights


def sample_figures(
    runs: Sequence[Mapping[str, Figure]],
    weights: Weights,
    *,
    num_threads: int = 1,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Samples]:
    """Every figure of a system on the clips as they are and on all samples.

    runs: name -> figure of each run of the system, one or more with the same names, of which the mean is taken; it is
    undefined where it is for any of them. progress: called with the number of samples that have just been finished.
    """
    if not runs or any(run.keys() != runs[0].keys() for run in runs):
        raise ValueError("the runs of a system need the same figures, and there must be one run at least")

    def values_of(part: Weights) -> dict[str, NDArray[np.float64]]:
        return {name: np.mean([run[name](part) for run in runs], axis=0) for name in runs[0]}

    return sample_jointly(values_of, weights, num_threads=num_threads, progress=progress)


def sample_jointly(
    figures: Callable[[Weights], Mapping[str, NDArray[np.float64]]],
    weights: Weights,
    *,
    num_threads: int = 1,
    progress: Callable[[int], object] | None = None,
    samples_at_once: int = _SAMPLES_AT_ONCE,
) -> dict[str, Samples]:
    """As `sample_figures`, of figures that are cheapest together: weights (samples, clips) -> name -> (samples,)."""
    # on this thread and first: what a figure makes once and keeps is made before the threads share it
    whole = figures(np.ones((1, weights.shape[1]), dtype=np.int32))
    parts: list[Mapping[str, NDArray[np.float64]]] = []
    for part in _mapped(figures, weights, num_threads, samples_at_once):
        parts.append(part)
        if progress is not None:
            progress(len(next(iter(part.values()))))
    return {
        name: Samples(float(value[0]), np.concatenate([part[name] for part in parts])) for name, value in whole.items()
    }


def _mapped(
    function: Callable[[Weights], Mapping[str, NDArray[np.float64]]],
    weights: Weights,
    num_threads: int,
    samples_at_once: int,
) -> Iterator[Mapping[str, NDArray[np.float64]]]:
    """The function's result for some rows at a time, in order, on several threads."""
    parts = [weights[start : start + samples_at_once] for start in range(0, len(weights), samples_at_once)]
    if num_threads == 1:
        yield from map(function, parts)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        yield from pool.map(function, parts)


def _percentiles(sampled: NDArray[np.float64], level: float) -> tuple[float | None, float | None]:
    if not 0.0 < level < 1.0:
        raise ValueError(f"the level of an interval must be between 0 and 1, got {level}")
    defined = sampled[~np.isnan(sampled)]
    if not len(defined):
        return None, None
    low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
