"""How sure the figures of a report are: what of them is resampled, and how.

One seed for everybody: systems that are evaluated on the same clips see the same samples, so that their differences
are paired whenever and wherever they are compared.
"""

from __future__ import annotations

from collections.abc import Callable

from desed_task.metrics.bootstrap import Interval, draw_samples, sample_figures
from desed_task.metrics.figures import F1_CRITERIA, SCENARIOS, Figures
from desed_task.metrics.resampled import Figure, SampledF1, SampledPsds, Weights

NUM_SAMPLES = 1000
SAMPLES_SEED = 0


def resampled_figures(figures: Figures) -> dict[str, Figure]:
    """By the names of the report: both PSDS, and the macro F1s at the system's operating point; the defined ones."""
    return {**resampled_psds(figures), **resampled_f1s(figures)}


def resampled_psds(figures: Figures) -> dict[str, Figure]:
    """Both PSDS, where they are defined."""
    return {
        name: SampledPsds(figures.deltas[name], scenario)
        for name, scenario in SCENARIOS.items()
        if getattr(figures, name).value is not None
    }


def resampled_f1s(figures: Figures) -> dict[str, Figure]:
    """The macro F1s at the operating point of the figures, where they are defined."""
    found: dict[str, Figure] = {}
    for criterion in F1_CRITERIA:
        f1 = getattr(figures, criterion)
        if f1.macro is not None:
            found[f"{criterion}_f1_macro"] = SampledF1(figures.deltas[criterion], f1.thresholds)
    return found


def samples_of(num_clips: int, num_samples: int = NUM_SAMPLES) -> Weights:
    """(samples, clips): the samples that every system on these clips sees."""
    return draw_samples(num_clips, num_samples, SAMPLES_SEED)


def figure_intervals(
    figures: Figures, num_samples: int = NUM_SAMPLES, progress: Callable[[int], object] | None = None
) -> dict[str, Interval]:
    """The 95 % interval of every figure that is resampled; empty without samples or figures."""
    resampled = resampled_figures(figures)
    if not num_samples or not resampled:
        return {}
    weights = samples_of(figures.truth.num_clips, num_samples)
    drawn = sample_figures([resampled], weights, num_threads=2, progress=progress)
    return {name: of_one.interval() for name, of_one in drawn.items()}
