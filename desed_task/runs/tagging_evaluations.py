"""One system, or every trained run below a folder, evaluated on a list of recordings: results, one row per system.

<output>/results.csv                    Model,mAP,mAUC,dprime,ckpt_path, written again after every system
<output>/<run>/{report.json, ...}       of a folder of runs; those of one system lie in <output> itself
<export>/<run>/mAP=..._dprime=..._num_classes=....pth      the weights alone, where they are asked for
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from desed_task.command_line import show
from desed_task.errors import CheckpointError, DesedTaskError, OptionsError
from desed_task.listening import Listener
from desed_task.metrics.report_tables import format_tag_table, markdown
from desed_task.metrics.tag_report import TagReport
from desed_task.metrics.tag_report_files import RESULTS_COLUMNS, ResultRow, write_results
from desed_task.options import read_options
from desed_task.runs.tagging_evaluation import Crop, evaluate_on, require_classes, write_evaluation
from desed_task.training.run_folder import find_checkpoint

LOG = logging.getLogger(__name__)
VALIDATION = "validation"
# Opens a system when its turn has come.
Opens = Callable[[], Listener]


def evaluate_all(
    systems: Mapping[str, tuple[Path, Opens]],
    corpus: Any,
    crop: Crop,
    output: Path | None,
    label_map: Path | None = None,
    top_k: int | None = None,
    apart: bool = False,
    export: Path | None = None,
) -> int:
    """Evaluate, write where there is an output folder, print; the exit code.

    systems: name -> (bundle or checkpoint, how it is opened). apart: each has a folder of its own in the output; what
    is wrong with one is said, the others are evaluated all the same, and the exit code is 2. export: the folder that
    receives the weights of each tagger, called after its figures.
    """
    rows: list[ResultRow] = []
    refused = 0
    for name, (path, opens) in systems.items():
        try:
            listener = opens()
            if label_map is not None:
                require_classes(label_map, listener.postprocessing.labels)
            evaluation = evaluate_on(listener, corpus, crop)
            if export is not None:
                _export(path, evaluation.report, export / name if apart else export)
        except DesedTaskError as error:
            if not apart:
                raise
            LOG.error("error: %s: %s", name, error)
            refused += 1
            continue
        rows.append(ResultRow(name, evaluation.report, path))
        if output is not None:
            write_evaluation(evaluation, output / name if apart else output, top_k)
            write_results(rows, output / "results.csv")
    if rows:
        show(format_tag_table({row.model: row.report for row in rows}))
        show(markdown([RESULTS_COLUMNS[:4], *(_published_row(row.model, row.report) for row in rows)]))
    return 2 if refused else 0


def _export(checkpoint: Path, report: TagReport, folder: Path) -> None:
    from desed_task.published.weight_export import weights_name, write_weights
    from desed_task.tagging import load_tagger
    from desed_task.training.tagging_module import MODEL

    tagger = load_tagger(checkpoint)
    path = folder / weights_name(report.map, report.dprime, len(tagger.labels))
    write_weights(tagger.models[MODEL], path)
    LOG.info("weights: %s", path)


def find_runs(folder: Path) -> dict[str, Path]:
    """The best checkpoint of each run at or below `folder`, by the run's path in it; CheckpointError without any."""
    if not folder.is_dir():
        raise CheckpointError(f"--folder {folder}: no such folder of runs")
    runs = {
        str(run.relative_to(folder)) if run != folder else run.resolve().name: find_checkpoint(run)
        for run in _run_folders(folder)
        if any(run.glob("epoch=*.ckpt")) or (run / "last.ckpt").is_file()
    }
    if not runs:
        raise CheckpointError(f"--folder {folder}: no trained run (a folder with conf.yaml and checkpoints) in it")
    return runs


def _run_folders(folder: Path) -> Iterator[Path]:
    by_number = sorted(folder.rglob("conf.yaml"), key=lambda path: (path.parent.parent, _number(path.parent.name)))
    yield from (path.parent for path in by_number)


def _number(name: str) -> tuple[int, str]:
    number = name.rpartition("_")[2]
    return (int(number) if number.isdecimal() else -1), name


def corpus_of_conf(conf: Path, name: str | None) -> Any:
    """The set of a tagging conf that `name` names: one of data.evaluation, or validation; by default the only one."""
    from desed_task.tagging import TaggingOptions

    data = read_options(conf, TaggingOptions).data
    sets = {**data.evaluation, **({} if data.validation is None else {VALIDATION: data.validation})}
    if name is None and sets:
        name = next(iter(sets))
    if name not in sets:
        raise OptionsError(f"--on {name}: {conf} has no such set; it has {', '.join(sets) or 'none'}")
    return sets[name]


def _published_row(name: str, report: TagReport) -> tuple[str, ...]:
    """Six digits, as the published scripts print them."""
    figures = (report.map, report.mauc, report.dprime)
    return (name, *("nan" if figure is None else f"{figure:.6f}" for figure in figures))
