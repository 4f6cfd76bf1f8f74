"""Training a detector: what is prepared, and how the best student and teacher are tested at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from desed_task.clips import ClipSet
from desed_task.data.dataset import BatchDataset
from desed_task.errors import CorpusError
from desed_task.experiment import (
    SedOptions,
    build_clip_set,
    build_dataset,
    build_module,
    build_system,
    load_system,
    with_resolved_embedders,
)
from desed_task.runs.clip_sets import read_clip_sets, read_test_set
from desed_task.runs.task import Prepared, Reports, Task
from desed_task.runs.testing import test
from desed_task.runs.validation import build_validation
from desed_task.training.energy import EnergyReading
from desed_task.training.ranks import Ranks
from desed_task.training.run_folder import is_of_whole_training


def _prepare(options: SedOptions, device: torch.device, fast_dev_run: bool, begins: bool, ranks: Ranks) -> Prepared:
    around = build_system(options, {})
    for number, source in enumerate(options.data.train):
        ranks.every(partial(ranks.share.rows_of, source.batch_size, f"data.train.{number}"))
    # One rank of each machine looks at every file, the others of that machine rely on it.
    sets = ranks.in_turn(lambda: read_clip_sets(around, fast_dev_run, checked=ranks.local_rank > 0))
    validation = ranks.in_turn(lambda: build_validation(sets.validation, around, device, ranks))
    dataset = ranks.in_turn(lambda: build_dataset(options, sets.train, around.labels, around.grid, device, ranks.share))
    ranks.every(partial(require_one_set, ranks.gather(dataset.fingerprint)))
    module = build_module(options, dataset, validation, begins)
    return Prepared(module, dataset, partial(_test_the_best, sets.test, device))


def require_one_set(fingerprints: Sequence[str]) -> None:
    """CorpusError when the machines do not hold the same clips."""
    if len(set(fingerprints)) > 1:
        raise CorpusError(
            "data.train: the machines of this training do not hold the same clips or labels; give them the same data"
        )


def _test_the_best(
    test_set: ClipSet, device: torch.device, checkpoint: Path, folder: Path, energy: EnergyReading
) -> None:
    test(load_system(checkpoint), test_set, folder, device, energy)


def _dataset_of(options: SedOptions) -> BatchDataset:
    # Nothing is read of the clips, so none need be resident.
    mapped = options.model_copy(update={"data": options.data.model_copy(update={"residence": "mapped"})})
    around = build_system(mapped, {})
    clip_sets = [build_clip_set(source, around.labels) for source in mapped.data.train]
    return build_dataset(mapped, clip_sets, around.labels, around.grid)


def _is_tested(folder: Path) -> bool:
    reports = [folder / "metrics_test" / name / "report.json" for name in load_system(folder).models]
    return all(is_of_whole_training(report, folder) for report in reports)


def _test_again(folder: Path, device: torch.device, energy: EnergyReading) -> None:
    system = load_system(folder)
    test(system, read_test_set(system, False), folder, device, energy)


def _read_reports(folder: Path) -> Reports:
    paths = sorted((folder / "metrics_test").glob("*/report.json"))
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}


DETECTION = Task(
    name="detection",
    options=SedOptions,
    meter="SED TRAINING",
    prepare=_prepare,
    build_dataset=_dataset_of,
    is_tested=_is_tested,
    test_again=_test_again,
    tested_with="--test_from_checkpoint",
    figures={
        "psds1": "PSDS1",
        "psds2": "PSDS2",
        "collar_f1_macro": "collar F1 macro",
        "collar_f1_micro": "collar F1 micro",
        "intersection_f1_macro": "intersection F1",
        "segment_f1_macro": "segment F1 macro",
        "segment_f1_micro": "segment F1 micro",
        "tagging_f1_macro": "tagging F1",
        "energy_kwh_training": "kWh training",
        "energy_kwh_inference": "kWh inference",
    },
    read_reports=_read_reports,
    resolve=with_resolved_embedders,
)
