"""Evaluate challenge submissions: validate first, then score, rank and show.

    python recipes/evaluate_submission.py --submission scores/ --ground-truth truth.tsv --durations durations.tsv
    python recipes/evaluate_submission.py --submission package.zip --submission other/ --baseline baseline/ ...

A submission is a folder of score tables, of operating points, one event list, a training's `metrics_test`, or a
challenge package as a folder or a zip archive; docs/submissions.md shows all layouts. Every fault is told with file and
row (exit code 2), and nothing is written then. What is incomplete is counted next to every score.

--reference scores every system with psds_eval, sed_eval and sed_scores_eval as well, under the same rules, and prints
the differences (pip install "desed-task[reference]").

Written to --output-dir are report.json (one per system, and leaderboard.json for several), report.md and report.html.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.errors import DesedTaskError, SubmissionError
from desed_task.metrics.rules import DEFAULT_RULES, Rules
from desed_task.metrics.uncertainty import NUM_SAMPLES
from desed_task.submission.checking import Submission
from desed_task.submission.evaluation import DEFAULT_THRESHOLD, EvaluatedSystem, Measuring, evaluate_system
from desed_task.submission.evaluation_set import EvaluationSet, read_evaluation_set
from desed_task.submission.packages import MAX_SYSTEMS, MAX_SYSTEMS_2024, open_submission
from desed_task.submission.ranking import EDITIONS, edition_of
from desed_task.submission.references import side_by_side
from desed_task.submission.results import results_table, write_results
from desed_task.submission.standings import standings_of
from desed_task.submission.system_views import page_of

_LOG = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> int:
    """Validate everything, evaluate everything, write and print the results."""
    arguments = _parser().parse_args(argv)
    output_dir: Path = arguments.output_dir
    rules = Rules(arguments.ct_mean, arguments.overlap, arguments.empty_clips, arguments.time_decimals)
    evaluation_set = read_evaluation_set(arguments.ground_truth, arguments.durations, rules)
    measuring = Measuring(arguments.threshold, arguments.bootstrap)
    paths = _paths(arguments.submission, arguments.baseline)
    _require_place(output_dir, paths)
    with ExitStack() as opened:
        submissions = _open_all(paths, evaluation_set, arguments.year, opened)
        baseline_path = _require_one_baseline(submissions, arguments.baseline)
        systems, baseline = _evaluate_all(submissions, evaluation_set, measuring, baseline_path)
        standings = standings_of(systems, edition_of(arguments.year), baseline)
        page = page_of(systems, standings, evaluation_set, measuring, arguments.year)
        asked = systems if arguments.reference else []
        references = [side_by_side(system, evaluation_set, measuring) for system in asked]
    write_results(systems, standings, page, output_dir)
    show("\n".join([results_table(systems, standings), *references]))
    _LOG.info("report: %s", output_dir)
    return 0


def _paths(submissions: Sequence[Path], baseline: Path | None) -> list[Path]:
    """What is to be opened, each once, the baseline last unless it is one of the submissions."""
    found: dict[Path, Path] = {}
    for path in (*submissions, *([] if baseline is None else [baseline])):
        found.setdefault(path.resolve(), path)
    return list(found.values())


def _require_place(output_dir: Path, submissions: Sequence[Path]) -> None:
    """DesedTaskError, before any scoring, where results cannot be written or would become part of a submission."""
    if output_dir.exists() and not output_dir.is_dir():
        raise DesedTaskError(f"--output-dir {output_dir}: stands there and is no folder; name another")
    folder = output_dir.resolve()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise DesedTaskError(f"--output-dir {output_dir}: {there} cannot be written to; name another")
    for path in submissions:
        if path.is_dir() and folder.is_relative_to(path.resolve()):
            raise DesedTaskError(
                f"--output-dir {output_dir}: lies in the submission {path}; name a folder outside of it"
            )


def _open_all(paths: Sequence[Path], evaluation_set: EvaluationSet, year: int, opened: ExitStack) -> list[Submission]:
    """Every submission, read and checked. SubmissionError with the faults of all."""
    max_systems = MAX_SYSTEMS_2024 if year >= 2024 else MAX_SYSTEMS
    submissions, refusals = [], []
    for path in paths:
        try:
            submissions.append(opened.enter_context(open_submission(path, evaluation_set, max_systems)))
        except SubmissionError as error:
            refusals.append(str(error))
    if refusals:
        raise SubmissionError("\n".join(refusals))
    return submissions


def _require_one_baseline(submissions: Sequence[Submission], baseline: Path | None) -> Path | None:
    """The baseline's path as it was opened; SubmissionError when it holds several systems."""
    for submission in submissions:
        if baseline is not None and submission.path.resolve() == baseline.resolve():
            if len(submission.systems) > 1:
                raise SubmissionError(f"--baseline {baseline}: holds {len(submission.systems)} systems; name one")
            return submission.path
    return None


def _evaluate_all(
    submissions: Sequence[Submission], evaluation_set: EvaluationSet, measuring: Measuring, baseline_path: Path | None
) -> tuple[list[EvaluatedSystem], EvaluatedSystem | None]:
    """Every system, and the baseline among them."""
    pairs = [(submission.path, system) for submission in submissions for system in submission.systems]
    names = _names([(path, system.label) for path, system in pairs])
    systems: list[EvaluatedSystem] = []
    baseline = None
    for name, (path, system) in zip(names, pairs, strict=True):
        systems.append(evaluate_system(name, system, evaluation_set, measuring))
        baseline = systems[-1] if path == baseline_path else baseline
    return systems, baseline


def _names(labels: Sequence[tuple[Path, str]]) -> list[str]:
    """The labels, with as much of the path as tells them apart."""
    ways: tuple[Callable[[Path, str], str], ...] = (
        lambda _, label: label,
        lambda path, label: f"{label} ({path.resolve().parent.name}/{path.name})",
    )
    every = ([way(path, label) for path, label in labels] for way in ways)
    by_path = [f"{label} ({path})" for path, label in labels]
    return next((names for names in every if len(set(names)) == len(names)), by_path)


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Validate and evaluate challenge submissions.")
    parser.add_argument(
        "--submission", type=Path, action="append", required=True, help="what to score; may be repeated"
    )
    parser.add_argument("--ground-truth", type=Path, required=True, help="table filename onset offset event_label")
    parser.add_argument("--durations", type=Path, required=True, help="table filename duration")
    parser.add_argument("--output-dir", type=Path, default=Path("submission_report"), help="folder for the results")
    parser.add_argument("--baseline", type=Path, help="submission of one system that the others are compared with")
    parser.add_argument(
        "--year", type=int, choices=tuple(EDITIONS), default=2023, help="ranking rules of that challenge"
    )
    parser.add_argument(
        "--bootstrap", type=whole_number(0), default=NUM_SAMPLES, metavar="N", help="samples of clips for the intervals"
    )
    parser.add_argument("--threshold", type=float, default=DEFAULT_THRESHOLD, help="of F1s, without given decisions")
    parser.add_argument("--reference", action="store_true", help="score with the published scorers, too, side by side")
    rules = parser.add_argument_group("rules")
    rules.add_argument(
        "--ct-mean",
        choices=("n-1", "n"),
        default=DEFAULT_RULES.ct_mean,
        help="classes that cross-trigger rates are averaged over; n: psds_eval 0.3.0",
    )
    rules.add_argument(
        "--overlap",
        choices=("error", "merge", "allow"),
        default=DEFAULT_RULES.overlap,
        help="what to do with overlapping events of one class; allow: psds_eval 0.3.0",
    )
    rules.add_argument(
        "--empty-clips",
        choices=("count", "leave_out"),
        default=DEFAULT_RULES.empty_clips,
        help="clips without events; leave_out: the challenge's recipes with sed_scores_eval",
    )
    rules.add_argument(
        "--time-decimals",
        type=_decimals,
        default=DEFAULT_RULES.time_decimals,
        metavar="N",
        help="times are rounded to so many decimals; none: floats as they are, as psds_eval and sed_eval",
    )
    return parser


def _decimals(text: str) -> int | None:
    if text.strip().lower() == "none":
        return None
    try:
        return whole_number(0, 9)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a whole number from 0 to 9 nor none") from None


if __name__ == "__main__":
    run_recipe(main)
