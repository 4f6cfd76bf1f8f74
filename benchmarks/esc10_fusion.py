"""What embeddings of a tagger are worth to a detector: ESC-10 soundscapes, every way of fusion, three seeds.

The tagger (a small PANN, confs/tagging/esc10.yaml) learns to tag the recordings of folds 1 and 2, with no epoch
selected by anything, and is then frozen; its embeddings of all scenes are extracted once. The detectors learn from
scenes of the same recordings (folds 1 and 2), are selected on scenes of fold 3 and tested on scenes of fold 4: the same
conf, seeds, scenes and steps, with and without embeddings. So the tagger has seen no recording that the detectors have
not, only whole clips of them.

Finished runs are not repeated. Prints a Markdown table: the mean over the seeds with the 95 % interval of the mean, the
difference to the detector without embeddings, paired by seed, and in square brackets its interval over test scenes.

    python recipes/generate_soundscapes.py --conf_file confs/soundscapes/esc10.yaml \
        --output_dir data/esc10_soundscapes --set soundbank.root=ESC10
    python benchmarks/esc10_fusion.py --esc10 ESC10 --json docs/results/esc10_fusion.json
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import describe_machine
from paired_reports import compared, table_of
from rescoring import score_run
from row_files import write_rows
from tqdm import tqdm

from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.metrics.report import Report

CONFS = Path(__file__).resolve().parent.parent / "confs"
SEEDS = (42, 43, 44)
PEER = "without embeddings"
# What is heard of the tagger, and how it joins.
SYSTEMS: Mapping[str, tuple[str, str, str] | None] = {
    PEER: None,
    "global": ("global", "global", "concatenated"),
    "frame (GRU)": ("segments", "frame", "concatenated"),
    "interpolate": ("segments", "interpolate", "concatenated"),
    "pool1d": ("segments", "pool1d", "concatenated"),
    "aligned": ("segments", "aligned", "concatenated"),
    "aligned, gated": ("segments", "aligned", "gated"),
}
TAGGER = (
    "features={name: panns, sample_rate: 16000}",
    "model={name: cnn14, architecture: cnn6, width: 0.25}",
    "augmentations=[{name: time_roll, max_frames: 100}, {name: mixup, domain: normalised, per: clip, "
    "probability: 0.5, alpha: 1.0}, {name: spec_augment, domain: normalised, probability: 0.5, max_bands: 8, "
    "max_frames: 24, fill: minimum}]",
    "data.validation=null",
)
# A small CRNN, sixteen hundred steps of twelve clips, on one thread each.
DETECTOR = (
    "features={name: logmel, n_window: 1024, hop_length: 512, n_mels: 64}",
    "model.nb_filters=[16, 32, 64, 64]",
    "model.pooling=[[1, 4], [2, 2], [1, 4], [1, 2]]",
    "model.n_rnn_cell=64",
    "model.rnn_layers=1",
    "data.train.0.batch_size=9",
    "data.train.1.batch_size=3",
    "training.n_epochs=8",
    "training.n_epochs_warmup=1",
    "training.decay_from_epoch=4",
    "training.validation_interval=2",
    "training.num_threads=1",
)
FIGURES = {
    "psds1": "PSDS1",
    "psds2": "PSDS2",
    "collar_f1_macro": "collar F1",
    "intersection_f1_macro": "intersection F1",
}


@dataclass(frozen=True)
class Training:
    """One detector: of a system, with a seed."""

    system: str
    seed: int

    def folder(self, root: Path) -> Path:
        """Its log folder."""
        words = "".join(letter if letter.isalnum() else "_" for letter in self.system)
        return root / words / str(self.seed)

    def run(self, root: Path) -> Path | None:
        """Its finished run folder, if there is one."""
        tested = sorted(self.folder(root).glob("version_*/metrics_test/student/report.json"))
        return tested[-1].parents[2] if tested else None

    def keys(self, root: Path) -> list[str]:
        """What is replaced in the conf."""
        heard = SYSTEMS[self.system]
        if heard is None:
            return [*DETECTOR, f"training.seed={self.seed}"]
        output, way, join = heard
        embedder = (
            f"{{name: tagger, checkpoint: {tagger_of(root)}, output: {output}, mode: stored, "
            f"store: {root / 'embeddings' / output / 'tagger'}}}"
        )
        fusion = [f"embedders={{tagger: {embedder}}}", f"model.fusion={{ways: {{tagger: {way}}}, join: {join}}}"]
        return [*DETECTOR, f"training.seed={self.seed}", *fusion]


def main(argv: Sequence[str]) -> int:
    """Train what is missing, print the table, keep the rows."""
    parser = RecipeParser(description="Detectors of ESC-10 soundscapes with and without a tagger's embeddings.")
    parser.add_argument("--esc10", type=Path, required=True, help="folder with audio/ and metadata.tsv")
    parser.add_argument("--exp", type=Path, default=Path("exp/esc10_fusion"), help="where the runs are")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="one training each")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="which of them")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="replace a key in every detector")
    parser.add_argument("--processes", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--json", type=Path, help="write the rows here")
    arguments = parser.parse_args(argv)
    root = arguments.exp.resolve()
    train_tagger(root, arguments.esc10)
    extract(root)
    systems = list(dict.fromkeys([PEER, *arguments.systems]))
    trainings = [Training(system, seed) for seed in arguments.seeds for system in systems]
    missing = [training for training in trainings if training.run(root) is None]
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(train, training, root, tuple(arguments.set)) for training in missing]
        for job in tqdm(jobs, unit="training", disable=None):
            job.result()
    rows = rows_of(root, systems, arguments.seeds)
    show(table_of("fusion", rows, FIGURES, PEER))
    if arguments.json:
        write_rows(rows, arguments.json)
    return 0


def tagger_of(root: Path) -> Path:
    """The run folder of the tagger."""
    return root / "tagger" / "version_0"


def train_tagger(root: Path, esc10: Path) -> None:
    """Train it, or finish it, if it is not there."""
    from desed_task.runs.tagging_command import run_tagging

    run = tagger_of(root)
    if (run / "results.csv").is_file():
        return
    if (run / "last.ckpt").is_file():
        run_tagging(["--resume_from", str(run)], run.parent)
        return
    places = (f"data.train.0.corpus.root={esc10}", f"data.evaluation.fold4.root={esc10}")
    sets = [word for key in (*TAGGER, *places) for word in ("--set", key)]
    run_tagging(["--conf_file", str(CONFS / "tagging" / "esc10.yaml"), "--expdir", str(run.parent), *sets], run.parent)


def extract(root: Path) -> None:
    """Extract the tagger's embeddings of every set, those that are missing."""
    recipe = CONFS.parent / "recipes" / "extract_embeddings.py"
    for output in sorted({heard[0] for heard in SYSTEMS.values() if heard is not None}):
        system = next(name for name, heard in SYSTEMS.items() if heard is not None and heard[0] == output)
        sets = [f"--set={key}" for key in Training(system, SEEDS[0]).keys(root)]
        flags = ["--conf_file", str(detector_conf()), "--output_dir", str(root / "embeddings" / output)]
        subprocess.run([sys.executable, str(recipe), *flags, *sets], check=True)


def detector_conf() -> Path:
    """What every detector is trained from."""
    return CONFS / "sed" / "esc10_supervised.yaml"


def train(training: Training, root: Path, further: Sequence[str]) -> None:
    """Make one run; one that was broken off goes on."""
    from desed_task.runs.command import run_training

    folder = training.folder(root)
    begun = sorted(path.parent for path in folder.glob("version_*/last.ckpt"))
    sets = [word for key in (*training.keys(root), *further) for word in ("--set", key)]
    flags = ["--resume_from_checkpoint", str(begun[-1])] if begun else ["--conf_file", str(detector_conf()), *sets]
    run_training([*flags, "--log_dir", str(folder)], detector_conf(), folder, "ESC-10 fusion")


def rows_of(root: Path, systems: Sequence[str], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """One row per system and figure."""
    reports: dict[str, list[Report]] = {}
    for system in systems:
        runs = [Training(system, seed).run(root) for seed in seeds]
        reports[system] = [score_run(run)["student"] for run in runs if run is not None]
    machine = describe_machine()
    return [
        {"name": f"esc10 fusion {row['figure']} {system}", "system": system, "peer": PEER, **row, "machine": machine}
        for system in systems
        for row in compared(reports[system], reports[PEER], FIGURES)
    ]


if __name__ == "__main__":
    run_recipe(main)
