"""The course of a training run, from the command line to the report; shared by every training recipe.

conf -> checks -> run folder -> packed audio -> fit (metered) -> best checkpoint -> test of student and teacher. Testing needs
nothing but a checkpoint: its stored options, labels, grid, scaler range and post-processing are what is used; a conf given
beside it replaces `data` alone.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from desed_task.clips import ClipSet
from desed_task.command_line import RecipeParser, show
from desed_task.data.store import PackedStore, open_store
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
from desed_task.training.fit import choose_device, fit
from desed_task.training.run_folder import create_run_folder, write_provenance

LOG = logging.getLogger(__name__)
FAST_DEV_CLIPS = 8


def run_training(argv: Sequence[str], default_conf: Path, default_log_dir: Path, description: str) -> int:
    """The whole of a training recipe; returns the exit code. Errors are DesedTaskErrors."""
    arguments = _parse(argv, default_conf, default_log_dir, description)
    device = choose_device(arguments.device)
    if arguments.test_from_checkpoint is not None:
        system = load_system(arguments.test_from_checkpoint)
        system = _with_data(system, arguments)
        test_set = _test_set(system, arguments.fast_dev_run)
        folder = create_run_folder(arguments.log_dir)
        write_provenance(folder, system.options)
        test(system, test_set, folder, device, {})
        return 0
    options = read_options(arguments.conf_file or default_conf, SedOptions, arguments.set)
    train(options, arguments.log_dir, device, arguments.fast_dev_run)
    return 0


def train(options: SedOptions, log_dir: Path, device: torch.device, fast_dev_run: bool) -> Path:
    """Train and test; the run folder."""
    around = build_system(options, {})
    test_set = _test_set(around, fast_dev_run)
    validation = _validation(options, around, device, fast_dev_run)
    dataset = build_dataset(options, around.labels, around.grid)
    folder = create_run_folder(log_dir)
    write_provenance(folder, options)
    LOG.info("run folder: %s", folder)
    module = build_module(options, dataset, validation)
    with metered("SED TRAINING", folder / "training_codecarbon", "training_tot_kwh.txt", options.energy) as energy:
        checkpoint = fit(module, dataset, folder, device, fast_dev_run)
    LOG.info("best checkpoint: %s", checkpoint)
    test(load_system(checkpoint), test_set, folder, device, {"training": energy})
    return folder


def test(
    system: System, test_set: ClipSet, folder: Path, device: torch.device, energy: Mapping[str, EnergyReading]
) -> dict[str, Report]:
    """Score every model of `system` on `test_set`; reports under <folder>/metrics_test/<model>. Prints the table."""
    system.to(device)
    options = system.options.energy
    with metered("SED DEVTEST", folder / "devtest_codecarbon", "devtest_tot_kwh.txt", options) as inference:
        scores = {name: predict_clip_set(system, model, test_set) for name, model in system.models.items()}
    with metered("SED SCORING", folder / "scoring_codecarbon", "scoring_tot_kwh.txt", options) as scoring:
        reports = {name: evaluate_clip_set(system, of_model, test_set) for name, of_model in scores.items()}
    readings = {**energy, "inference": inference, "scoring": scoring}
    for name, report in reports.items():
        reports[name] = replace(
            report,
            **{f"energy_kwh_{stretch}": reading.kwh for stretch, reading in readings.items()},
            energy_estimated=any(reading.estimated for reading in readings.values()),
        )
        write_report(reports[name], folder / "metrics_test" / name)
    show(format_table(reports))
    LOG.info("reports: %s", folder / "metrics_test")
    return reports


def _validation(
    options: SedOptions, around: System, device: torch.device, fast_dev_run: bool
) -> Callable[[nn.Module, LogMel], Mapping[str, float]]:
    """model, front-end -> figures on the validation sets, which are packed here, once."""
    sets: list[tuple[ClipSet, PackedStore]] = []
    for source in options.data.validation:
        clip_set = build_clip_set(source, around.labels, FAST_DEV_CLIPS if fast_dev_run else None)
        sets.append((clip_set, open_store(clip_set, options.data.store, options.features.sample_rate)))

    def validate(model: nn.Module, frontend: LogMel) -> Mapping[str, float]:
        figures: dict[str, float] = {"objective": 0.0}
        for clip_set, store in sets:
            scores = predict(model, frontend, stored_waveforms(store), around.windowing, around.labels, device)
            name, figure = _selection_figure(scores, clip_set, around, options.training.selection_metric)
            figures[name] = figure
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
    return metric, selection_figure(scores, truth, durations, system.postprocessing, metric)


def _test_set(system: System, fast_dev_run: bool) -> ClipSet:
    return build_clip_set(system.options.data.test, system.labels, FAST_DEV_CLIPS if fast_dev_run else None)


def _with_data(system: System, arguments: Namespace) -> System:
    """The system with the data of a conf given beside its checkpoint, or with `--set data...` applied to its own."""
    if arguments.conf_file is not None:
        options = read_options(arguments.conf_file, SedOptions, arguments.set)
    elif arguments.set:
        options = override_options(system.options, arguments.set)
    else:
        return system
    return build_system(system.options.model_copy(update={"data": options.data}), system.models)


def _parse(argv: Sequence[str], default_conf: Path, default_log_dir: Path, description: str) -> Namespace:
    parser = RecipeParser(description=description)
    parser.add_argument("--conf_file", type=Path, help=f"YAML conf (default {default_conf})")
    parser.add_argument("--log_dir", type=Path, default=default_log_dir, help="each run makes a version_N in here")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--fast_dev_run", action="store_true", help="two steps, three epochs, eight clips: does it run?")
    parser.add_argument("--test_from_checkpoint", type=Path, help="test this checkpoint, train nothing")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="replace one key of the conf")
    return parser.parse_args(argv)
