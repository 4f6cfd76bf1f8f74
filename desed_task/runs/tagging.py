"""Training a tagger: what is prepared, and how what came of it is tested at the end."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path

import torch

from desed_task.data.checking import check_recordings
from desed_task.data.dataset import BatchDataset
from desed_task.runs.detection import require_one_set
from desed_task.runs.tagging_results import write_seeds
from desed_task.runs.tagging_sets import TaggingSet, open_tagging_sets, read_tagging_sets
from desed_task.runs.tagging_testing import METRICS, test_taggers
from desed_task.runs.tagging_validation import TaggingValidation
from desed_task.runs.task import Prepared, Reports, Task
from desed_task.tagging import (
    TASK,
    Tagger,
    TaggingOptions,
    build_tagger,
    build_tagging_dataset,
    build_tagging_module,
    load_tagger,
    read_training_sets,
    require_initial_weights,
)
from desed_task.training.energy import EnergyReading
from desed_task.training.fit import FAST_DEV_STEPS
from desed_task.training.ranks import Ranks
from desed_task.training.run_folder import find_checkpoint, is_of_whole_training

LOG = logging.getLogger(__name__)
FAST_DEV_CLIPS = 8


def _prepare(options: TaggingOptions, device: torch.device, fast_dev_run: bool, begins: bool, ranks: Ranks) -> Prepared:
    if begins:
        ranks.every(partial(require_initial_weights, options))
    around = build_tagger(options, {})
    for number, source in enumerate(options.data.train):
        ranks.every(partial(ranks.share.rows_of, source.batch_size, f"data.train.{number}"))
    limit, few = (FAST_DEV_STEPS, FAST_DEV_CLIPS) if fast_dev_run else (None, None)
    train = ranks.in_turn(lambda: read_training_sets(options, around.labels, limit))
    evaluated = ranks.in_turn(lambda: read_tagging_sets(options, around.labels, few))
    if ranks.local_rank == 0:
        parts = [part for clip_set in (*train, *evaluated.values()) for part in clip_set.parts or (clip_set,)]
        check_recordings(parts, options.data.store, options.features.sample_rate)
    sets = ranks.in_turn(lambda: open_tagging_sets(evaluated, around))
    dataset = ranks.in_turn(
        lambda: build_tagging_dataset(options, train, around.labels, around.grid, device, ranks.share)
    )
    ranks.every(partial(require_one_set, ranks.gather(dataset.fingerprint)))
    validation = TaggingValidation(sets, around, device, ranks)
    module, loaded = build_tagging_module(options, len(dataset), validation.validate, validation.predict_sets, begins)
    if loaded is not None:
        LOG.info("initial weights: %s", loaded)
    return Prepared(module, dataset, partial(_test, sets, device, limit))


def _test(
    sets: dict[str, TaggingSet],
    device: torch.device,
    limit: int | None,
    checkpoint: Path,
    folder: Path,
    energy: EnergyReading,
) -> None:
    test_taggers(checkpoint, folder, sets, device, energy, limit)


def _dataset_of(options: TaggingOptions) -> BatchDataset:
    # Nothing is read of the clips, so none need be resident.
    mapped = options.model_copy(update={"data": options.data.model_copy(update={"residence": "mapped"})})
    around = build_tagger(mapped, {})
    return build_tagging_dataset(mapped, read_training_sets(mapped, around.labels), around.labels, around.grid)


def _is_tested(folder: Path) -> bool:
    return is_of_whole_training(folder / "results.csv", folder)


def _test_again(folder: Path, device: torch.device, energy: EnergyReading) -> None:
    tagger = load_tagger(folder)
    test_taggers(find_checkpoint(folder), folder, open_sets_of(tagger), device, energy)


def open_sets_of(tagger: Tagger) -> dict[str, TaggingSet]:
    """The validation and evaluation sets that a tagger's options name."""
    return open_tagging_sets(read_tagging_sets(tagger.options, tagger.labels), tagger)


def _read_reports(folder: Path) -> Reports:
    paths = sorted((folder / METRICS).glob("*/*/report.json"))
    return {
        f"{path.parent.parent.name} on {path.parent.name}": json.loads(path.read_text(encoding="utf-8"))
        for path in paths
    }


TAGGING = Task(
    name=TASK,
    options=TaggingOptions,
    meter="TAGGING TRAINING",
    prepare=_prepare,
    build_dataset=_dataset_of,
    is_tested=_is_tested,
    test_again=_test_again,
    tested_with="recipes/evaluate.py --checkpoint",
    figures={
        "map": "mAP",
        "mauc": "mAUC",
        "dprime": "d'",
        "accuracy": "accuracy",
        "tagging_f1_macro": "tagging F1",
        "energy_kwh_training": "kWh training",
        "energy_kwh_inference": "kWh inference",
    },
    read_reports=_read_reports,
    write_table=write_seeds,
)
