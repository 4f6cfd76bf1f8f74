"""Testing: every model of a system on the test set, energy of inference and of scoring metered apart.

A checkpoint is tested with its stored options, labels, grid, scaler range and post-processing; a conf given beside it
names other test data and nothing else.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from desed_task.clips import ClipSet
from desed_task.command_line import show
from desed_task.errors import DesedTaskError, OptionsError
from desed_task.experiment import SedOptions, evaluate_clip_set, load_system, predict_clip_set
from desed_task.formats.dcase import write_score_folder
from desed_task.metrics.report import Report
from desed_task.metrics.report_files import write_report
from desed_task.metrics.report_tables import format_table
from desed_task.options import override_options
from desed_task.runs.clip_sets import check_decoding, read_test_set
from desed_task.runs.conf import read_conf
from desed_task.scores import Scores
from desed_task.system import System, embedders_of
from desed_task.training.energy import EnergyReading, metered, publish_energy, write_kwh
from desed_task.training.run_folder import create_run_folder, write_provenance

LOG = logging.getLogger(__name__)
# Where files of an embedder lie, which differs from machine to machine, and whether its embeddings are read or heard.
_PLACE = re.compile(r"\s*embedders\.[^.=]+\.((store|weights|weights_dir)\s*=|mode\s*=\s*(stored|frozen)\s*$)")
Detection = System[SedOptions]


def test_from_checkpoint(
    checkpoint: Path,
    conf: Path | None,
    overrides: Sequence[str],
    log_dir: Path,
    device: torch.device,
    fast_dev_run: bool,
    scaler_range: tuple[float, float] | None = None,
) -> Path:
    """Test a checkpoint with its stored options, on the test data of `conf` where it is given; the run folder."""
    system = with_data_of(load_system(checkpoint, scaler_range), "test", conf, overrides)
    test_set = read_test_set(system, fast_dev_run)
    check_decoding(test_set, system)
    folder = create_run_folder(log_dir)
    write_provenance(folder, system.options)
    test(system, test_set, folder, device)
    return folder


def test(
    system: Detection,
    test_set: ClipSet,
    folder: Path,
    device: torch.device,
    training: EnergyReading | None = None,
) -> dict[str, Report]:
    """Score every model of `system` on `test_set`; reports under <folder>/metrics_test/<model>. Prints the table."""
    system.to(device)
    options = system.options.energy
    with metered("SED DEVTEST", folder / "devtest_codecarbon", "devtest_tot_kwh.txt", options) as inference:
        scores = {name: predict_clip_set(system, model, test_set) for name, model in system.models.items()}
    for name, of_model in scores.items():  # on the disk before anything is computed from them
        write_score_folder(of_model, folder / "metrics_test" / name / "scores" / "raw")
    with metered("SED SCORING", folder / "scoring_codecarbon", "scoring_tot_kwh.txt", options) as scoring:
        reports = _evaluate_all(system, scores, test_set, folder)
    if options.test_includes_scoring and inference.kwh is not None and scoring.kwh is not None:
        write_kwh(folder / "devtest_codecarbon" / "devtest_tot_kwh.txt", inference.kwh + scoring.kwh)
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
    publish_energy(folder)
    show(format_table(reports))
    LOG.info("reports: %s", folder / "metrics_test")
    return reports


def _evaluate_all(
    system: Detection, scores: Mapping[str, Mapping[str, Scores]], test_set: ClipSet, folder: Path
) -> dict[str, Report]:
    """The report of each model that could be scored; DesedTaskError when none could."""
    reports = {}
    for name, of_model in scores.items():
        try:
            reports[name] = evaluate_clip_set(system, of_model, test_set)
        except Exception as error:  # a scorer that fails must not take a finished training along
            reason = " ".join(str(error).split()) or type(error).__name__
            LOG.warning("the %s could not be scored: %s", name, reason)
    if not reports:
        raise DesedTaskError(
            f"{folder}: no model could be scored (see above); their scores are in metrics_test/*/scores/raw, and "
            f"--test_from_checkpoint {folder} tests again"
        )
    return reports


def with_data_of(system: Detection, key: str, conf: Path | None, overrides: Sequence[str]) -> Detection:
    """The system with `data.<key>` of a conf given beside its checkpoint, or with `--set data.<key>...` applied.

    Embeddings of that data lie where the conf's embedders of the same names have their `store`, or where
    `--set embedders.<name>.store=...` says; weights of embedders may have moved, too (`...weights=...`), and what was
    stored may be heard (`...mode=frozen`).
    """
    of_data = [override for override in overrides if re.match(rf"\s*data\.{key}\s*[.=]", override)]
    of_places = [override for override in overrides if _PLACE.match(override)]
    foreign = [override for override in overrides if override not in (*of_data, *of_places)]
    if foreign:
        raise OptionsError(
            f"--set {foreign[0]}: a checkpoint is used with its stored options; only data.{key} can be replaced, and "
            f"of an embedder its store, weights, and mode stored or frozen"
        )
    if conf is not None:
        beside = read_conf(conf, of_data)
        stored = _with_stores(system.options, beside)
    else:
        beside = override_options(system.options, of_data)
        stored = system.options
    placed = override_options(stored, of_places) if of_places else stored
    _require_same_parts(system.options, placed)
    data = placed.data.model_copy(update={key: getattr(beside.data, key)})
    return replace(system, options=placed.model_copy(update={"data": data}))


def _with_stores(options: SedOptions, beside: SedOptions) -> SedOptions:
    """`options`, whose embedders have the stores that those of the same names have in the conf beside."""
    named = {name: one.store for name, one in beside.embedders.items() if one.store is not None}
    embedders = {
        name: one.model_copy(update={"store": named[name]}) if name in named else one
        for name, one in options.embedders.items()
    }
    return options.model_copy(update={"embedders": embedders})


def _require_same_parts(before: SedOptions, after: SedOptions) -> None:
    """OptionsError when an embedder that learned, and is a part of the model, would be heard as one that did not."""
    changed = [name for name, one in before.embedders.items() if one.mode == "learning" != after.embedders[name].mode]
    if changed:
        raise OptionsError(
            f"--set embedders.{changed[0]}.mode: it learned with the detector and is a part of the checkpoint; leave "
            f"the flag out"
        )
    there, then = (embedders_of(options) for options in (before, after))
    for name, embedder in there.items():
        if embedder.shape(before.features) != then[name].shape(after.features):
            raise OptionsError(
                f"--set embedders.{name}.mode: the detector learned from another number of embedding frames (stored "
                f"ones are means on its own frames); leave the flag out"
            )
