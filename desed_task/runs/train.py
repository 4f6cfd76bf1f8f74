"""Training: checked options -> packed audio -> run folder -> fit (metered) -> best checkpoint -> test.

All that can be checked is checked before anything is packed or written. `resume` enters in the middle. Several ranks
train together: rank 0 checks, packs, writes, meters and tests; the others find what it made. What is trained is the
`Task`'s to say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import torch

from desed_task.errors import CheckpointError, RunStoppedError
from desed_task.runs.resuming import (
    Resumption,
    claim_folder,
    read_resumption,
    require_same_batches,
    warn_of_other_ranks,
)
from desed_task.runs.task import O, Prepared, Task
from desed_task.training.energy import PUBLISHED, TRAINING, EnergyReading, metered, publish_energy, read_energy
from desed_task.training.fit import fit
from desed_task.training.ranks import ALONE, Ranks
from desed_task.training.run_folder import create_run_folder, in_use, write_provenance

LOG = logging.getLogger(__name__)


def train(
    task: Task[O], options: O, log_dir: Path, device: torch.device, fast_dev_run: bool, ranks: Ranks = ALONE
) -> Path:
    """Train and test; the run folder."""
    options = ranks.first(lambda: task.resolve(options))
    prepared = task.prepare(options, device, fast_dev_run, True, ranks)
    folder = ranks.first(lambda: _begin_folder(log_dir, options, fast_dev_run))
    LOG.info("run folder: %s", folder)
    _fit_and_test(task, prepared, folder, options, device, fast_dev_run, None, ranks)
    return folder


def resume(
    task: Task[O], path: Path, overrides: Sequence[str], log_dir: Path, device: torch.device, ranks: Ranks = ALONE
) -> Path:
    """Go on with the training of a run folder or checkpoint, exactly where it was, then test; the run folder.

    A finished one is tested, if it was not. A checkpoint that does not lie in a run folder as its `last.ckpt` goes on
    in a new one under `log_dir`. OptionsError for overrides other than `training.n_epochs`, CheckpointError for a
    checkpoint that cannot be resumed.
    """
    resumption = ranks.first(lambda: _read_free_resumption(task, path, overrides))
    if resumption.is_finished:
        return ranks.first(lambda: _test_the_finished(task, resumption, device))
    warn_of_other_ranks(resumption, ranks.share.world)
    prepared = task.prepare(resumption.options, device, False, False, ranks)
    dataset = prepared.dataset
    ranks.every(lambda: require_same_batches(resumption, len(dataset), dataset.fingerprint))
    folder = ranks.first(lambda: claim_folder(resumption, log_dir))
    progress = resumption.progress
    LOG.info("run folder: %s, going on after %d epochs and %d steps", folder, progress.epoch, progress.step)
    _fit_and_test(task, prepared, folder, resumption.options, device, False, resumption.checkpoint, ranks)
    return folder


def _begin_folder(log_dir: Path, options: O, fast_dev_run: bool) -> Path:
    folder = create_run_folder(log_dir)
    write_provenance(folder, options, fast_dev_run)
    return folder


def _read_free_resumption(task: Task[O], path: Path, overrides: Sequence[str]) -> Resumption[O]:
    """What is to go on, in a folder that nobody trains in: refused before the audio is read."""
    resumption = read_resumption(task, path, overrides)
    if resumption.folder is not None and not resumption.is_finished:
        with in_use(resumption.folder):
            pass
    return resumption


def _fit_and_test(
    task: Task[O],
    prepared: Prepared,
    folder: Path,
    options: O,
    device: torch.device,
    fast_dev_run: bool,
    resume_from: Path | None,
    ranks: Ranks,
) -> None:
    go_on = resume_from is not None
    with ExitStack() as stack:
        ranks.alone(lambda: stack.enter_context(in_use(folder)))
        prepared.begin(folder)
        try:
            with _metered_once(task, folder, options, go_on, ranks) as energy:
                checkpoint = fit(
                    prepared.module, prepared.dataset, folder, device, fast_dev_run, resume_from, energy, ranks
                )
        finally:
            if ranks.is_first:
                publish_energy(folder)
        LOG.info("best checkpoint: %s", checkpoint)
        ranks.alone(lambda: _tested(folder, lambda: prepared.finish(checkpoint, folder, energy)))


def _metered_once(
    task: Task[O], folder: Path, options: O, go_on: bool, ranks: Ranks
) -> AbstractContextManager[EnergyReading]:
    """The meter of the first rank's machine; the other ranks' do nothing."""
    if not ranks.is_first:
        return nullcontext(EnergyReading(task.meter))
    if ranks.num_nodes > 1:
        LOG.warning("energy is metered on this machine only, not on the other %d", ranks.num_nodes - 1)
    return metered(task.meter, folder / TRAINING, PUBLISHED[TRAINING], options.energy, go_on)


def _tested(folder: Path, test: Callable[[], None]) -> None:
    try:
        test()
    except KeyboardInterrupt:
        sentence = f"stopped in the test; --resume_from_checkpoint {folder} tests the finished training"
        raise RunStoppedError(sentence, 130) from None


def _test_the_finished(task: Task[O], resumption: Resumption[O], device: torch.device) -> Path:
    folder, progress = resumption.folder, resumption.progress
    why = "stopped early" if progress.stopped_early else "finished"
    if folder is None:
        raise CheckpointError(
            f"{resumption.checkpoint}: its training has {why} after {progress.epoch} epochs; test it with "
            f"{task.tested_with}, or lengthen it with --set training.n_epochs=N"
        )
    if task.is_tested(folder):
        LOG.info("%s: the training has %s after %d epochs and was tested", folder, why, progress.epoch)
        return folder
    LOG.info("%s: the training has %s after %d epochs; it is tested now", folder, why, progress.epoch)
    with in_use(folder):
        task.test_again(folder, device, read_energy(task.meter, folder / TRAINING))
    return folder
