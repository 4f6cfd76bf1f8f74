"""A tagger's written report, and the tables in which the published systems write their figures.

report.json     every figure; written last, so a folder with one is complete
per_class.csv   event_label,num_clips,average_precision,auc,dprime,tagging_f1,best_threshold; empty where undefined
results.csv     Model,mAP,mAUC,dprime,ckpt_path: a row per checkpoint (GISE-51-pytorch)
best_single_result.csv, wa_result.csv, ensemble_result.csv      one figure per line (PSLA): mAP and mAUC of the
                validation set, then of the evaluation set where there is one; nan where undefined
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from desed_task.formats.whole_files import write_csv, write_text
from desed_task.metrics.tag_report import TagReport

RESULTS_COLUMNS = ("Model", "mAP", "mAUC", "dprime", "ckpt_path")
CLASS_COLUMNS = ("event_label", "num_clips", "average_precision", "auc", "dprime", "tagging_f1", "best_threshold")
BEST_SINGLE, AVERAGED, ENSEMBLE = "best_single_result.csv", "wa_result.csv", "ensemble_result.csv"


@dataclass(frozen=True)
class ResultRow:
    """One checkpoint and its report."""

    model: str
    report: TagReport
    ckpt_path: Path


def write_tag_report(report: TagReport, folder: Path) -> None:
    """Write per_class.csv and report.json into the folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").unlink(missing_ok=True)
    rows = [
        (label, one.num_clips, one.average_precision, one.auc, one.dprime, one.tagging_f1, one.best_threshold)
        for label, one in report.per_class.items()
    ]
    write_csv([CLASS_COLUMNS, *rows], folder / "per_class.csv")
    write_text(json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n", folder / "report.json")


def write_results(rows: Iterable[ResultRow], path: Path) -> None:
    """The table of several checkpoints under the published header."""
    cells = [(row.model, row.report.map, row.report.mauc, row.report.dprime, row.ckpt_path) for row in rows]
    write_csv([RESULTS_COLUMNS, *cells], path)


def write_result_lines(reports: Sequence[TagReport], path: Path) -> None:
    """mAP and mAUC of each report, one figure per line: of the validation set, then of the evaluation set."""
    figures = [figure for report in reports for figure in (report.map, report.mauc)]
    write_text("".join(f"{float('nan') if figure is None else figure:.18e}\n" for figure in figures), path)
