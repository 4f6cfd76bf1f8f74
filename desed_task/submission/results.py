"""The written results of an evaluation: JSON, Markdown, and the page.

One system:                              Several:
    report.json                              leaderboard.json   one entry per system, in order
    report.md                                report.md          the leaderboard, the figures, the classes
    report.html                              report.html        all systems on one page
                                             <system>/report.json

A report of several runs has the means of their figures, `spread_over_runs` (mean and standard deviation of each figure)
and `runs` (the report of each). JSON files are written last, so a folder that has one is complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from desed_task.metrics.report_tables import format_class_table, format_table
from desed_task.submission.evaluation import EvaluatedSystem
from desed_task.submission.leaderboard import Standing, format_leaderboard, leaderboard_json
from desed_task.submission.page import write_page
from desed_task.submission.page_views import Page


def write_results(systems: Sequence[EvaluatedSystem], standings: Sequence[Standing], page: Page, folder: Path) -> None:
    """Write everything into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    places = _places(systems, folder)
    for path in (*places.values(), folder / "leaderboard.json"):
        path.unlink(missing_ok=True)
    _write_text(results_table(systems, standings), folder / "report.md")
    write_page(page, folder / "report.html")
    for system in systems:
        places[system.name].parent.mkdir(exist_ok=True)
        _write_json(system_json(system), places[system.name])
    if len(systems) > 1:
        _write_json(leaderboard_json(standings), folder / "leaderboard.json")


def results_table(systems: Sequence[EvaluatedSystem], standings: Sequence[Standing]) -> str:
    """Markdown: the leaderboard where something is ranked or is a mean over runs, the figures, the classes."""
    reports = {system.name: system.report for system in systems}
    parts = [format_table(reports), format_class_table(reports)]
    told_apart = any(standing.ranking_score.value is not None or standing.num_runs > 1 for standing in standings)
    if len(systems) > 1 or told_apart:
        parts.insert(0, format_leaderboard(standings))
    return "\n".join(parts)


def system_json(system: EvaluatedSystem) -> dict[str, Any]:
    """What `report.json` of one system holds."""
    tree = {"system": system.name, **system.report.to_json()}
    tree["meta"] = None if system.system.meta is None else asdict(system.system.meta)
    if len(system.runs) > 1:
        tree["spread_over_runs"] = {
            name: {"mean": spread.mean, "std": spread.std, "runs": spread.count}
            for name, spread in system.spreads.items()
        }
        tree["runs"] = {run.run.name: run.report.to_json() for run in system.runs}
    return tree


def _places(systems: Sequence[EvaluatedSystem], folder: Path) -> Mapping[str, Path]:
    """system -> its report.json; names become folders with letters, digits, dots, - and _ only, told apart."""
    if len(systems) == 1:
        return {systems[0].name: folder / "report.json"}
    places: dict[str, Path] = {}
    for system in systems:
        name = re.sub(r"[^\w.-]+", "_", system.name).strip("._") or "system"
        taken = {place.parent.name.lower() for place in places.values()}
        while name.lower() in taken:
            name += "_"
        places[system.name] = folder / name / "report.json"
    return places


def _write_json(tree: Any, path: Path) -> None:
    _write_text(json.dumps(tree, indent=2, allow_nan=False) + "\n", path)


def _write_text(text: str, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
