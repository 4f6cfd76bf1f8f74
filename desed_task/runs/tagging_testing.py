"""The end of a tagger's training: best epoch, averaged weights and ensemble of epochs, each on every set.

    <run>/averaged.ckpt                                        the mean of the weights, a checkpoint like any other
    <run>/metrics_test/<system>/<set>/{report.json, per_class.csv, scores.npz}
    <run>/results.csv                                          Model,mAP,mAUC,dprime,ckpt_path
    <run>/{best_single,wa,ensemble}_result.csv                 mAP and mAUC on validation and evaluation, as PSLA does

A pooling whose exponent is to be learned learns it here, on the validation set and the best epoch, and the exponent is
stored in the checkpoints. Epochs are selected, and speak for the ensemble, with the exponent 1.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from desed_task.chunking import fit_exponent
from desed_task.command_line import show
from desed_task.formats.clip_scores import clip_scores_of, write_clip_scores
from desed_task.metrics.report_tables import format_tag_table
from desed_task.metrics.tag_report import TagReport, evaluate_tags
from desed_task.metrics.tag_report_files import (
    AVERAGED,
    BEST_SINGLE,
    ENSEMBLE,
    ResultRow,
    write_result_lines,
    write_results,
    write_tag_report,
)
from desed_task.prediction import predict_window_logits
from desed_task.runs.tagging_inputs import training_inputs
from desed_task.runs.tagging_sets import TaggingSet, probabilities
from desed_task.system import describe, load_models, stored_waveforms
from desed_task.tagging import VALIDATION, Tagger, build_tagger, load_tagger, with_exponent
from desed_task.training.checkpointing import read_checkpoint, write_checkpoint
from desed_task.training.energy import EnergyReading, metered, publish_energy
from desed_task.training.keeper import LAST
from desed_task.training.module import CHECKPOINT_KEY
from desed_task.training.prediction_ensemble import RunningEnsemble
from desed_task.training.tagging_module import AVERAGE_KEY, ENSEMBLES_KEY, MODEL
from desed_task.training.tagging_options import TaggingTrainingOptions
from desed_task.training.weight_averaging import WeightAverage, reestimate_batch_norm

LOG = logging.getLogger(__name__)
AVERAGED_FILE = "averaged.ckpt"
METRICS = "metrics_test"
RESULT_FILES = {"best": BEST_SINGLE, "averaged": AVERAGED, "ensemble": ENSEMBLE}
Probabilities = Mapping[str, NDArray[np.float32]]


def test_taggers(
    checkpoint: Path,
    folder: Path,
    sets: Mapping[str, TaggingSet],
    device: torch.device,
    training: EnergyReading | None = None,
    limit: int | None = None,
) -> dict[str, dict[str, TagReport]]:
    """Score what came of the training in `folder`; system -> set -> report, all written. Prints the table.

    limit: batches of the training clips that a trial has heard.
    """
    checkpoints = {"best": checkpoint}
    last = read_checkpoint(folder / LAST)
    tagger = _with_learned_pooling(checkpoint, sets, device)
    if last.get(AVERAGE_KEY, {}).get("count"):
        checkpoints["averaged"] = _write_average(last, tagger, folder, device, limit)
    _warn_of_what_was_not_reached(tagger.options.training, last)
    energy = tagger.options.energy
    with metered("TAGGING DEVTEST", folder / "devtest_codecarbon", "devtest_tot_kwh.txt", energy) as inference:
        said = {name: _said(load_tagger(path), sets, device) for name, path in checkpoints.items()}
    ensembles = {name: _mean(state) for name, state in last.get(ENSEMBLES_KEY, {}).items()}
    if ensembles:
        said["ensemble"] = _of_these_clips(ensembles, sets)
    shutil.rmtree(folder / METRICS, ignore_errors=True)  # of an earlier test, perhaps of other sets
    estimated = any(reading.estimated for reading in (training, inference) if reading is not None)
    reports: dict[str, dict[str, TagReport]] = {}
    for system, of_sets in said.items():
        reports[system] = {}
        for name, probs in of_sets.items():
            report = _evaluate(probs, sets[name], tagger)
            reports[system][name] = replace(
                report,
                energy_kwh_training=None if training is None else training.kwh,
                energy_kwh_inference=inference.kwh,
                energy_estimated=estimated,
            )
            place = folder / METRICS / system / name
            write_tag_report(reports[system][name], place)
            write_clip_scores(clip_scores_of(probs, tagger.labels), place / "scores.npz")
    _write_results(reports, checkpoints, folder)
    publish_energy(folder)
    show(format_tag_table({f"{system} on {name}": one for system, of in reports.items() for name, one in of.items()}))
    LOG.info("reports: %s", folder / METRICS)
    return reports


def _warn_of_what_was_not_reached(training: TaggingTrainingOptions, last: Mapping[str, Any]) -> None:
    """A training that stops early, or a trial, may end before the epochs that are averaged begin."""
    made = {
        "weight_averaging": (training.weight_averaging, last.get(AVERAGE_KEY, {}).get("count")),
        "ensemble": (training.ensemble, last.get(ENSEMBLES_KEY)),
    }
    for key, (epochs, is_made) in made.items():
        if epochs is not None and not is_made:
            LOG.warning("training.%s: the training ended before epoch %d, so there is none", key, epochs.first_epoch)


def _evaluate(probs: Probabilities, of_set: TaggingSet, tagger: Tagger) -> TagReport:
    return evaluate_tags(probs, of_set.clip_set.tags, tagger.labels, files_expected=of_set.clip_set.files_expected)


def _said(tagger: Tagger, sets: Mapping[str, TaggingSet], device: torch.device) -> dict[str, Probabilities]:
    tagger.to(device)
    model = tagger.models[MODEL]
    return {name: probabilities(of.logits(tagger, model, tagger.ears, device)) for name, of in sets.items()}


def _mean(state: Mapping[str, Any]) -> NDArray[np.float32]:
    ensemble = RunningEnsemble()
    ensemble.restore(state)
    return ensemble.mean().astype(np.float32)


def _of_these_clips(
    ensembles: Mapping[str, NDArray[np.float32]], sets: Mapping[str, TaggingSet]
) -> dict[str, Probabilities]:
    """Set -> what the ensemble says; a set whose clips have changed since the training has none."""
    said: dict[str, Probabilities] = {}
    for name, of_set in sets.items():
        if of_set.key in ensembles:
            said[name] = dict(zip(of_set.store.audio_ids, ensembles[of_set.key], strict=True))
        else:
            LOG.warning("%s: not the clips that the epochs were asked about, so there is no ensemble of it", name)
    return said


def _write_average(
    last: Mapping[str, Any], tagger: Tagger, folder: Path, device: torch.device, limit: int | None
) -> Path:
    average = WeightAverage()
    average.restore(last[AVERAGE_KEY])
    # A mean that fits no model is not written.
    model = load_models({MODEL: average.average()}, tagger.options, folder / AVERAGED_FILE)[MODEL]
    averaging = tagger.options.training.weight_averaging
    if averaging is not None and averaging.batch_norm == "measured":
        reestimate_batch_norm(model.to(device), training_inputs(tagger, device, limit))
    description = _described(last[CHECKPOINT_KEY], tagger)
    write_checkpoint({MODEL: model.cpu().state_dict(), CHECKPOINT_KEY: description}, folder / AVERAGED_FILE)
    return folder / AVERAGED_FILE


def _with_learned_pooling(checkpoint: Path, sets: Mapping[str, TaggingSet], device: torch.device) -> Tagger:
    """The best tagger; an exponent that is to be learned is learned and stored in its checkpoint."""
    tagger = load_tagger(checkpoint)
    view = tagger.options.data.view
    if view.clip_scores != "soft" or view.exponent is not None:
        return tagger
    tagger.to(device)
    of_set = sets[VALIDATION]
    windows = predict_window_logits(
        tagger.models[MODEL], tagger.ears, stored_waveforms(of_set.store), tagger.windowing, device
    )
    exponent = fit_exponent(list(windows.values()), of_set.truth.astype(np.float32))
    LOG.info("chunks are pooled with the exponent %g, learned on %s", exponent, of_set.clip_set.name)
    learned = build_tagger(with_exponent(tagger.options, exponent), tagger.models)
    content = read_checkpoint(checkpoint)
    write_checkpoint({**content, CHECKPOINT_KEY: _described(content[CHECKPOINT_KEY], learned)}, checkpoint)
    return learned


def _described(stored: Mapping[str, Any], tagger: Tagger) -> dict[str, Any]:
    """What a checkpoint says of its training, with the options of the tagger as it is now."""
    return {**stored, "options": describe(tagger.options)["options"]}


def _write_results(
    reports: Mapping[str, Mapping[str, TagReport]], checkpoints: Mapping[str, Path], folder: Path
) -> None:
    rows = [
        ResultRow(f"{system} on {name}", report, checkpoints.get(system, folder / LAST))
        for system, of_sets in reports.items()
        for name, report in of_sets.items()
    ]
    write_results(rows, folder / "results.csv")
    for system, of_sets in reports.items():
        write_result_lines(list(of_sets.values()), folder / RESULT_FILES[system])
