"""The ESC-10 tagging tables of the README: model families, the choice among them, and what each ingredient is worth.

    families   each family at reduced size, the same data, features, recipe and epochs: trained on folds 1 to 3 with
               three seeds, tested on fold 4; the interval of the mean over seeds, and over test recordings
    choice     the same families cross-validated within folds 1 to 3, which never hear fold 4; the family of the best
               accuracy is the chosen one, and its accuracy on fold 4 is the result
    ablation   mixup, SpecAugment, balanced sampling, weight averaging and ensembling: cross-validated over all four
               folds, every clip tested once, differences paired by clip (bootstrap over source recordings)

Averaged weights of the last ten epochs are tested, where nothing else is said; no epoch is selected by anything.

    python benchmarks/esc10_tagging.py --esc10 FOLDER --json docs/results/esc10_tagging.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from esc10_trainings import (
    FAMILIES,
    FOLDS,
    TEST_FOLD,
    VARIANTS,
    Training,
    ablation_trainings,
    choice_trainings,
    family_trainings,
    train_missing,
)
from machine import describe_machine
from numpy.typing import NDArray
from row_files import write_rows

from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.data.corpora.esc import EscOptions, read_esc
from desed_task.formats.clip_scores import read_clip_scores
from desed_task.labels import LabelSet
from desed_task.metrics.intervals import spread
from desed_task.metrics.tag_report import encode_tags
from desed_task.metrics.tag_samples import compare_tags, interval_of_tags

STUDIES = ("choice", "families", "ablation")
TESTED, SET = "averaged", "fold4"
NUM_SAMPLES = 1000
FIGURES = {"accuracy": "accuracy", "map": "mAP"}


def main(argv: Sequence[str]) -> int:
    """Make what is missing, print the tables, keep the rows."""
    parser = RecipeParser(description="The ESC-10 tagging tables: families, choice, ablation.")
    parser.add_argument("--esc10", type=Path, required=True, help="folder with audio/ and metadata.tsv (or meta/)")
    parser.add_argument("--exp", type=Path, default=Path("exp/esc10_tagging"), help="where the runs are")
    parser.add_argument("--store", type=Path, default=Path("data/store"), help="where packed waveforms are")
    parser.add_argument("--studies", nargs="+", choices=STUDIES, default=list(STUDIES), help="which tables")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES), help="which of them")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="replace a key in every training")
    parser.add_argument("--processes", type=int, default=2, help="trainings at a time, one thread each")
    parser.add_argument("--json", type=Path, help="write the rows here")
    arguments = parser.parse_args(argv)
    families = {family: FAMILIES[family] for family in arguments.families}
    plans = {
        "choice": list(choice_trainings(families)),
        "families": list(family_trainings(families)),
        "ablation": list(ablation_trainings()),
    }
    wanted = [training for study in arguments.studies for training in plans[study]]
    train_missing(wanted, arguments.exp, arguments.esc10, arguments.store, arguments.processes, arguments.set)
    results = Results(arguments.exp, arguments.esc10)
    rows: list[dict[str, Any]] = []
    tables = {"families": _families, "choice": _choice}
    for study in arguments.studies:
        rows += _ablation(results) if study == "ablation" else tables[study](results, families)
    if arguments.json:
        machine = describe_machine()
        write_rows([{**row, "machine": machine} for row in rows], arguments.json)
    return 0


class Results:
    """What finished runs said, and the truth."""

    def __init__(self, root: Path, esc10: Path) -> None:
        self.root = root
        self._tags = read_esc(EscOptions(name="esc10", root=esc10), "weak").tags

    def report(self, training: Training) -> dict[str, Any]:
        """The report of the tested model on the test fold."""
        report: dict[str, Any] = json.loads((self._place(training, TESTED) / "report.json").read_text(encoding="utf-8"))
        return report

    def scores(
        self, trainings: Sequence[Training], system: str = TESTED
    ) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.bool_]]:
        """audio_ids, scores and truth (clips, classes) of the test folds of some trainings, one after another."""
        parts = [read_clip_scores(self._place(training, system) / "scores.npz") for training in trainings]
        audio_ids = tuple(audio_id for part in parts for audio_id in part.audio_ids)
        values = np.concatenate([part.probs for part in parts])
        return audio_ids, values, encode_tags(self._tags, audio_ids, LabelSet(parts[0].labels))

    def minutes(self, training: Training) -> float:
        """Wall-clock minutes of a training, with whatever else the machine did."""
        run = training.run(self.root)
        assert run is not None
        work = json.loads((run / "throughput.json").read_text(encoding="utf-8"))
        return float(work["minutes"])

    def _place(self, training: Training, system: str) -> Path:
        run = training.run(self.root)
        assert run is not None, "trained before"
        return run / "metrics_test" / system / SET


def recordings_of(audio_ids: Sequence[str]) -> list[str]:
    """The source recording of each clip, `fold-recording` of its name: takes of one are drawn together."""
    return ["-".join(audio_id.split("-")[:2]) for audio_id in audio_ids]


def _families(results: Results, families: Mapping[str, str]) -> list[dict[str, Any]]:
    rows, lines = [], ["| family | accuracy | over recordings | mAP | over recordings |", "|---|---|---|---|---|"]
    for family in families:
        trainings = [training for training in family_trainings(families) if training.system == family]
        cells = [family]
        for figure, title in FIGURES.items():
            values = [results.report(training)[figure] for training in trainings]
            of_seeds, over_clips = spread(values), _interval_of_mean(results, trainings, figure)
            low, high = of_seeds.interval or (of_seeds.mean, of_seeds.mean)
            cells += [f"{of_seeds.mean:.3f} ({low:.3f}-{high:.3f})", f"{over_clips[0]:.3f}-{over_clips[1]:.3f}"]
            rows.append(_row(f"esc10 tagging {title} {family}", of_seeds.mean, [low, high], values, over_clips))
        lines.append("| " + " | ".join(cells) + " |")
    show("Fold 4, three seeds: mean, 95 % interval of the mean over seeds, and over test recordings\n")
    show("\n".join(lines) + "\n")
    return rows


def _interval_of_mean(results: Results, trainings: Sequence[Training], figure: str) -> list[float]:
    """95 % over test recordings, of the seed whose figure is the middle one."""
    ordered = sorted(trainings, key=lambda training: float(results.report(training)[figure]))
    audio_ids, values, truth = results.scores([ordered[len(ordered) // 2]])
    interval = interval_of_tags(values, truth, NUM_SAMPLES, groups=recordings_of(audio_ids))[figure]
    return [interval.low or 0.0, interval.high or 0.0]


def _choice(results: Results, families: Mapping[str, str]) -> list[dict[str, Any]]:
    rows, accuracies = [], {}
    lines = ["| family | accuracy within folds 1 to 3 | mAP |", "|---|---|---|"]
    for family in families:
        trainings = [training for training in choice_trainings(families) if training.system == family]
        audio_ids, values, truth = results.scores(trainings)
        intervals = interval_of_tags(values, truth, NUM_SAMPLES, groups=recordings_of(audio_ids))
        accuracies[family] = float(intervals["accuracy"].value or 0.0)
        cells = [f"{one.value:.3f} ({one.low:.3f}-{one.high:.3f})" for one in (intervals["accuracy"], intervals["map"])]
        lines.append("| " + " | ".join([family, *cells]) + " |")
        interval = [intervals["accuracy"].low or 0.0, intervals["accuracy"].high or 0.0]
        rows.append(
            _row(f"esc10 tagging choice {family}", accuracies[family], interval, [accuracies[family]], interval)
        )
    chosen = max(accuracies, key=lambda family: accuracies[family])
    show("Cross-validated within folds 1 to 3 (237 clips)\n")
    show("\n".join(lines) + "\n")
    trainings = [training for training in family_trainings(families) if training.system == chosen]
    if any(training.run(results.root) is None for training in trainings):
        show(f"Chosen: {chosen}. Not yet trained on all three folds (--studies families)\n")
        return rows
    seeds = [float(results.report(training)["accuracy"]) for training in trainings]
    low, high = _interval_of_mean(results, trainings, "accuracy")
    minutes = max(results.minutes(training) for training in trainings)
    mean = spread(seeds)
    show(
        f"Chosen: {chosen}. On fold {TEST_FOLD}: {mean.mean:.3f} (seeds {', '.join(f'{one:.3f}' for one in seeds)}; "
        f"over recordings {low:.3f}-{high:.3f}), {minutes:.1f} minutes of training on one core\n"
    )
    rows.append(_row(f"esc10 tagging chosen {chosen}", mean.mean, list(mean.interval or ()), seeds, [low, high]))
    return rows


def _ablation(results: Results) -> list[dict[str, Any]]:
    runs: dict[str, list[Training]] = {variant: [] for variant in VARIANTS}
    for training in ablation_trainings():
        runs[training.system].append(training)
    systems: Mapping[str, tuple[str, str]] = {
        **{variant: (variant, TESTED) for variant in VARIANTS},
        "without weight averaging (last epoch)": ("recipe", "best"),
        "ensemble of ten epochs in its place": ("recipe", "ensemble"),
    }
    audio_ids, reference, truth = results.scores(runs["recipe"])
    groups = recordings_of(audio_ids)
    rows, lines = [], ["| variant | accuracy | difference | mAP | difference |", "|---|---|---|---|---|"]
    for name, (variant, system) in systems.items():
        ids, values, _ = results.scores(runs[variant], system)
        assert ids == audio_ids, "every variant is tested on the same clips"
        own = interval_of_tags(values, truth, NUM_SAMPLES, groups=groups)
        differences = compare_tags([values], [reference], truth, NUM_SAMPLES, groups=groups)
        cells = [name]
        for figure, title in FIGURES.items():
            less = differences[figure]
            cells += [f"{own[figure].value:.3f}", f"{less.value:+.3f} ({less.low:+.3f} to {less.high:+.3f})"]
            row = _row(f"esc10 tagging ablation {title} {name}", float(own[figure].value or 0.0), [], [], [])
            rows.append({**row, "difference": less.value, "difference_interval": [less.low, less.high]})
        lines.append("| " + " | ".join(cells) + " |")
    show(f"Cross-validated over folds {FOLDS[0]} to {FOLDS[-1]} ({len(audio_ids)} clips), differences paired by clip\n")
    show("\n".join(lines) + "\n")
    return rows


def _row(
    name: str, value: float, interval: Sequence[float], seeds: Sequence[float], over_clips: Sequence[float]
) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "unit": "fraction",
        "peer": None,
        "peer_value": None,
        "ratio": None,
        "interval": list(interval),
        "seeds": list(seeds),
        "interval_over_clips": list(over_clips),
    }


if __name__ == "__main__":
    run_recipe(main)
