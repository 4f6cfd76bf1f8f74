"""The course of a training run, from the command line to the report; shared by every training recipe.

conf -> checks -> packed audio -> run folder -> fit (metered) -> best checkpoint -> test of student and teacher. All
that can be checked is checked before anything is packed or written. Testing needs nothing but a checkpoint: its stored
options, labels, grid, scaler range and post-processing are what is used; a conf given beside it names other test data.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from desed_task.clips import ClipSet
from desed_task.command_line import RecipeParser, show
from desed_task.data.dataset import require_share
from desed_task.data.decoding import check_recordings, decode_recordings
from desed_task.data.store import PackedStore, is_packed, open_store
from desed_task.errors import OptionsError
from desed_task.events import EventTable
from desed_task.experiment import (
    SedOptions,
    System,
    build_clip_set,
    build_dataset,
    build_module,
    build_system,
    evaluate_clip_set,
    load_system,
    predict_clip_set,
    stored_waveforms,
)
from desed_task.features.logmel import LogMel
from desed_task.metrics.report import Report, format_table, write_report
from desed_task.metrics.selection import SelectionMetric, selection_figure
from desed_task.metrics.tagging import tagging_f1
from desed_task.options import override_options, read_options
from desed_task.prediction import predict
from desed_task.scores import Scores
from desed_task.training.energy import EnergyReading, metered
from desed_task.training.fit import FAST_DEV_STEPS, choose_device, fit
from desed_task.training.run_folder import create_run_folder, require_log_dir, write_provenance

LOG = logging.getLogger(__name__)
FAST_DEV_CLIPS = 8


@dataclass(frozen=True)
class ClipSets:
    """What a training reads: one set per source of each batch, what it is selected by, what it is tested on."""

    train: tuple[ClipSet, ...]
    validation: tuple[ClipSet, ...]
    test: ClipSet


def run_training(argv: Sequence[str], default_conf: Path, default_log_dir: Path, description: str) -> int:
    """The whole of a training recipe; returns the exit code. Errors are DesedTaskErrors."""
    arguments = _parse(argv, default_conf, default_log_dir, description)
    device = choose_device(arguments.device)
    require_log_dir(arguments.log_dir)
    if arguments.test_from_checkpoint is not None:
        test_from_checkpoint(arguments, device)
    else:
        options = read_options(arguments.conf_file or default_conf, SedOptions, arguments.set)
        train(options, arguments.log_dir, device, arguments.fast_dev_run)
    return 0


def train(options: SedOptions, log_dir: Path, device: torch.device, fast_dev_run: bool) -> Path:
    """Train and test; the run folder."""
    around = build_system(options, {})
    sets = _clip_sets(around, fast_dev_run)
    _check_audio(sets, around)
    validation = _validation(sets.validation, around, device)
    dataset = build_dataset(options, sets.train, around.labels, around.grid)
    folder = create_run_folder(log_dir)
    write_provenance(folder, options)
    LOG.info("run folder: %s", folder)
    module = build_module(options, dataset, validation)
    with metered("SED TRAINING", folder / "training_codecarbon", "training_tot_kwh.txt", options.energy) as energy:
        checkpoint = fit(module, dataset, folder, device, fast_dev_run)
    LOG.info("best checkpoint: %s", checkpoint)
    test(load_system(checkpoint), sets.test, folder, device, energy)
    return folder


def test_from_checkpoint(arguments: Namespace, device: torch.device) -> Path:
    """Test a checkpoint with its stored options; the run folder."""
    system = _with_test_data(load_system(arguments.test_from_checkpoint), arguments)
    test_set = _test_set(system, arguments.fast_dev_run)
    _check_decoding(test_set, system)
    folder = create_run_folder(arguments.log_dir)
    write_provenance(folder, system.options)
    test(system, test_set, folder, device)
    return folder


def test(
    system: System, test_set: ClipSet, folder: Path, device: torch.device, training: EnergyReading | None = None
) -> dict[str, Report]:
    """Score every model of `system` on `test_set`; reports under <folder>/metrics_test/<model>. Prints the table."""
    system.to(device)
    options = system.options.energy
    with metered("SED DEVTEST", folder / "devtest_codecarbon", "devtest_tot_kwh.txt", options) as inference:
        scores = {name: predict_clip_set(system, model, test_set) for name, model in system.models.items()}
    with metered("SED SCORING", folder / "scoring_codecarbon", "scoring_tot_kwh.txt", options) as scoring:
        reports = {name: evaluate_clip_set(system, of_model, test_set) for name, of_model in scores.items()}
    readings = [reading for reading in (training, inference, scoring) if reading is not None]
    for name, report in reports.items():
        reports[name] = replace(
            report,
            energy_kwh_training=training.kwh if training is not None else None,
            energy_kwh_inference=inference.kwh,
            energy_kwh_scoring=scoring.kwh,
            energy_estimated=any(reading.estimated for reading in readings),
        )
        write_report(reports[name], folder / "metrics_test" / name)
    show(format_table(reports))
    LOG.info("reports: %s", folder / "metrics_test")
    return reports


def _clip_sets(system: System, fast_dev_run: bool) -> ClipSets:
    """Every set of the conf, read and checked; a fast development run takes the first few clips of each."""
    data, labels = system.options.data, system.labels
    train = []
    for source in data.train:
        train.append(build_clip_set(source, labels, FAST_DEV_STEPS * source.batch_size if fast_dev_run else None))
        require_share(train[-1], source.batch_size)
    few = FAST_DEV_CLIPS if fast_dev_run else None
    validation = [build_clip_set(source, labels, few) for source in data.validation]
    return ClipSets(tuple(train), tuple(validation), _test_set(system, fast_dev_run))


def _test_set(system: System, fast_dev_run: bool) -> ClipSet:
    return build_clip_set(system.options.data.test, system.labels, FAST_DEV_CLIPS if fast_dev_run else None)


def _check_audio(sets: ClipSets, system: System) -> None:
    """AudioError for a recording that cannot be used; warns of recordings that are not there."""
    store, sample_rate = system.options.data.store, system.grid.sample_rate
    for clip_set in (*sets.train, *sets.validation, sets.test):
        if clip_set.files_present < clip_set.files_expected:
            LOG.warning("%s: %d of %d files present", clip_set.name, clip_set.files_present, clip_set.files_expected)
    for clip_set in (*sets.train, *sets.validation):
        if not is_packed(clip_set, store, sample_rate):
            check_recordings([clip.path for clip in clip_set.clips])
    _check_decoding(sets.test, system)


def _check_decoding(test_set: ClipSet, system: System) -> None:
    """AudioError when a test recording cannot be decoded: it is not packed, and would be missed only after training."""
    for _ in decode_recordings([clip.path for clip in test_set.clips], system.grid.sample_rate):
        pass


def _validation(
    clip_sets: Sequence[ClipSet], around: System, device: torch.device
) -> Callable[[nn.Module, LogMel], Mapping[str, float]]:
    """model, front-end -> figures on the validation sets, which are packed here, once."""
    options = around.options
    sets: list[tuple[ClipSet, PackedStore]] = [
        (clip_set, open_store(clip_set, options.data.store, around.grid.sample_rate)) for clip_set in clip_sets
    ]

    def validate(model: nn.Module, frontend: LogMel) -> Mapping[str, float]:
        figures: dict[str, float] = {"objective": 0.0}
        for clip_set, store in sets:
            scores = predict(model, frontend, stored_waveforms(store), around.windowing, around.labels, device)
            name, figure = _selection_figure(scores, clip_set, around, options.training.selection_metric)
            figures[f"{name} of {clip_set.name}" if name in figures else name] = figure
            figures["objective"] += figure
        return figures

    return validate


def _selection_figure(
    scores: Mapping[str, Scores], clip_set: ClipSet, system: System, metric: SelectionMetric
) -> tuple[str, float]:
    """What a validation set adds to the objective, and its name in the log."""
    if clip_set.supervision == "weak":
        values = {audio_id: clip.clip_values for audio_id, clip in scores.items()}
        return "weak_f1_macro", tagging_f1(values, clip_set.tags, system.labels).macro or 0.0
    durations = {clip.audio_id: clip.duration for clip in clip_set.clips}
    truth = EventTable(clip_set.events)
    try:
        return metric, selection_figure(scores, truth, durations, system.postprocessing, metric)
    except Exception as error:  # scorers are outside packages: their traceback must not end hours of training
        LOG.warning("%s of %s could not be computed and counts 0: %s", metric, clip_set.name, error)
        return metric, 0.0


def _with_test_data(system: System, arguments: Namespace) -> System:
    """The system with the test data of a conf given beside its checkpoint, or with `--set data.test...` applied."""
    foreign = [override for override in arguments.set if not override.strip().startswith("data.test")]
    if foreign:
        raise OptionsError(
            f"--set {foreign[0]}: a checkpoint is tested with its stored options; only data.test can be replaced"
        )
    if arguments.conf_file is not None:
        options = read_options(arguments.conf_file, SedOptions, arguments.set)
    else:
        options = override_options(system.options, arguments.set)
    data = system.options.data.model_copy(update={"test": options.data.test})
    return replace(system, options=system.options.model_copy(update={"data": data}))


def _parse(argv: Sequence[str], default_conf: Path, default_log_dir: Path, description: str) -> Namespace:
    parser = RecipeParser(description=description)
    parser.add_argument("--conf_file", type=Path, help=f"YAML conf (default {default_conf})")
    parser.add_argument("--log_dir", type=Path, default=default_log_dir, help="each run makes a version_N in here")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--fast_dev_run", action="store_true", help="3 epochs of 2 steps, 8 clips: does it run?")
    parser.add_argument(
        "--test_from_checkpoint", type=Path, help="a checkpoint, or a run folder for its best; no training"
    )
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="replace one key of the conf")
    return parser.parse_args(argv)
