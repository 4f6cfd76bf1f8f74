"""Several seeds: one training each, then mean, standard deviation and 95 % interval of every figure.

Every training has a run folder of its own; the summary of all is <log_dir>/seeds_<first>-<last>.json, by the numbers of
the seeds, and, of taggers, seeds_<first>-<last>.csv, their results.csv as one table. A seed that has a run of the same
conf, code, clips and labels is not begun again: its training goes on where it was, or is taken as it is when it is
finished. So a series that was interrupted is continued by the same command.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from desed_task.command_line import show
from desed_task.errors import OptionsError
from desed_task.metrics.intervals import Spread, spread
from desed_task.options import read_options
from desed_task.runs.resuming import read_resumption
from desed_task.runs.task import O, Reports, Task
from desed_task.runs.train import resume, train
from desed_task.training.keeper import LAST
from desed_task.training.ranks import ALONE, Ranks
from desed_task.training.run_folder import code_version

LOG = logging.getLogger(__name__)


def train_seeds(
    task: Task[O],
    options: O,
    num_seeds: int,
    log_dir: Path,
    device: torch.device,
    fast_dev_run: bool,
    ranks: Ranks = ALONE,
) -> Path:
    """Train with `num_seeds` seeds from the conf's on; the summary's path. OptionsError for fewer than 2."""
    if num_seeds < 2:
        raise OptionsError(f"--seeds {num_seeds}: a spread takes at least 2; leave the flag out for one training")
    runs = run_seeds(task, options, num_seeds, log_dir, device, fast_dev_run, ranks)
    return ranks.first(lambda: _write_summary(task, runs, log_dir, fast_dev_run))


def run_seeds(
    task: Task[O],
    options: O,
    num_seeds: int,
    log_dir: Path,
    device: torch.device,
    fast_dev_run: bool,
    ranks: Ranks = ALONE,
) -> dict[int, Path]:
    """Seed -> run folder, trained and tested; what was begun before goes on."""
    options = ranks.first(lambda: task.resolve(options))
    first = options.training.seed
    seeds = range(first, first + num_seeds)
    runs: dict[int, Path] = {}
    for seed in seeds:
        of_seed = options.model_copy(update={"training": options.training.model_copy(update={"seed": seed})})
        earlier = None if fast_dev_run else ranks.first(partial(find_earlier_run, task, of_seed, log_dir))
        if earlier is not None:
            runs[seed] = resume(task, earlier, (), log_dir, device, ranks)
        else:
            runs[seed] = train(task, of_seed, log_dir, device, fast_dev_run, ranks)
    return runs


def _write_summary(task: Task[O], runs: Mapping[int, Path], log_dir: Path, fast_dev_run: bool) -> Path:
    seeds = list(runs)
    reports = {seed: task.read_reports(run) for seed, run in runs.items()}
    summary = summarise(list(reports.values()), task.figures)
    show(_table(summary, task.figures))
    # A trial must not write over the summary of the series.
    path = log_dir / f"seeds_{seeds[0]}-{seeds[-1]}{'_fast_dev_run' if fast_dev_run else ''}.json"
    content = {"seeds": {seed: run.name for seed, run in runs.items()}, "models": _plain(summary)}
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)
    task.write_table(runs, path.with_suffix(".csv"))
    LOG.info("summary of %d seeds: %s", len(seeds), path)
    return path


def summarise(reports: Sequence[Reports], figures: Iterable[str]) -> dict[str, dict[str, Spread]]:
    """Reports of equal systems -> model -> figure -> spread; what one of them lacks (its scorer failed) is left out."""
    summary: dict[str, dict[str, Spread]] = {}
    for model in reports[0]:
        if not all(model in report for report in reports):
            LOG.warning("the %s of a seed has no report, so the summary is without it", model)
            continue
        values = {figure: [report[model][figure] for report in reports] for figure in figures}
        summary[model] = {figure: spread(of) for figure, of in values.items() if None not in of}
    return summary


def find_earlier_run(task: Task[O], options: O, log_dir: Path) -> Path | None:
    """The newest run of these very options and this code that has a checkpoint."""
    for folder in sorted(log_dir.glob("version_*"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        conf, code = folder / "conf.yaml", folder / "code.json"
        if not (conf.is_file() and code.is_file() and (folder / LAST).is_file()):
            continue
        same_code = json.loads(code.read_text(encoding="utf-8")) == code_version()
        if same_code and _conf_of(conf, task) == options and _is_of_these_clips(task, folder, options):
            LOG.info("seed %d: begun before, in %s", options.training.seed, folder)
            return folder
    return None


def _conf_of(path: Path, task: Task[O]) -> O | None:
    """A run's conf; None of one of another task, which may lie in the same folder of runs."""
    try:
        return read_options(path, task.options)
    except OptionsError:
        return None


def _is_of_these_clips(task: Task[O], run: Path, options: O) -> bool:
    """Whether clips and labels are still those that the run was trained on; its figures are else of other data."""
    same = read_resumption(task, run, ()).progress.data == task.build_dataset(options).fingerprint
    if not same:
        LOG.warning("%s: trained on other clips or labels than there are now, so it is none of the series", run)
    return same


def _plain(summary: Mapping[str, Mapping[str, Spread]]) -> dict[str, Any]:
    return {
        model: {figure: {**vars(of), "interval_95": of.interval} for figure, of in figures.items()}
        for model, figures in summary.items()
    }


def _table(summary: Mapping[str, Mapping[str, Spread]], titles: Mapping[str, str]) -> str:
    """Markdown: one row per figure, mean +- std and the interval of the mean, per model."""
    lines = ["| figure | " + " | ".join(f"{model} | 95 % interval" for model in summary) + " |"]
    lines.append("|---" * (1 + 2 * len(summary)) + "|")
    for figure, title in titles.items():
        cells = [_cells(figures[figure]) for figures in summary.values() if figure in figures]
        if cells:
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cells(of: Spread) -> str:
    low, high = of.interval or (of.mean, of.mean)
    return f"{of.mean:.4g} +- {of.std or 0.0:.2g} | {low:.4g} to {high:.4g}"
