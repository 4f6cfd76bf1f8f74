"""The evaluation of a submitted system: every run by itself, then the means over runs with their intervals.

What a run submitted decides what is measured:

    scores            PSDS over all thresholds; F1s at one threshold (score > 0.5), unless it submitted decisions, too
    operating points  PSDS over these points, which is up to .04 lower; F1s at the point of that threshold, or of
                      the decisions
    decisions         F1s only

Runs are trainings of one system on the same clips: the report holds the mean of their figures, the standard deviation
over runs (n - 1), and the interval of the mean over resampled clips. Every system sees the same samples, so systems
that are evaluated on the same clips can be compared sample by sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from desed_task.errors import DesedTaskError
from desed_task.events import EventTable, audio_id_of
from desed_task.labels import LabelSet
from desed_task.metrics.bootstrap import Samples, sample_figures
from desed_task.metrics.counts import F1
from desed_task.metrics.figures import Figures, figures_of_events, figures_of_points, figures_of_scores
from desed_task.metrics.intervals import Spread, spread
from desed_task.metrics.report import CONVENTIONS, ClassReport, Report, build_report, file_warnings
from desed_task.metrics.resampled import Figure
from desed_task.metrics.truth import Truth, build_truth
from desed_task.metrics.uncertainty import NUM_SAMPLES, resampled_f1s, resampled_psds, samples_of
from desed_task.scores import ScoreTable
from desed_task.submission.checking import SubmittedRun, SubmittedSystem
from desed_task.submission.evaluation_set import EvaluationSet

NUM_THREADS = 2
DEFAULT_THRESHOLD = 0.5
_NO_TAGGING = F1(None, None, {})
_NOT_OURS = ("median filter", "tagging", "sampled", "decision:")


@dataclass(frozen=True)
class Measuring:
    """threshold: of the F1s of scores and operating points; num_samples: of the bootstrap, 0 for no intervals."""

    threshold: float = DEFAULT_THRESHOLD
    num_samples: int = NUM_SAMPLES


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """One run. figures: PSDS and what else its scores or points give; decided: the F1s, of what was decided."""

    run: SubmittedRun
    figures: Figures
    decided: Figures
    report: Report

    @property
    def resampled(self) -> dict[str, Figure]:
        """The figures of which intervals are taken, by their names in the report."""
        of_psds, of_f1 = resampled_psds(self.figures), resampled_f1s(self.decided)
        return {**of_psds, **of_f1}


@dataclass(frozen=True, eq=False)
class EvaluatedSystem:
    """One system. report: means over the runs; spreads: figure -> mean and deviation over several runs.

    samples: figure -> its value on every sample of clips; audio_ids: the clips that were evaluated.
    """

    name: str
    system: SubmittedSystem
    runs: tuple[EvaluatedRun, ...]
    report: Report
    spreads: Mapping[str, Spread]
    samples: Mapping[str, Samples]

    @property
    def audio_ids(self) -> tuple[str, ...]:
        """The clips that were evaluated."""
        return self.runs[0].figures.truth.audio_ids

    def shown_run(self) -> EvaluatedRun:
        """The run to draw: that with the figure (PSDS1, else collar F1) nearest to the mean of the runs."""
        name = "psds1" if self.report.psds1 is not None else "collar_f1_macro"
        mean = getattr(self.report, name)
        if mean is None:
            return self.runs[0]
        return min(self.runs, key=lambda one: abs((getattr(one.report, name) or 0.0) - mean))


def evaluate_system(
    name: str, system: SubmittedSystem, evaluation_set: EvaluationSet, measuring: Measuring = Measuring()
) -> EvaluatedSystem:
    """Every run, the means over runs, and their intervals. DesedTaskError when there is no clip to evaluate."""
    runs = tuple(evaluate_run(run, evaluation_set, measuring) for run in system.runs)
    samples = _samples(name, runs, measuring.num_samples)
    report = runs[0].report if len(runs) == 1 else _mean_report([run.report for run in runs])
    intervals = {figure: of_one.interval() for figure, of_one in samples.items()}
    report = replace(
        report,
        intervals=intervals,
        warnings=tuple(dict.fromkeys((*system.notes, *report.warnings))),
        energy_kwh_training=system.energy.training,
        energy_kwh_inference=system.energy.test,
    )
    evaluated = EvaluatedSystem(name, system, runs, report, _spreads([run.report for run in runs]), samples)
    shown = evaluated.shown_run()
    return replace(evaluated, runs=tuple(_without_deltas(run, run is shown) for run in runs))


def _without_deltas(run: EvaluatedRun, is_shown: bool) -> EvaluatedRun:
    """Figures without the counts they were made of, which take most memory; the page draws those of one run."""
    kept = ("collar",) if is_shown else ()
    figures, decided = (
        replace(one, deltas={name: deltas for name, deltas in one.deltas.items() if name in kept})
        for one in (run.figures, run.decided)
    )
    return replace(run, figures=figures, decided=decided)


def evaluate_run(run: SubmittedRun, evaluation_set: EvaluationSet, measuring: Measuring = Measuring()) -> EvaluatedRun:
    """All figures of one run."""
    figures = _figures(run, evaluation_set, measuring)
    decided = figures
    if run.events is not None and (run.scores is not None or run.points is not None):
        decided = figures_of_events(run.events, truth_of(run, evaluation_set, _labels_of([run.events], evaluation_set)))
        figures = replace(
            figures,
            collar=decided.collar,
            segment=decided.segment,
            intersection=decided.intersection,
            problems=(*figures.problems, *decided.problems),
        )
    return EvaluatedRun(run, figures, decided, _run_report(run, figures, measuring))


def _figures(run: SubmittedRun, evaluation_set: EvaluationSet, measuring: Measuring) -> Figures:
    """Of the scores, else of the operating points, else of the decisions."""
    if run.scores is not None:
        threshold = measuring.threshold if run.events is None else None
        truth = truth_of(run, evaluation_set, run.scores.labels)
        return figures_of_scores(_with_progress(run), truth, threshold, NUM_THREADS)
    if run.points is not None:
        truth = truth_of(run, evaluation_set, _labels_of(run.points.values(), evaluation_set))
        return figures_of_points(run.points, truth, _given_point(run, measuring))
    assert run.events is not None, "a run holds something"
    return figures_of_events(run.events, truth_of(run, evaluation_set, _labels_of([run.events], evaluation_set)))


def _labels_of(tables: Iterable[EventTable], evaluation_set: EvaluationSet) -> LabelSet:
    """The classes of the ground truth, and those that were detected without being in it."""
    return LabelSet(sorted({*evaluation_set.truth_labels, *(label for table in tables for label in table.labels())}))


def truth_of(run: SubmittedRun, evaluation_set: EvaluationSet, labels: LabelSet) -> Truth:
    """The truth of the clips that a run can be evaluated on."""
    clips = set(run.clips)
    durations = {name: seconds for name, seconds in evaluation_set.durations.items() if audio_id_of(name) in clips}
    listed = {name: events for name, events in evaluation_set.ground_truth.items() if audio_id_of(name) in clips}
    truth = build_truth(EventTable(listed), durations, labels, evaluation_set.rules)
    if not truth.num_clips:
        raise DesedTaskError(
            f"{run.name}: none of its clips has an event, and clips without events are left out (--empty-clips); "
            "count them"
        )
    return truth


def decisions_of(run: SubmittedRun, threshold: float) -> str:
    """In words: at which operating point the F1s are taken."""
    if run.events is not None:
        return "the submitted decisions"
    return f"score > {threshold:g}" if run.scores is not None else f"the operating point {threshold:g}"


def decided_by(run: SubmittedRun, threshold: float) -> EventTable | Mapping[str, ScoreTable] | None:
    """What a run decided: its events, or its scores above the threshold, or the operating point of that threshold."""
    if run.events is not None or run.scores is not None:
        return run.events if run.events is not None else run.scores
    assert run.points is not None
    return next((events for point, events in run.points.items() if abs(point - threshold) < 1e-9), None)


def _given_point(run: SubmittedRun, measuring: Measuring) -> float | None:
    """The submitted operating point at the threshold of the F1s; None when there is none, or other decisions."""
    assert run.points is not None
    if run.events is not None:
        return None
    return next((point for point in run.points if abs(point - measuring.threshold) < 1e-9), None)


def _with_progress(run: SubmittedRun) -> Iterator[tuple[str, ScoreTable]]:
    assert run.scores is not None
    clips = tqdm(run.clips, desc=f"scoring {run.name}", unit="clip", disable=None, leave=False)
    for audio_id in clips:
        yield audio_id, run.scores[audio_id]


def _run_report(run: SubmittedRun, figures: Figures, measuring: Measuring) -> Report:
    report = build_report(figures, _NO_TAGGING, len(run.clips), run.clips_expected)
    notes = [note for note in run.notes if note not in file_warnings(len(run.clips), run.clips_expected)]
    psds = "exact, over all thresholds"
    if run.scores is None and run.points is not None:
        psds = f"over {len(run.points)} given operating points ({min(run.points):g} to {max(run.points):g})"
        notes.append(f"PSDS {psds}: lower than the exact one (50 points: by up to .04), which needs scores")
        if figures.collar.macro is None:
            notes.append(f"no operating point at {measuring.threshold:g} and no decisions: no F1 at a given threshold")
    elif run.scores is None:
        psds = "undefined: one list of events"
        notes.append("one list of events: F1s only; PSDS needs scores or operating points")
    conventions = [line for line in CONVENTIONS if not any(word in line for word in _NOT_OURS)]
    if run.scores is None:
        conventions = [line.removesuffix(", exact over all thresholds") for line in conventions]
    scorer = {
        "rules": asdict(figures.truth.rules),
        "psds": psds,
        "f1": decisions_of(run, measuring.threshold),
        "clips_evaluated": figures.truth.num_clips,
        "conventions": conventions,
    }
    return replace(report, scorer=scorer, warnings=(*report.warnings, *notes))


def _samples(name: str, runs: Sequence[EvaluatedRun], num_samples: int) -> dict[str, Samples]:
    resampled = [run.resampled for run in runs]
    shared = [figure for figure in resampled[0] if all(figure in of_run for of_run in resampled)]
    if not num_samples or not shared:
        return {}
    weights = samples_of(runs[0].figures.truth.num_clips, num_samples)
    with tqdm(total=num_samples, desc=f"intervals of {name}", unit="sample", disable=None, leave=False) as bar:
        return sample_figures(
            [{figure: of_run[figure] for figure in shared} for of_run in resampled],
            weights,
            num_threads=NUM_THREADS,
            progress=bar.update,
        )


def _spreads(reports: Sequence[Report]) -> dict[str, Spread]:
    """Of the figures that every one of several runs has."""
    if len(reports) < 2:
        return {}
    found = {}
    for name in _FIGURES:
        values = [getattr(report, name) for report in reports]
        if all(value is not None for value in values):
            found[name] = spread(values)
    return found


def _mean_report(reports: Sequence[Report]) -> Report:
    """The mean of every figure, undefined where it is for any run; warnings and problems of all."""
    classes = {label: _mean_class([report.per_class[label] for report in reports]) for label in reports[0].per_class}
    means: dict[str, Any] = {name: _mean([getattr(report, name) for report in reports]) for name in _FIGURES}
    return replace(
        reports[0],
        per_class=classes,
        scorer={**reports[0].scorer, "runs": len(reports)},
        warnings=tuple(dict.fromkeys(warning for report in reports for warning in report.warnings)),
        problems=tuple(dict.fromkeys(problem for report in reports for problem in report.problems)),
        **means,
    )


def _mean_class(classes: Sequence[ClassReport]) -> ClassReport:
    means: dict[str, Any] = {name: _mean([getattr(one, name) for one in classes]) for name in _CLASS_FIGURES}
    # Counts belong to one run each.
    return replace(classes[0], num_detected=None, tp=None, fp=None, fn=None, collar_best_threshold=None, **means)


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if len(defined) == len(values) else None


_COUNTS = {"num_reference", "num_detected", "tp", "fp", "fn", "collar_best_threshold"}
_CLASS_FIGURES = tuple(one.name for one in fields(ClassReport) if one.name not in _COUNTS)
_FIGURES = tuple(
    one.name for one in fields(Report) if one.name.startswith(("psds", "nopsds", "collar", "intersection", "segment"))
)
