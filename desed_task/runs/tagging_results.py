"""One table of several trainings of taggers: a row per run, then mean and standard deviation, under published headers.

    Model,mAP,mAUC,dprime,ckpt_path                   of one training with several seeds (GISE-51's eval_gise_mixtures)
    Model,run,train_set,mAP,mAUC,dprime,ckpt_path     on several training sets (its eval_all_mixtures)

`Model` says which system of a run (best, averaged, ensemble) on which set. Published scripts leave the means to whoever
reads the table; here mean and deviation stand below the runs that they are of, where these are several, without a
ckpt_path. A figure that one of the runs does not have (undefined) is empty in both.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from desed_task.formats.whole_files import write_csv
from desed_task.metrics.intervals import Spread, spread
from desed_task.metrics.tag_report_files import RESULTS_COLUMNS

FIGURES = RESULTS_COLUMNS[1:4]
SETS_COLUMNS = (RESULTS_COLUMNS[0], "run", "train_set", *RESULTS_COLUMNS[1:])


@dataclass(frozen=True)
class Result:
    """A row of a run's results.csv. figures: mAP, mAUC, d'; None where undefined."""

    model: str
    figures: tuple[float | None, ...]
    ckpt_path: str


def read_results(run: Path) -> list[Result]:
    """What a tested run wrote of its systems."""
    with (run / "results.csv").open(encoding="utf-8", newline="") as stream:
        return [
            Result(row["Model"], tuple(float(row[name]) if row[name] else None for name in FIGURES), row["ckpt_path"])
            for row in csv.DictReader(stream)
        ]


def write_seeds(runs: Mapping[int, Path], path: Path) -> None:
    """seed -> run folder, as one table under the header of a single run's."""
    rows = [[f"{model}, {run}", *cells] for model, run, cells in _rows(runs)]
    write_csv([RESULTS_COLUMNS, *rows], path)


def write_training_sets(runs: Mapping[str, Mapping[int, Path]], path: Path) -> None:
    """training set -> seed -> run folder, as one table."""
    rows = [[model, run, name, *cells] for name, of_set in runs.items() for model, run, cells in _rows(of_set)]
    write_csv([SETS_COLUMNS, *rows], path)


def _rows(runs: Mapping[int, Path]) -> Iterator[tuple[str, str, list[object]]]:
    """(model, which run, mAP to ckpt_path), one model after another."""
    results = {seed: {result.model: result for result in read_results(run)} for seed, run in runs.items()}
    for model in dict.fromkeys(model for of_run in results.values() for model in of_run):
        known = {seed: of_run[model] for seed, of_run in results.items() if model in of_run}
        for seed, result in known.items():
            yield model, f"seed {seed}", [*result.figures, result.ckpt_path]
        if len(known) > 1:
            spreads = [_spread(column) for column in zip(*(result.figures for result in known.values()), strict=True)]
            yield model, f"mean of {len(known)}", [*(of and of.mean for of in spreads), None]
            yield model, f"std of {len(known)}", [*(of and of.std for of in spreads), None]


def _spread(column: Sequence[float | None]) -> Spread | None:
    """Of all runs; None where one of them has no figure."""
    values = [value for value in column if value is not None]
    return spread(values) if len(values) == len(column) else None
