"""Standings: evaluated systems as the leaderboard and the page want them, ranked by the rules of a year.

The interval of a ranking score is that of its PSDS over resampled clips, the normaliser held fixed; differences to the
baseline are taken sample by sample, for systems that were evaluated on the baseline's clips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from desed_task.metrics.bootstrap import Samples
from desed_task.metrics.intervals import spread
from desed_task.metrics.report import Report
from desed_task.submission.evaluation import EvaluatedSystem
from desed_task.submission.leaderboard import Figure, PairedDifference, Standing
from desed_task.submission.ranking import Edition, Energy, Entry, PsdsPair, Ranks, rank, ranking_score

# Names of the leaderboard -> names of the report.
COMPARED = {"psds1": "psds1", "psds2": "psds2", "collar_f1": "collar_f1_macro"}


def standings_of(
    systems: Sequence[EvaluatedSystem], edition: Edition, baseline: EvaluatedSystem | None = None
) -> list[Standing]:
    """One standing per system, the baseline's among them when it is one of the systems."""
    return [standing_of(system, edition, baseline) for system in systems]


def standing_of(system: EvaluatedSystem, edition: Edition, baseline: EvaluatedSystem | None = None) -> Standing:
    """One system, ranked and compared with the baseline."""
    report, meta = system.report, system.system.meta
    entry = _entry(system)
    of_baseline = None if baseline is None else _entry(baseline)
    ranks = rank(entry, edition, of_baseline)
    is_baseline = system is baseline
    return Standing(
        system=system.name,
        files_present=report.files_present,
        files_expected=report.files_expected,
        ranking_score=_ranking_figure(system, ranks, edition.psds or (of_baseline.psds if of_baseline else None)),
        psds1=figure_of(system, "psds1"),
        psds2=figure_of(system, "psds2"),
        collar_f1=figure_of(system, "collar_f1_macro"),
        num_runs=len(system.runs),
        is_baseline=is_baseline,
        energy_weighted_psds1_training=ranks.energy_weighted_training.psds1,
        energy_weighted_psds2_training=ranks.energy_weighted_training.psds2,
        energy_weighted_score_training=ranks.energy_weighted_score_training,
        energy_weighted_psds1_test=ranks.energy_weighted_test.psds1,
        energy_weighted_psds2_test=ranks.energy_weighted_test.psds2,
        energy_weighted_score_test=ranks.energy_weighted_score_test,
        energy_kwh_training=entry.energy.training_kwh,
        energy_kwh_test=entry.energy.test_kwh,
        macs_per_10_s=meta.macs if meta else None,
        num_parameters=round(meta.parameters) if meta and meta.parameters is not None else None,
        against_baseline={} if baseline is None or is_baseline else _differences(system, baseline),
        remarks=(*ranks.remarks, *_comparison_remarks(system, baseline), *_psds_remarks(report)),
    )


def figure_of(system: EvaluatedSystem, name: str) -> Figure:
    """A figure of the report with its deviation over runs and its interval over clips."""
    spread_over_runs, interval = system.spreads.get(name), system.report.intervals.get(name)
    ends = None
    if interval is not None and interval.low is not None and interval.high is not None:
        ends = (interval.low, interval.high)
    std = spread_over_runs.std if spread_over_runs is not None else None
    return Figure(getattr(system.report, name), std, ends)


def _entry(system: EvaluatedSystem) -> Entry:
    energy = system.system.energy
    psds = PsdsPair(system.report.psds1, system.report.psds2)
    return Entry(psds, Energy(energy.training, energy.test), energy.baseline)


def _ranking_figure(system: EvaluatedSystem, ranks: Ranks, normaliser: PsdsPair | None) -> Figure:
    if ranks.ranking_score is None or normaliser is None:
        return Figure(None)
    of_runs = [ranking_score(PsdsPair(run.report.psds1, run.report.psds2), normaliser) for run in system.runs]
    defined = [score for score in of_runs if score is not None]
    std = spread(defined).std if len(defined) == len(of_runs) else None
    interval = None
    if "psds1" in system.samples and "psds2" in system.samples and normaliser.psds1 and normaliser.psds2:
        parts = ((system.samples["psds1"], normaliser.psds1), (system.samples["psds2"], normaliser.psds2))
        sampled = np.mean([samples.sampled / of_baseline for samples, of_baseline in parts], axis=0)
        found = Samples(ranks.ranking_score, sampled).interval()
        interval = None if found.low is None or found.high is None else (found.low, found.high)
    return Figure(ranks.ranking_score, std, interval)


def _differences(system: EvaluatedSystem, baseline: EvaluatedSystem) -> dict[str, PairedDifference]:
    """Sample by sample where both were evaluated on the same clips; nothing where not."""
    if system.audio_ids != baseline.audio_ids:
        return {}
    found = {}
    for name, in_report in COMPARED.items():
        ours, theirs = system.samples.get(in_report), baseline.samples.get(in_report)
        if ours is None or theirs is None:
            continue
        paired = ours.difference(theirs)
        if paired.value is not None:
            interval = None if paired.low is None or paired.high is None else (paired.low, paired.high)
            found[name] = PairedDifference(paired.value, interval, paired.p_value)
    return found


def _comparison_remarks(system: EvaluatedSystem, baseline: EvaluatedSystem | None) -> list[str]:
    if baseline is None or system.audio_ids == baseline.audio_ids:
        return []
    return ["evaluated on other clips than the baseline, so the two cannot be compared clip by clip"]


def _psds_remarks(report: Report) -> list[str]:
    return [warning for warning in report.warnings if warning.startswith("PSDS over ")]
