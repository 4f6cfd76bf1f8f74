"""Training: conf -> checks -> packed audio -> run folder -> fit (metered) -> best checkpoint -> test.

All that can be checked is checked before anything is packed or written. `resume` enters in the middle. Several ranks
train together: rank 0 checks, packs, writes, meters and tests; the others find what it made.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path

import torch

from desed_task.clips import ClipSet
from desed_task.data.dataset import BatchDataset
from desed_task.errors import CheckpointError, CorpusError, RunStoppedError
from desed_task.experiment import SedOptions, build_dataset, build_module, build_system, load_system
from desed_task.runs.clip_sets import read_clip_sets, read_test_set
from desed_task.runs.resuming import (
    Resumption,
    claim_folder,
    read_resumption,
    require_same_batches,
    warn_of_other_ranks,
)
from desed_task.runs.testing import test
from desed_task.runs.validation import build_validation
from desed_task.training.energy import PUBLISHED, TRAINING, EnergyReading, metered, publish_energy, read_energy
from desed_task.training.fit import fit
from desed_task.training.ranks import ALONE, Ranks
from desed_task.training.run_folder import create_run_folder, in_use, write_provenance
from desed_task.training.sed_module import SedModule

LOG = logging.getLogger(__name__)
METER = "SED TRAINING"


def train(options: SedOptions, log_dir: Path, device: torch.device, fast_dev_run: bool, ranks: Ranks = ALONE) -> Path:
    """Train and test; the run folder."""
    module, dataset, test_set = _prepare(options, device, fast_dev_run, ranks)
    folder = ranks.first(lambda: _begin_folder(log_dir, options, fast_dev_run))
    LOG.info("run folder: %s", folder)
    _fit_and_test(module, dataset, test_set, folder, options, device, fast_dev_run, None, ranks)
    return folder


def resume(path: Path, overrides: Sequence[str], log_dir: Path, device: torch.device, ranks: Ranks = ALONE) -> Path:
    """Go on with the training of a run folder or checkpoint, exactly where it was, then test; the run folder.

    A finished one is tested, if it was not. A checkpoint that does not lie in a run folder as its `last.ckpt` goes on
    in a new one under `log_dir`. OptionsError for overrides other than `training.n_epochs`, CheckpointError for a
    checkpoint that cannot be resumed.
    """
    resumption = ranks.first(lambda: _read_free_resumption(path, overrides))
    if resumption.is_finished:
        return ranks.first(lambda: _test_the_finished(resumption, device))
    warn_of_other_ranks(resumption, ranks.share.world)
    module, dataset, test_set = _prepare(resumption.options, device, False, ranks)
    ranks.every(lambda: require_same_batches(resumption, len(dataset), dataset.fingerprint))
    folder = ranks.first(lambda: claim_folder(resumption, log_dir))
    progress = resumption.progress
    LOG.info("run folder: %s, going on after %d epochs and %d steps", folder, progress.epoch, progress.step)
    _fit_and_test(module, dataset, test_set, folder, resumption.options, device, False, resumption.checkpoint, ranks)
    return folder


def _prepare(
    options: SedOptions, device: torch.device, fast_dev_run: bool, ranks: Ranks
) -> tuple[SedModule, BatchDataset, ClipSet]:
    """Everything that a training needs, read, checked and packed; by all ranks, one per machine packs."""
    around = build_system(options, {})
    for number, source in enumerate(options.data.train):
        ranks.every(partial(ranks.share.rows_of, source.batch_size, f"data.train.{number}"))
    # One rank of each machine looks at every file, the others of that machine rely on it.
    sets = ranks.in_turn(lambda: read_clip_sets(around, fast_dev_run, checked=ranks.local_rank > 0))
    validation = ranks.in_turn(lambda: build_validation(sets.validation, around, device, ranks))
    dataset = ranks.in_turn(lambda: build_dataset(options, sets.train, around.labels, around.grid, device, ranks.share))
    ranks.every(partial(_require_one_set, ranks.gather(dataset.fingerprint)))
    return build_module(options, dataset, validation), dataset, sets.test


def _require_one_set(fingerprints: Sequence[str]) -> None:
    """CorpusError when the machines do not hold the same clips."""
    if len(set(fingerprints)) > 1:
        raise CorpusError(
            "data.train: the machines of this training do not hold the same clips or labels; give them the same data"
        )


def _begin_folder(log_dir: Path, options: SedOptions, fast_dev_run: bool) -> Path:
    folder = create_run_folder(log_dir)
    write_provenance(folder, options, fast_dev_run)
    return folder


def _read_free_resumption(path: Path, overrides: Sequence[str]) -> Resumption:
    """What is to go on, in a folder that nobody trains in: refused before the audio is read."""
    resumption = read_resumption(path, overrides)
    if resumption.folder is not None and not resumption.is_finished:
        with in_use(resumption.folder):
            pass
    return resumption


def _fit_and_test(
    module: SedModule,
    dataset: BatchDataset,
    test_set: ClipSet,
    folder: Path,
    options: SedOptions,
    device: torch.device,
    fast_dev_run: bool,
    resume_from: Path | None,
    ranks: Ranks,
) -> None:
    go_on = resume_from is not None
    with ExitStack() as stack:
        ranks.alone(lambda: stack.enter_context(in_use(folder)))
        try:
            with _metered_once(folder, options, go_on, ranks) as energy:
                checkpoint = fit(module, dataset, folder, device, fast_dev_run, resume_from, energy, ranks)
        finally:
            if ranks.is_first:
                publish_energy(folder)
        LOG.info("best checkpoint: %s", checkpoint)
        ranks.alone(lambda: _test_the_best(checkpoint, test_set, folder, device, energy))


def _metered_once(
    folder: Path, options: SedOptions, go_on: bool, ranks: Ranks
) -> AbstractContextManager[EnergyReading]:
    """The meter of the first rank's machine; the other ranks' do nothing."""
    if not ranks.is_first:
        return nullcontext(EnergyReading(METER))
    if ranks.num_nodes > 1:
        LOG.warning("energy is metered on this machine only, not on the other %d", ranks.num_nodes - 1)
    return metered(METER, folder / TRAINING, PUBLISHED[TRAINING], options.energy, go_on)


def _test_the_best(
    checkpoint: Path, test_set: ClipSet, folder: Path, device: torch.device, energy: EnergyReading
) -> None:
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
