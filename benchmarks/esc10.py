"""The ESC-10 table of the README: what training with a mean teacher is worth, on soundscapes of real recordings.

Scores the run folders that train_sed.py made from confs/sed/esc10.yaml, confs/sed/esc10_supervised.yaml and an
untrained model, prints one Markdown table with 95 % intervals over test clips, and writes it as rows of `name value
unit peer peer_value ratio machine` (--json) and all scores for later analysis (--scores, a compressed .npz, values to
1/65535). The trainings' commands stand in the README.

    python benchmarks/esc10.py --mean_teacher exp/esc10 --supervised exp/esc10_supervised \
        --untrained exp/esc10_untrained
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rescoring import score_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.errors import DesedTaskError
from desed_task.metrics.report import Report

FIGURES = {
    "psds1": "PSDS1",
    "psds2": "PSDS2",
    "collar_f1_macro": "collar F1",
    "intersection_f1_macro": "intersection F1",
    "segment_f1_macro": "segment F1",
}


def main(argv: Sequence[str]) -> int:
    """Print the table."""
    parser = RecipeParser(description="The ESC-10 table: mean teacher, supervised, untrained.")
    for name in ("mean_teacher", "supervised", "untrained"):
        parser.add_argument(f"--{name}", type=Path, required=True, help="log folder; its newest run is read")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--scores", type=Path, help="write every system's raw scores here (.npz)")
    arguments = parser.parse_args(argv)
    runs = {name: _newest_run(getattr(arguments, name)) for name in ("mean_teacher", "supervised", "untrained")}
    systems = {
        "mean teacher, student": (runs["mean_teacher"], "student"),
        "mean teacher, teacher": (runs["mean_teacher"], "teacher"),
        "supervised only": (runs["supervised"], "student"),
        "untrained": (runs["untrained"], "student"),
    }
    scored = {run: score_run(run) for run in set(runs.values())}
    reports = {name: scored[run][model] for name, (run, model) in systems.items()}
    show(_table(reports, {name: _training_cost(run) for name, (run, _) in systems.items()}))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(_rows(reports), indent=1) + "\n", encoding="utf-8")
    if arguments.scores:
        _write_scores(systems, arguments.scores)
    return 0


def _newest_run(log_dir: Path) -> Path:
    runs = sorted(log_dir.glob("version_*"), key=lambda path: int(path.name.removeprefix("version_")))
    if not runs:
        raise DesedTaskError(f"{log_dir}: no runs here; train first (see README.md)")
    return runs[-1]


def _training_cost(run: Path) -> tuple[int, float]:
    """Optimiser steps, and minutes at the run's median step: what else the machine did meanwhile does not count."""
    events = EventAccumulator(str(run))
    events.Reload()
    if "train/loss" not in events.Tags()["scalars"]:
        return 0, 0.0
    logged = events.Scalars("train/loss")
    pace = [(new.wall_time - old.wall_time) / (new.step - old.step) for old, new in pairwise(logged)]
    steps = logged[-1].step + 1
    return steps, steps * median(pace) / 60.0 if pace else 0.0


def _table(reports: dict[str, Report], costs: dict[str, tuple[int, float]]) -> str:
    header = ["system", *FIGURES.values(), "steps", "minutes"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for name, report in reports.items():
        figures = [_cell(report, figure) for figure in FIGURES]
        steps, minutes = costs[name]
        lines.append("| " + " | ".join([name, *figures, str(steps), f"{minutes:.0f}"]) + " |")
    return "\n".join(lines)


def _cell(report: Report, figure: str) -> str:
    """The figure and its interval."""
    value, interval = getattr(report, figure) or 0.0, report.intervals.get(figure)
    if interval is None or interval.low is None or interval.high is None:
        return f"{value:.3f}"
    return f"{value:.3f} ({interval.low:.3f}-{interval.high:.3f})"


def _rows(reports: dict[str, Report]) -> list[dict[str, Any]]:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, no GPU"
    rows = []
    for name, report in reports.items():
        for figure in FIGURES:
            value, peer = (getattr(of_one, figure) or 0.0 for of_one in (report, reports["supervised only"]))
            interval = report.intervals.get(figure)
            rows.append(
                {
                    "name": f"esc10 {figure} {name}",
                    "value": value,
                    "interval": [interval.low, interval.high] if interval else None,
                    "unit": "fraction",
                    "peer": "supervised only",
                    "peer_value": peer,
                    "ratio": value / peer if peer else None,
                    "machine": machine,
                }
            )
    return rows


def _write_scores(systems: dict[str, tuple[Path, str]], path: Path) -> None:
    """<system>: (clips, frames, classes) uint16 of 65535 * score; audio_ids, labels, onsets (frames,) beside them."""
    arrays: dict[str, Any] = {}
    for name, (run, model) in systems.items():
        tables = sorted((run / "metrics_test" / model / "scores" / "raw").glob("*.tsv"))
        values = [np.loadtxt(table, delimiter="\t", skiprows=1) for table in tables]
        arrays[name] = np.rint(np.stack([table[:, 2:] for table in values]) * 65535).astype(np.uint16)
        arrays["audio_ids"] = np.array([table.stem for table in tables])
        arrays["labels"] = np.array(tables[0].open(encoding="utf-8").readline().split()[2:])
        arrays["onsets"] = values[0][:, 0]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


if __name__ == "__main__":
    run_recipe(main)
