"""Choose the median filter length and the threshold of each class on validation scores, and say what that gains.

    python recipes/tune_postprocessing.py --scores DIR --ground_truth V.tsv --durations V_durations.tsv --output_dir out
    python recipes/evaluate.py --bundle B ... --postprocessing out/tuned.yaml

--scores: tables of raw scores, such as evaluate.py and train_sed.py write (`scores/raw`); of several runs on the same
clips, several folders. Written to --output_dir:

    tuned.yaml     settings chosen on all clips, for evaluate.py, export_onnx.py and confs
    tuning.json    every figure: untuned, out of fold with its interval, per class and length, per fold

Only the out-of-fold figures are results (docs/tuning.md).
"""

from __future__ import annotations

import json
import logging
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.errors import DesedTaskError, EventTableError, OptionsError
from desed_task.events import EventTable, audio_id_of
from desed_task.formats.dcase import read_durations, read_strong
from desed_task.formats.score_tables import clip_of_table, read_score_table
from desed_task.labels import LabelSet
from desed_task.metrics.rules import Rules
from desed_task.metrics.truth import Truth, build_truth
from desed_task.metrics.tuned import Tuned, TunedFigure, tune
from desed_task.metrics.tuning import OBJECTIVES, build_tuning
from desed_task.postprocessing.folds import assign_folds, group_by_column, group_by_pattern, source_of
from desed_task.postprocessing.median import equal_frame_seconds
from desed_task.postprocessing.pipeline import (
    PostProcessingOptions,
    per_class,
    read_postprocessing,
    write_postprocessing,
)
from desed_task.postprocessing.search import Settings
from desed_task.scores import ScoreTable
from desed_task.timeline import odd_frames

_LOG = logging.getLogger(__name__)

# 1 to 73 frames of 64 ms, each about a third longer than the one before; the default .448 among them.
MEDIAN_FILTER_SECONDS = (0.0, 0.192, 0.32, 0.448, 0.576, 0.704, 0.96, 1.216, 1.6, 2.112, 2.752, 3.648, 4.672)

Run = Mapping[str, ScoreTable]


def main(argv: Sequence[str]) -> int:
    """Tune, write the settings and the figures, print them."""
    arguments = _parser().parse_args(argv)
    if arguments.output_dir.exists() and not arguments.output_dir.is_dir():
        raise DesedTaskError(f"--output_dir {arguments.output_dir}: stands there and is no folder; name another")
    runs = [_read_run(folder) for folder in arguments.scores]
    labels = _common_labels(runs, arguments.scores)
    options = PostProcessingOptions()
    if arguments.postprocessing is not None:
        options = read_postprocessing(arguments.postprocessing, labels)
    default_seconds = per_class(options.median_filter_seconds, labels, "median_filter_seconds")
    default_thresholds = np.array(per_class(options.threshold, labels, "threshold"))
    frame_rate = _frame_rate(runs)
    lengths = _candidates(arguments.median_filter_seconds, default_seconds, frame_rate)
    truth, clips_without_scores = _read_truth(arguments, runs[0], labels)
    group_of_clip = _groups(arguments, truth.audio_ids)
    folds = assign_folds(group_of_clip, arguments.folds, arguments.seed)
    tuning = build_tuning(arguments.objective, runs, truth, list(lengths), default_thresholds)
    positions = [list(lengths).index(odd_frames(seconds, frame_rate)) for seconds in default_seconds]
    groups = [group_of_clip[audio_id] for audio_id in truth.audio_ids]
    tuned = tune(
        tuning,
        Settings(np.array(positions, dtype=np.intp), default_thresholds),
        np.array(list(lengths.values())),
        np.array([folds[audio_id] for audio_id in truth.audio_ids], dtype=np.intp),
        groups,
        arguments.bootstrap_samples,
        arguments.seed,
    )
    about = {
        "scores": [str(folder) for folder in arguments.scores],
        "clips": truth.num_clips,
        "clips_without_scores": clips_without_scores,
        "sources": len(set(groups)),
        "folds": arguments.folds,
        "group_by": arguments.group_by,
        "seed": arguments.seed,
        "bootstrap_samples": arguments.bootstrap_samples,
        "rules": asdict(truth.rules),
    }
    _write(tuned, {**about, **tuned.to_json(), "fold_of_clip": folds}, arguments.output_dir)
    show(_tables(tuned))
    _LOG.info("settings: %s", arguments.output_dir / "tuned.yaml")
    return 0


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Choose class-wise median filters and thresholds on validation scores.")
    add = parser.add_argument
    add("--scores", type=Path, nargs="+", action="extend", required=True, help="raw score tables, a folder per run")
    add("--ground_truth", type=Path, required=True, help="table filename onset offset event_label")
    add("--durations", type=Path, required=True, help="table filename duration")
    add("--output_dir", type=Path, required=True, help="folder that receives tuned.yaml and tuning.json")
    add("--objective", choices=OBJECTIVES, default="psds1+psds2", help="what shall be as high as possible")
    add(
        "--median_filter_seconds",
        type=float,
        nargs="+",
        default=list(MEDIAN_FILTER_SECONDS),
        metavar="SECONDS",
        help="lengths to try; the default ones are always tried, too",
    )
    add("--postprocessing", type=Path, help="settings to start from and to compare with (0.448 s and 0.5)")
    add("--folds", type=whole_number(2), default=5, help="folds of the out-of-fold figure")
    add(
        "--group_by",
        default="source",
        help="what stays in one fold: source (the video of names like DESED's), clip, or a regular expression with one "
        "group; a column with --group_table",
    )
    add("--group_table", type=Path, help="table with filename and the column that --group_by names")
    add("--overlap", choices=("error", "merge", "allow"), default="error", help="events of a class that overlap")
    add("--bootstrap_samples", type=whole_number(1), default=1000, help="samples behind the interval of the gain")
    add("--seed", type=whole_number(0), default=42, help="of the folds and of the bootstrap")
    return parser


def _read_run(folder: Path) -> Run:
    """audio_id -> table, all of the same classes and on equal windows, scores in [0, 1]."""
    if not folder.is_dir():
        raise EventTableError(f"--scores {folder}: no such folder of score tables")
    if folder.name == "postprocessed":
        raise EventTableError(f"--scores {folder}: these have been filtered already; name the folder `raw` beside it")
    paths = sorted(folder.glob("*.tsv"))
    if not paths:
        raise EventTableError(
            f"--scores {folder}: holds no score table; name a folder such as metrics_test/student/scores/raw"
        )
    run: dict[str, ScoreTable] = {}
    for path in tqdm(paths, unit="clip", desc=f"reading {folder.name}", disable=None):
        table = read_score_table(path)
        if run and table.labels != next(iter(run.values())).labels:
            raise EventTableError(f"{path}, row 1: other classes than in {paths[0].name}; write both with one system")
        if not (table.values.min() >= 0.0 and table.values.max() <= 1.0):
            raise EventTableError(f"{path}: scores must lie in [0, 1], where thresholds are looked for")
        try:
            equal_frame_seconds(table.edges)
        except DesedTaskError as error:
            raise EventTableError(f"{path}: {error}") from None
        run[clip_of_table(path)] = table
    return run


def _common_labels(runs: Sequence[Run], folders: Sequence[Path]) -> LabelSet:
    first = runs[0]
    labels = next(iter(first.values())).labels
    for run, folder in zip(runs[1:], folders[1:], strict=True):
        other = sorted(run.keys() ^ first.keys())
        if other:
            raise EventTableError(f"--scores {folder}: {other[0]} is not scored by all runs; tune on the same clips")
        if next(iter(run.values())).labels != labels:
            raise EventTableError(f"--scores {folder}: other classes than in {folders[0]}; tune runs of one system")
    return labels


def _read_truth(arguments: Namespace, run: Run, labels: LabelSet) -> tuple[Truth, int]:
    """The truth of the clips that have scores, and how many have none."""
    durations = read_durations(arguments.durations)
    ground_truth = read_strong(arguments.ground_truth, labels)
    known = {audio_id_of(filename) for filename in durations}
    strangers = [audio_id for audio_id in run if audio_id not in known]
    if strangers:
        raise EventTableError(f"{arguments.durations}: {strangers[0]} has scores but no duration; add it")
    missing = {*known, *ground_truth.by_audio_id()} - run.keys()
    if missing:
        _LOG.warning("%d clips have no scores and are left out, such as %s", len(missing), min(missing))
    scored = EventTable({name: events for name, events in ground_truth.items() if audio_id_of(name) in run})
    if not len(scored):
        raise EventTableError(f"{arguments.ground_truth}: no event lies in a clip that has scores; name their table")
    lasting = {name: seconds for name, seconds in durations.items() if audio_id_of(name) in run}
    return build_truth(scored, lasting, labels, Rules(overlap=arguments.overlap)), len(missing)


def _groups(arguments: Namespace, audio_ids: Sequence[str]) -> dict[str, str]:
    """audio_id -> what must not be torn apart."""
    by = arguments.group_by
    if arguments.group_table is not None:
        return group_by_column(audio_ids, arguments.group_table, by)
    if by == "source":
        return {audio_id: source_of(audio_id) for audio_id in audio_ids}
    return {audio_id: audio_id for audio_id in audio_ids} if by == "clip" else group_by_pattern(audio_ids, by)


def _frame_rate(runs: Sequence[Run]) -> float:
    """Frames per second of all tables."""
    tables = [table for run in runs for table in run.values()]
    longest = equal_frame_seconds(max(tables, key=lambda table: len(table.values)).edges)
    for table in tables:
        own = equal_frame_seconds(table.edges)
        if len(table.values) > 2 and abs(own - longest) > 0.02 * longest:
            raise EventTableError(
                f"--scores: tables with windows of {own:.6g} s and of {longest:.6g} s; tune one system at a time"
            )
    return 1 / longest


def _candidates(asked: Sequence[float], default: Sequence[float], frame_rate: float) -> dict[int, float]:
    """Window in frames (odd, ascending) -> seconds of the lengths to try; the default's where two windows are equal."""
    for seconds in asked:
        if not 0.0 <= seconds < np.inf:
            raise OptionsError(f"--median_filter_seconds {seconds:g}: write seconds, 0 (no filter) or more")
    seconds_of: dict[int, float] = {}
    for seconds in (*default, *asked):
        seconds_of.setdefault(odd_frames(seconds, frame_rate), seconds)
    return {window: seconds_of[window] for window in sorted(seconds_of)}


def _write(tuned: Tuned, tree: Mapping[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "tuning.json.partial"
    partial.write_text(json.dumps(tree, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(folder / "tuning.json")
    seconds, thresholds = tuned.seconds(tuned.chosen), tuned.thresholds(tuned.chosen)
    options = PostProcessingOptions(median_filter_seconds=seconds, threshold=thresholds)
    write_postprocessing(options, folder / "tuned.yaml")


def _tables(tuned: Tuned) -> str:
    """Markdown: the figures, the classes, and what should be known of them."""
    return "\n".join([*_figure_rows(tuned), "", *_class_rows(tuned), "", *_notes(tuned)])


def _figure_rows(tuned: Tuned) -> list[str]:
    rows = ["| figure | untuned | tuned, out of fold | gain | 95 % interval | in sample: optimistic, not a result |"]
    rows.append("|---|---|---|---|---|---|")
    for name, figure in tuned.figures.items():
        gain = figure.gain
        interval = "-" if gain.low is None or gain.high is None else f"{gain.low:+.4f} .. {gain.high:+.4f}"
        rows.append(
            f"| {name} | {_fraction(figure.untuned)} | {_fraction(figure.out_of_fold)} | {_signed(gain.value)} | "
            f"{interval} | {_fraction(figure.in_sample_not_a_result)} |"
        )
    return rows


def _class_rows(tuned: Tuned) -> list[str]:
    """Settings of each class before and after, and which lengths the folds chose."""
    rows = ["| class | events | median filter s | threshold | lengths of the folds |", "|---|---|---|---|---|"]
    before, after = (tuned.seconds(settings) for settings in (tuned.default, tuned.chosen))
    old, new = (tuned.thresholds(settings) for settings in (tuned.default, tuned.chosen))
    for position, label in enumerate(tuned.labels):
        folds = ", ".join(f"{count} x {seconds:g}" for seconds, count in tuned.fold_lengths(position))
        rows.append(
            f"| {label} | {tuned.num_events[position]} | {before[label]:g} -> {after[label]:g} | "
            f"{old[label]:g} -> {new[label]:g} | {folds} |"
        )
    return rows


def _notes(tuned: Tuned) -> list[str]:
    notes = [f"{label} has no events: it keeps its default" for label in tuned.without_events]
    if tuned.objective != tuned.decided_by:
        notes.append(f"thresholds are those of the best {tuned.decided_by}: {tuned.objective} looks at all of them")
    figure: TunedFigure = tuned.figures[tuned.objective]
    if figure.gain.low is None or figure.gain.low <= 0:
        notes.append(f"no gain in {tuned.objective} is shown: the interval of the gain does not lie above 0")
    return notes


def _fraction(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


if __name__ == "__main__":
    run_recipe(main)
