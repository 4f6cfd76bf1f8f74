"""Training: conf -> checks -> packed audio -> run folder -> fit (metered) -> best checkpoint -> test.

All that can be checked is checked before anything is packed or written. `resume` enters in the middle.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from desed_task.clips import ClipSet
from desed_task.data.dataset import BatchDataset
from desed_task.errors import CheckpointError, RunStoppedError
from desed_task.experiment import SedOptions, build_dataset, build_module, build_system, load_system
from desed_task.runs.clip_sets import read_clip_sets, read_test_set
from desed_task.runs.resuming import Resumption, claim_folder, read_resumption, require_same_batches
from desed_task.runs.testing import test
from desed_task.runs.validation import build_validation
from desed_task.training.energy import PUBLISHED, TRAINING, metered, publish_energy, read_energy
from desed_task.training.fit import fit
from desed_task.training.run_folder import create_run_folder, in_use, write_provenance
from desed_task.training.sed_module import SedModule

LOG = logging.getLogger(__name__)
METER = "SED TRAINING"


def train(options: SedOptions, log_dir: Path, device: torch.device, fast_dev_run: bool) -> Path:
    """Train and test; the run folder."""
    module, dataset, test_set = _prepare(options, device, fast_dev_run)
    folder = create_run_folder(log_dir)
    write_provenance(folder, options, fast_dev_run)
    LOG.info("run folder: %s", folder)
    _fit_and_test(module, dataset, test_set, folder, options, device, fast_dev_run)
    return folder


def resume(path: Path, overrides: Sequence[str], log_dir: Path, device: torch.device) -> Path:
    """Go on with the training of a run folder or checkpoint, exactly where it was, then test; the run folder.

    A finished one is tested, if it was not. A checkpoint that does not lie in a run folder as its `last.ckpt` goes on
    in a new one under `log_dir`. OptionsError for overrides other than `training.n_epochs`, CheckpointError for a
    checkpoint that cannot be resumed.
    """
    resumption = read_resumption(path, overrides)
    if resumption.is_finished:
        return _test_the_finished(resumption, device)
    if resumption.folder is not None:
        with in_use(resumption.folder):  # refused before the audio is read
            pass
    module, dataset, test_set = _prepare(resumption.options, device, fast_dev_run=False)
    require_same_batches(resumption, len(dataset), dataset.fingerprint)
    folder = claim_folder(resumption, log_dir)
    progress = resumption.progress
    LOG.info("run folder: %s, going on after %d epochs and %d steps", folder, progress.epoch, progress.step)
    _fit_and_test(module, dataset, test_set, folder, resumption.options, device, False, resumption.checkpoint)
    return folder


def _prepare(options: SedOptions, device: torch.device, fast_dev_run: bool) -> tuple[SedModule, BatchDataset, ClipSet]:
    """Everything that a training needs, read, checked and packed."""
    around = build_system(options, {})
    sets = read_clip_sets(around, fast_dev_run)
    validation = build_validation(sets.validation, around, device)
    dataset = build_dataset(options, sets.train, around.labels, around.grid, device)
    return build_module(options, dataset, validation), dataset, sets.test


def _fit_and_test(
    module: SedModule,
    dataset: BatchDataset,
    test_set: ClipSet,
    folder: Path,
    options: SedOptions,
    device: torch.device,
    fast_dev_run: bool,
    resume_from: Path | None = None,
) -> None:
    go_on = resume_from is not None
    with in_use(folder):
        try:
            with metered(METER, folder / TRAINING, PUBLISHED[TRAINING], options.energy, go_on) as energy:
                checkpoint = fit(module, dataset, folder, device, fast_dev_run, resume_from, energy.flush)
        finally:
            publish_energy(folder)
        LOG.info("best checkpoint: %s", checkpoint)
        try:
            test(load_system(checkpoint), test_set, folder, device, energy)
        except KeyboardInterrupt:
            sentence = f"stopped in the test; --resume_from_checkpoint {folder} tests the finished training"
            raise RunStoppedError(sentence, 130) from None


def _test_the_finished(resumption: Resumption, device: torch.device) -> Path:
    folder, progress = resumption.folder, resumption.progress
    why = "stopped early" if progress.stopped_early else "finished"
    if folder is None:
        raise CheckpointError(
            f"{resumption.checkpoint}: its training has {why} after {progress.epoch} epochs; test it with "
            f"--test_from_checkpoint, or lengthen it with --set training.n_epochs=N"
        )
    system = load_system(folder)
    if all((folder / "metrics_test" / name / "report.json").is_file() for name in system.models):
        LOG.info("%s: the training has %s after %d epochs and was tested", folder, why, progress.epoch)
        return folder
    LOG.info("%s: the training has %s after %d epochs; it is tested now", folder, why, progress.epoch)
    with in_use(folder):
        test(system, read_test_set(system, False), folder, device, read_energy(METER, folder / TRAINING))
    return folder
