"""Cross-validation of a tagger over the folds of its corpus: every clip is tested once, by a tagger that has not heard
it and was not selected by it (fold_options.py).

    <expdir>/fold_<number>/version_N     a run per fold and seed, an ordinary training
    <expdir>/results.csv                 Model,run,train_set,mAP,mAUC,dprime,ckpt_path: every run, and means over seeds
    <expdir>/cross_validation.json       system -> accuracy, map, mauc: of each fold (mean over seeds), their mean and
                                         deviation, and two 95 % intervals

Intervals: `interval_folds` is Student's t for the mean of the folds' figures, each fold counting the same;
`interval_clips`, of accuracy alone, is the bootstrap over the source recordings of all clips, together. The folds'
trainings share most of their clips, so the first is somewhat too narrow. Published ESC-50 accuracies (GISE-51, and many
others) take each fold's best epoch by the test fold itself, and no interval: they are too high by what selection gains.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from desed_task.clips import ClipSet
from desed_task.command_line import show
from desed_task.formats.clip_scores import read_clip_scores
from desed_task.formats.whole_files import write_text
from desed_task.labels import LabelSet
from desed_task.metrics.bootstrap import draw_samples
from desed_task.metrics.intervals import spread
from desed_task.metrics.report_tables import markdown
from desed_task.metrics.tag_report import encode_tags
from desed_task.metrics.tag_samples import SampledTags, sample_tags
from desed_task.metrics.uncertainty import NUM_SAMPLES, SAMPLES_SEED
from desed_task.runs.fold_options import set_of, with_test_fold
from desed_task.runs.seeds import run_seeds
from desed_task.runs.tagging import TAGGING
from desed_task.runs.tagging_results import write_training_sets
from desed_task.runs.tagging_testing import METRICS, RESULT_FILES
from desed_task.tagging import TaggingOptions, read_evaluation_set
from desed_task.training.ranks import ALONE, Ranks

LOG = logging.getLogger(__name__)
SUMMARY, RESULTS = "cross_validation.json", "results.csv"
FIGURES = {"accuracy": "accuracy", "map": "mAP", "mauc": "mAUC"}
# Fold -> seed -> run folder.
_Runs = Mapping[int, Mapping[int, Path]]


def cross_validate(
    options: TaggingOptions,
    num_folds: int,
    num_seeds: int,
    expdir: Path,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Path:
    """Train and test every fold, with seeds from the conf's on; the summary's path. An ended series goes on.

    OptionsError for a conf without folds, or too few of them.
    """
    folds = tuple(range(1, num_folds + 1))
    of_folds = {fold: with_test_fold(options, fold, folds) for fold in folds}
    # Asked of every fold before anything is trained: a fold that the corpus does not have is refused here.
    tested = ranks.first(lambda: {fold: _test_set(of_fold, fold) for fold, of_fold in of_folds.items()})
    runs: dict[int, dict[int, Path]] = {}
    for fold, of_fold in of_folds.items():
        LOG.info("fold %d of %d", fold, num_folds)
        runs[fold] = run_seeds(TAGGING, of_fold, num_seeds, expdir / set_of(fold), device, False, ranks)
    ranks.alone(partial(_write, runs, tested, LabelSet(options.labels), expdir))
    return expdir / SUMMARY


def _test_set(options: TaggingOptions, fold: int) -> ClipSet:
    return read_evaluation_set(options.data.evaluation[set_of(fold)], LabelSet(options.labels))


def _write(runs: _Runs, tested: Mapping[int, ClipSet], labels: LabelSet, expdir: Path) -> None:
    write_training_sets({set_of(fold): of_fold for fold, of_fold in runs.items()}, expdir / RESULTS)
    systems = {name: _summary(runs, tested, labels, name) for name in RESULT_FILES if _has_system(runs, name)}
    content = {
        "folds": {fold: {seed: str(run.relative_to(expdir)) for seed, run in runs[fold].items()} for fold in runs},
        "systems": systems,
    }
    write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", expdir / SUMMARY)
    show(_table(systems, list(runs)))
    LOG.info("cross-validation: %s, %s", expdir / SUMMARY, expdir / RESULTS)


def _has_system(runs: _Runs, system: str) -> bool:
    """Whether every run has it; one that ended before its averaging began has not."""
    return all(_place(run, system, fold).is_dir() for fold, of_fold in runs.items() for run in of_fold.values())


def _place(run: Path, system: str, fold: int) -> Path:
    return run / METRICS / system / set_of(fold)


def _summary(runs: _Runs, tested: Mapping[int, ClipSet], labels: LabelSet, system: str) -> dict[str, Any]:
    """figure -> what the top of this file says; figures that a fold does not have are left out."""
    reports = {
        fold: [_read_json(_place(run, system, fold) / "report.json") for run in of_fold.values()]
        for fold, of_fold in runs.items()
    }
    summary: dict[str, Any] = {}
    for figure in FIGURES:
        values = {fold: [report[figure] for report in of_fold] for fold, of_fold in reports.items()}
        if any(value is None for of_fold in values.values() for value in of_fold):
            continue
        folds = {fold: float(np.mean(of_fold)) for fold, of_fold in values.items()}
        over = spread(list(folds.values()))
        summary[figure] = {"folds": folds, "mean": over.mean, "std": over.std, "interval_folds": over.interval}
    if "accuracy" in summary:
        summary["accuracy"]["interval_clips"] = _interval_of_accuracy(runs, tested, labels, system)
    return summary


def _interval_of_accuracy(
    runs: _Runs, tested: Mapping[int, ClipSet], labels: LabelSet, system: str
) -> tuple[float, float]:
    """Of the mean over the seeds, over the source recordings of all folds."""
    audio_ids = [clip.audio_id for clip_set in tested.values() for clip in clip_set.clips]
    tags = {audio_id: of_clip for clip_set in tested.values() for audio_id, of_clip in clip_set.tags.items()}
    groups = {audio_id: group for clip_set in tested.values() for audio_id, group in clip_set.groups.items()}
    truth = encode_tags(tags, audio_ids, labels)
    sampled = [
        SampledTags(_scores([_place(of_fold[seed], system, fold) for fold, of_fold in runs.items()], audio_ids), truth)
        for seed in next(iter(runs.values()))
    ]
    names = [groups.get(audio_id, audio_id) for audio_id in audio_ids]
    weights = draw_samples(len(audio_ids), NUM_SAMPLES, SAMPLES_SEED, groups=names)
    interval = sample_tags(sampled, weights)["accuracy"].interval()
    assert interval.low is not None and interval.high is not None, "accuracy is defined in every sample"
    return interval.low, interval.high


def _scores(places: Sequence[Path], audio_ids: Sequence[str]) -> NDArray[np.float32]:
    known = {
        audio_id: probs
        for place in places
        for audio_id, probs in read_clip_scores(place / "scores.npz").by_audio_id().items()
    }
    return np.stack([known[audio_id] for audio_id in audio_ids])


def _table(systems: Mapping[str, Mapping[str, Any]], folds: Sequence[int]) -> str:
    """A row per system and figure: every fold, their mean, the intervals."""
    rows: list[list[str]] = [["tagger", "figure", *(f"fold {fold}" for fold in folds), "mean", "over folds", "clips"]]
    for system, figures in systems.items():
        for figure, of in figures.items():
            cells = [f"{of['folds'][fold]:.4f}" for fold in folds]
            intervals = [_range(of["interval_folds"]), _range(of.get("interval_clips"))]
            rows.append([system, FIGURES[figure], *cells, f"{of['mean']:.4f}", *intervals])
    return markdown(rows)


def _range(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.3f}-{interval[1]:.3f}"


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
