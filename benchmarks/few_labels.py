"""Few labels, many unlabeled clips: mean teacher against supervised training, and published against fixed behaviour.

Trains, per corpus and seed, the same model on the same labelled clips for the same number of steps:

    mean teacher           the default behaviour
    mean teacher, 2022     the options of confs/sed/compat_2022.yaml that act on training and testing
    supervised             no teacher, no unlabeled clips (half of the clips, one pass instead of two)

Finished runs are not repeated; their scores are evaluated anew. Prints a Markdown table per corpus: the mean over the
seeds with the 95 % interval of the mean, the difference to the default mean-teacher student, paired by seed, and in
square brackets the 95 % interval of that difference over test clips (paired bootstrap of the mean over the seeds).
--json FILE keeps the numbers.

    python recipes/generate_soundscapes.py --conf_file confs/soundscapes/few_labels.yaml --output_dir data/few_labels
    python recipes/generate_soundscapes.py --conf_file confs/soundscapes/esc10_semi.yaml --output_dir data/esc10_semi \
        --set soundbank.root=ESC10
    python benchmarks/few_labels.py --json docs/results/few_labels.json
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from paired_reports import compared, table_of
from rescoring import score_run

from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.errors import DesedTaskError
from desed_task.metrics.report import Report

ROOT = Path(__file__).resolve().parent.parent
CORPORA = {"procedural": "few_labels", "ESC-10": "esc10_semi"}
PUBLISHED = (
    "model.batch_norm_momentum=0.99",
    "training.full_rate_first_step=true",
    "training.mean_teacher.follows=before_step",
    "data.evaluation_length=clip",
)
SYSTEMS = ("mean teacher", "mean teacher, 2022", "supervised")
FIGURES = {
    "psds1": "PSDS1",
    "psds2": "PSDS2",
    "collar_f1_macro": "collar F1",
    "intersection_f1_macro": "intersection F1",
}
PEER = ("mean teacher", "student")
ROWS = (*((system, "student") for system in SYSTEMS), ("mean teacher", "teacher"), ("mean teacher, 2022", "teacher"))


@dataclass(frozen=True)
class Run:
    """One training: of a system, on a corpus, with a seed."""

    corpus: str
    system: str
    seed: int
    log_dir: Path

    @property
    def folder(self) -> Path:
        """Its log folder, which holds one finished version_N or is not finished."""
        return self.log_dir / CORPORA[self.corpus] / self.system.replace(", ", "_").replace(" ", "_") / str(self.seed)

    @property
    def is_finished(self) -> bool:
        """Whether every model was tested."""
        reports = list(self.folder.glob("version_*/metrics_test/*/report.json"))
        return len(reports) == (1 if self.system == "supervised" else 2)

    def reports(self) -> dict[str, Report]:
        """student, teacher -> report; empty when the run is not finished."""
        return score_run(next(self.folder.glob("version_*"))) if self.is_finished else {}

    def train(self, num_threads: int, further: Sequence[str]) -> None:
        """Run the recipe in a process of its own, with `further` overrides."""
        conf = ROOT / "confs" / "sed" / f"{CORPORA[self.corpus]}.yaml"
        overrides = [f"training.seed={self.seed}", f"training.num_threads={num_threads}"]
        if self.system == "mean teacher, 2022":
            overrides += PUBLISHED
        if self.system == "supervised":
            labelled = yaml.safe_load(conf.read_text(encoding="utf-8"))["data"]["train"][:2]
            overrides += ["training.mean_teacher=null", f"data.train={json.dumps(labelled)}"]
        command = [
            sys.executable,
            str(ROOT / "recipes" / "train_sed.py"),
            "--conf_file",
            str(conf),
            "--log_dir",
            str(self.folder),
        ]
        command += [f"--set={override}" for override in (*overrides, *further)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise DesedTaskError(
                f"{' '.join(command)} failed: {(ran.stderr.strip() or f'exit code {ran.returncode}').splitlines()[-1]}"
            )


def main(argv: Sequence[str]) -> int:
    """Train what is missing, print the tables."""
    parser = RecipeParser(description="Mean teacher, published behaviour and supervised training with few labels.")
    parser.add_argument("--log_dir", type=Path, default=Path("exp/few_labels"), help="where the runs lie")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44], help="one training each")
    parser.add_argument("--num_threads", type=int, default=os.cpu_count() or 1, help="CPU threads of a training")
    parser.add_argument("--tables_only", action="store_true", help="train nothing")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="replace a key in every training")
    parser.add_argument("--json", type=Path, help="write the rows here")
    arguments = parser.parse_args(argv)
    log_dir = arguments.log_dir.resolve()
    runs = [Run(corpus, system, seed, log_dir) for seed in arguments.seeds for corpus in CORPORA for system in SYSTEMS]
    for run in runs:
        if not run.is_finished and not arguments.tables_only:
            show(f"training {run.system} on {run.corpus}, seed {run.seed}")
            run.train(arguments.num_threads, arguments.set)
    rows = [row for corpus in CORPORA for row in _rows(corpus, [run for run in runs if run.corpus == corpus])]
    for corpus in CORPORA:
        show(table_of(corpus, [row for row in rows if row["corpus"] == corpus], FIGURES, ", ".join(PEER)))
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def _rows(corpus: str, runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """One row per system, model and figure, with the paired difference to the peer."""
    reports = {(run.system, run.seed): run.reports() for run in runs}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, no GPU"
    for system, model in ROWS:
        seeds = [seed for name, seed in reports if name == system and model in reports[name, seed]]
        seeds = [seed for seed in seeds if PEER[1] in reports[PEER[0], seed]]
        if not seeds:
            continue
        of_system = [reports[system, seed][model] for seed in seeds]
        of_peer = [reports[PEER[0], seed][PEER[1]] for seed in seeds]
        for row in compared(of_system, of_peer, FIGURES):
            yield {
                "name": f"few labels {corpus} {row['figure']} {system}, {model}",
                "corpus": corpus,
                "system": f"{system}, {model}",
                "seeds": seeds,
                "peer": ", ".join(PEER),
                **row,
                "machine": machine,
            }


if __name__ == "__main__":
    run_recipe(main)
