"""What soundscape mixtures are worth to a tagger of clips: begun from a training on mixtures, against from scratch.

ESC-10, tested on one fold or several; mixtures are an LMDB of soundscapes of the other folds' recordings, so that
nothing of a tested fold was heard before. All are ordinary runs of confs/tagging/esc10.yaml with some keys replaced:

    scratch               the clips of the other folds, for --epochs epochs
    scratch, longer       the same for as many steps as the training on mixtures and this one have together
    mixtures, fine-tuned  begun from a training on the mixtures (--mixture_epochs), then as `scratch`
    mixtures, frozen      the same, of which only the head goes on to learn (training.freeze_trunk)
    mixtures alone        the training on mixtures, asked about the clips

The head is begun from, too, as its classes are the same. Nothing selects an epoch: averaged weights of the last third
are tested. Differences to `scratch` are paired by seed, +- the 95 % interval of their mean over the seeds; in brackets
the interval over test recordings (paired bootstrap of the mean over the seeds).

    python recipes/pack_lmdb.py --mixture_dir "mixtures/train" --lmdb_path mixtures/without_4.lmdb
    python benchmarks/transfer.py --esc10 FOLDER --mixtures mixtures/without_4.lmdb --json docs/results/transfer.json
    python benchmarks/transfer.py --esc10 FOLDER --mixtures "mixtures/without_{fold}.lmdb" --test_folds 1 2 3 4
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from esc10_tagging import FIGURES, NUM_SAMPLES, TESTED, Results, recordings_of
from esc10_trainings import CONF, FOLDS, SEEDS, Training, train_missing
from machine import describe_machine
from numpy.typing import NDArray
from row_files import write_rows

from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.data.corpora.esc import EscOptions, read_esc
from desed_task.data.corpora.lmdb import LmdbOptions, read_lmdb
from desed_task.errors import DesedTaskError
from desed_task.metrics.intervals import spread
from desed_task.metrics.report_tables import markdown
from desed_task.metrics.tag_samples import compare_tags
from desed_task.options import read_options
from desed_task.tagging import TaggingOptions

SCRATCH, LONGER, TUNED, FROZEN, ALONE = (
    *("scratch", "scratch, longer"),
    *("mixtures, fine-tuned", "mixtures, frozen", "mixtures alone"),
)


def main(argv: Sequence[str]) -> int:
    """Make what is missing, print the table, keep the rows."""
    arguments = _parser().parse_args(argv)
    plan = Plan(arguments)
    around = (arguments.exp, arguments.esc10, arguments.store, arguments.processes, arguments.set)
    alone = {fold: plan.on_mixtures(fold) for fold in arguments.test_folds}
    train_missing([training for of_fold in alone.values() for training in of_fold], *around)
    systems: dict[str, list[Training]] = {
        SCRATCH: plan.on_clips(SCRATCH, arguments.epochs),
        LONGER: plan.longer(LONGER),
        TUNED: plan.on_clips(TUNED, arguments.epochs, alone),
        FROZEN: plan.on_clips(FROZEN, arguments.epochs, alone, ("training.freeze_trunk=true",)),
    }
    train_missing([training for of_system in systems.values() for training in of_system], *around)
    systems[ALONE] = [training for of_fold in alone.values() for training in of_fold]
    rows = _compared(Results(arguments.exp, arguments.esc10), systems)
    show(_table(rows, arguments))
    if arguments.json:
        machine = describe_machine()
        write_rows([{**row, "machine": machine} for row in rows], arguments.json)
    return 0


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Clips of ESC-10: begun from mixtures, against from scratch.")
    add = parser.add_argument
    add("--esc10", type=Path, required=True, help="folder with audio/ and metadata.tsv (or meta/)")
    add("--mixtures", required=True, help="LMDB of mixtures of the other folds; {fold} stands for the tested one")
    add("--test_folds", type=int, nargs="+", choices=FOLDS, default=[FOLDS[-1]], help="folds that are tested (4)")
    add("--exp", type=Path, default=Path("exp/transfer"), help="where the runs are")
    add("--store", type=Path, default=Path("data/store"), help="where packed waveforms are")
    add("--epochs", type=whole_number(1), default=30, help="of clips (30)")
    add("--mixture_epochs", type=whole_number(1), default=10, help="of mixtures (10)")
    add("--seeds", type=whole_number(1), default=len(SEEDS), help="trainings of each system and fold (3)")
    add("--set", action="append", default=[], metavar="A.B=C", help="replace a key in every training")
    add("--processes", type=whole_number(1), default=2, help="trainings at a time, one thread each")
    add("--json", type=Path, help="write the rows here")
    return parser


@dataclass(frozen=True)
class Plan:
    """Which trainings there are."""

    arguments: Namespace

    def __post_init__(self) -> None:
        several = len(self.arguments.test_folds) > 1
        if several and "{fold}" not in self.arguments.mixtures:
            raise DesedTaskError(
                f"--mixtures {self.arguments.mixtures}: mixtures that leave out each of several test folds are needed; "
                f"write {{fold}} where their names differ"
            )

    @property
    def seeds(self) -> range:
        """From the first of the other tables on."""
        return range(SEEDS[0], SEEDS[0] + self.arguments.seeds)

    def on_mixtures(self, fold: int) -> list[Training]:
        """The training that is begun from, of every seed."""
        corpus = f"data.train.0.corpus={{name: lmdb, path: {self._lmdb(fold)}}}"
        keys = (corpus, *_lengths(self.arguments.mixture_epochs))
        return [self._training(ALONE, fold, seed, keys) for seed in self.seeds]

    def on_clips(
        self,
        system: str,
        epochs: int,
        begun: Mapping[int, Sequence[Training]] | None = None,
        more: tuple[str, ...] = (),
    ) -> list[Training]:
        """A system on every fold and seed, begun from the trainings of the same fold and seed."""
        return [
            training
            for fold in self.arguments.test_folds
            for training in self._of_fold(system, fold, epochs, begun[fold] if begun else None, more)
        ]

    def longer(self, system: str) -> list[Training]:
        """From scratch, for the steps of both trainings."""
        return [
            training
            for fold in self.arguments.test_folds
            for training in self._of_fold(system, fold, self._epochs_of_both(fold), None, ())
        ]

    def _of_fold(
        self, system: str, fold: int, epochs: int, begun: Sequence[Training] | None, more: tuple[str, ...]
    ) -> list[Training]:
        rest = [other for other in FOLDS if other != fold]
        keys = (f"data.train.0.corpus.folds={rest}", *_lengths(epochs), *more)
        starts: list[tuple[str, ...]] = [()] * len(self.seeds)
        if begun is not None:
            runs = [training.run(self.arguments.exp) for training in begun]
            starts = [(f"training.init_from={run}/averaged.ckpt",) for run in runs]
        return [
            self._training(system, fold, seed, (*keys, *start)) for seed, start in zip(self.seeds, starts, strict=True)
        ]

    def _training(self, system: str, fold: int, seed: int, keys: tuple[str, ...]) -> Training:
        common = (
            "data.validation=null",
            f"data.evaluation.fold4.folds=[{fold}]",
            f"training.seed={seed}",
            "training.num_threads=1",
        )
        return Training("transfer", system, fold, seed, (*common, *keys))

    def _lmdb(self, fold: int) -> Path:
        return Path(self.arguments.mixtures.replace("{fold}", str(fold))).absolute()

    def _epochs_of_both(self, fold: int) -> int:
        """Epochs of clips that are as many clips, and so steps, as those of mixtures and of clips together."""
        labels = read_options(CONF, TaggingOptions, self.arguments.set).labels
        mixtures = read_lmdb(LmdbOptions(name="lmdb", path=self._lmdb(fold)), "weak", labels)
        rest = tuple(other for other in FOLDS if other != fold)
        clips = read_esc(EscOptions(name="esc10", root=self.arguments.esc10, folds=rest), "weak", labels)
        heard = self.arguments.mixture_epochs * mixtures.files_present
        return int(self.arguments.epochs + round(heard / clips.files_present))


def _lengths(epochs: int) -> tuple[str, ...]:
    """The course of confs/tagging/esc10.yaml, its parts in proportion."""
    after, every = round(0.6 * epochs), max(1, epochs // 10)
    return (
        f"training.n_epochs={epochs}",
        f"training.schedule={{name: periodic, after_epochs: {after}, every_epochs: {every}, factor: 0.5}}",
        f"training.weight_averaging={{first_epoch: {1 + round(0.67 * (epochs - 1))}}}",
        "training.ensemble=null",
    )


def _compared(results: Results, systems: Mapping[str, Sequence[Training]]) -> list[dict[str, Any]]:
    """A row per system and figure."""
    scratch, truth, groups = _scores(results, systems[SCRATCH])
    figures_of_scratch = {figure: _by_seed(results, systems[SCRATCH], figure) for figure in FIGURES}
    rows = []
    for system, trainings in systems.items():
        values_of_system, _, _ = _scores(results, trainings)
        over_clips = compare_tags(values_of_system, scratch, truth, NUM_SAMPLES, groups=groups)
        for figure, title in FIGURES.items():
            values, theirs = _by_seed(results, trainings, figure), figures_of_scratch[figure]
            mean, peer = spread(values), spread(theirs)
            difference = spread([mine - other for mine, other in zip(values, theirs, strict=True)])
            clips = over_clips[figure]
            rows.append(
                {
                    "name": f"transfer {title} {system}",
                    "system": system,
                    "figure": figure,
                    "value": mean.mean,
                    "unit": "fraction",
                    "peer": SCRATCH,
                    "peer_value": peer.mean,
                    "ratio": mean.mean / peer.mean if peer.mean else None,
                    "half_width": mean.half_width,
                    "seeds": values,
                    "difference": difference.mean,
                    "difference_half_width": difference.half_width,
                    "difference_over_clips": [clips.low, clips.high],
                    "minutes": max(results.minutes(training) for training in trainings),
                }
            )
    return rows


def _by_seed(results: Results, trainings: Sequence[Training], figure: str) -> list[float]:
    """The figure of each seed, the mean over its test folds."""
    of_seeds: dict[int, list[float]] = {}
    for training in trainings:
        of_seeds.setdefault(training.seed, []).append(float(results.report(training)[figure]))
    return [float(np.mean(of_folds)) for of_folds in of_seeds.values()]


def _scores(
    results: Results, trainings: Sequence[Training]
) -> tuple[list[NDArray[np.float32]], NDArray[np.bool_], list[str]]:
    """Of each seed the scores of all test folds; their truth and source recordings."""
    of_seeds = [
        results.scores([training for training in trainings if training.seed == seed], TESTED)
        for seed in dict.fromkeys(training.seed for training in trainings)
    ]
    audio_ids, _, truth = of_seeds[0]
    return [values for _, values, _ in of_seeds], truth, recordings_of(audio_ids)


def _table(rows: Sequence[Mapping[str, Any]], arguments: Namespace) -> str:
    cells: dict[str, list[str]] = {}
    for row in rows:
        cells.setdefault(row["system"], [row["system"]]).append(_cell(row))
    folds = ", ".join(str(fold) for fold in arguments.test_folds)
    head = f"Clips of fold {folds}, {arguments.seeds} seeds; mixtures: {arguments.mixtures}\n\n"
    return head + markdown([["system", *FIGURES.values()], *cells.values()])


def _cell(row: Mapping[str, Any]) -> str:
    text = f"{row['value']:.3f}"
    if row["half_width"] is not None:
        text += f" ± {row['half_width']:.3f}"
    if row["system"] == row["peer"]:
        return text
    less = f"{row['difference']:+.3f}"
    if row["difference_half_width"] is not None:
        less += f" ± {row['difference_half_width']:.3f}"
    low, high = row["difference_over_clips"]
    return f"{text} ({less}) [{low:+.3f}, {high:+.3f}]"


if __name__ == "__main__":
    run_recipe(main)
