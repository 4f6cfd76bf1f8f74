"""Running a training: Lightning's Trainer, its callbacks and logger, in a run folder, anew or from a checkpoint.

What is kept, and when, is said in `keeper`; how a training is ended by a signal in `interruption`.
"""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy
from torch.utils.data import DataLoader

from desed_task.data.dataset import BatchDataset, EpochSampler
from desed_task.data.prefetch import PrefetchingLoader
from desed_task.errors import OptionsError, RunStoppedError
from desed_task.training.allocator import keep_freed_memory
from desed_task.training.batch_split import require_memory
from desed_task.training.checkpointing import Progress, WholeFiles, progress_of, read_checkpoint
from desed_task.training.course_options import CourseOptions
from desed_task.training.energy import EnergyReading
from desed_task.training.interruption import StopRequested, listening
from desed_task.training.keeper import LAST, Keeper
from desed_task.training.module import OBJECTIVE, RANK, TrainedModule
from desed_task.training.ranks import ALONE, Ranks
from desed_task.training.throughput import Throughput

LOG = logging.getLogger(__name__)
FAST_DEV_EPOCHS = 3
FAST_DEV_STEPS = 2
# From one look at the losses to the next: the log's, and that of the progress bar of a training on a GPU.
STEPS_PER_LOOK = 10


def choose_device(name: str) -> torch.device:
    """auto | cpu | cuda | cuda:N -> device; OptionsError when it is not there."""
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionsError(f"--device {name}: write auto, cpu or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise OptionsError(
            f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use auto or cpu"
        )
    if device.type not in ("cpu", "cuda"):
        raise OptionsError(f"--device {name}: write auto, cpu or cuda:N")
    return device


def fit(
    module: TrainedModule,
    dataset: BatchDataset,
    run_folder: Path,
    device: torch.device,
    fast_dev_run: bool,
    resume_from: Path | None = None,
    energy: EnergyReading | None = None,
    ranks: Ranks = ALONE,
) -> Path:
    """Train; the path of the best checkpoint, that of the initial weights when there are no epochs.

    resume_from: a checkpoint to go on from exactly (it need not lie in `run_folder`). energy: the running meter, which
    is read each epoch and with each `last.ckpt`. ranks: all of them call this at once. RunStoppedError when a signal
    ended the training, CheckpointError when a checkpoint cannot be written, DesedTaskError when there is too little
    memory.
    """
    options = module.course
    if options.num_threads is not None:
        torch.set_num_threads(options.num_threads)
    if device.type == "cpu":
        keep_freed_memory()
    module.to(memory_format=torch.channels_last)
    progress = Progress(
        steps_per_epoch=min(FAST_DEV_STEPS, len(dataset)) if fast_dev_run else len(dataset), data=dataset.fingerprint
    )
    updates = 0
    if resume_from is not None:
        checkpoint = read_checkpoint(resume_from)
        begun, updates = progress_of(checkpoint, resume_from), checkpoint["global_step"]
        progress = ranks.first(lambda: _with_a_best_that_is_there(begun, run_folder))
    with listening() as interruption:
        throughput = Throughput(run_folder, energy or EnergyReading("not metered"), resume_from is not None)
        keeper = Keeper(run_folder, progress, options.checkpoint_minutes, interruption, throughput.on_saved, ranks)
        module.join(ranks)
        if ranks is ALONE:
            module.split_when_memory_is_short()
            module.let_break(interruption.breakable)
        ranks.breakable_by(interruption.breakable)
        trainer = _build_trainer(options, keeper, throughput, device, fast_dev_run, updates, ranks)
        loader = _training_loader(dataset, progress)
        try:
            with warnings.catch_warnings():
                _ignore_what_is_known()
                trainer.fit(module, loader, _validation_loader(), ckpt_path=resume_from, weights_only=True)
        except StopRequested:
            pass
        except (RuntimeError, MemoryError) as error:
            require_memory(error, is_split=ranks is ALONE)
            raise
        finally:
            loader.close()
        (number,) = ranks.highest(interruption.signal or 0)
        if number:
            raise _interrupted(signal.Signals(number), keeper)
    if not options.n_epochs:
        keeper.save_last(trainer)
    return keeper.best or run_folder / LAST


def _with_a_best_that_is_there(progress: Progress, run_folder: Path) -> Progress:
    if progress.best_file is None or (run_folder / progress.best_file).is_file():
        return progress
    LOG.warning("%s, the best so far, is not there; the next epoch counts as the best", progress.best_file)
    return replace(progress, best_file=None, best_rank=None)


def _build_trainer(
    options: CourseOptions,
    keeper: Keeper,
    throughput: Throughput,
    device: torch.device,
    fast_dev_run: bool,
    updates: int,
    ranks: Ranks,
) -> pl.Trainer:
    """updates: optimiser steps that were made before."""
    callbacks: list[Callback] = [
        EarlyStopping(OBJECTIVE, mode="max", patience=options.early_stop_patience, check_on_train_epoch_end=False),
        LearningRateMonitor(logging_interval="step"),
        _ValidationLog(throughput),
        throughput,
        keeper,
    ]
    at_a_terminal = sys.stderr.isatty()
    if at_a_terminal:
        # It shows the loss, for which a GPU is waited for.
        callbacks.append(TQDMProgressBar(refresh_rate=STEPS_PER_LOOK if device.type == "cuda" else 1))
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return pl.Trainer(
        max_epochs=min(options.n_epochs, FAST_DEV_EPOCHS) if fast_dev_run else options.n_epochs,
        limit_train_batches=FAST_DEV_STEPS if fast_dev_run else None,
        accelerator="gpu" if device.type == "cuda" else "cpu",
        **_processes(device, ranks),
        precision=options.precision,
        gradient_clip_val=options.gradient_clip or None,
        accumulate_grad_batches=options.accumulate_batches,
        deterministic=options.deterministic or None,
        check_val_every_n_epoch=1 if fast_dev_run else options.validation_interval,
        num_sanity_val_steps=0,
        log_every_n_steps=1 if fast_dev_run else min(STEPS_PER_LOOK, keeper.progress.steps_per_epoch),
        enable_model_summary=False,
        enable_progress_bar=at_a_terminal,
        enable_checkpointing=False,
        callbacks=callbacks,
        plugins=[WholeFiles()],
        # What a killed stretch logged beyond its last checkpoint is made, and logged, again.
        logger=TensorBoardLogger(keeper.folder.parent, "", keeper.folder.name, purge_step=updates or None),
    )


def _processes(device: torch.device, ranks: Ranks) -> dict[str, Any]:
    """Lightning's words for this process, or for the ranks that torchrun started."""
    if ranks is ALONE:
        return {"devices": [device.index or 0] if device.type == "cuda" else 1}
    # The running statistics are equal in all ranks (synchronised_norm), so no buffer travels. A static graph would gain
    # nothing: the buckets are put in the order of the first step anyway.
    strategy = DDPStrategy(
        find_unused_parameters=False, gradient_as_bucket_view=True, broadcast_buffers=False, process_group=ranks.group
    )
    local = ranks.local_world
    return {
        "devices": list(range(local)) if device.type == "cuda" else local,
        "num_nodes": ranks.num_nodes,
        "strategy": strategy,
        "use_distributed_sampler": False,  # each rank's batches are its share already
    }


def _ignore_what_is_known() -> None:
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # the validation's one item needs none
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated.*")
    # Frozen embedders stay in eval mode.
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
    # What is logged of a validation is equal in all ranks.
    warnings.filterwarnings("ignore", message=".*It is recommended to use `self.log.*sync_dist=True.*")
    # The sampler begins at the right step of the epoch, whatever Lightning knows of it.
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")


def _interrupted(number: signal.Signals, keeper: Keeper) -> RunStoppedError:
    progress = keeper.progress
    where = f"epoch {progress.epoch + 1}, step {progress.step}" if progress.step else f"{progress.epoch} whole epochs"
    return RunStoppedError(
        f"stopped by {number.name} after {where}; go on with --resume_from_checkpoint {keeper.folder}", 128 + number
    )


class _ValidationLog(Callback):
    """One line per validation in the log, where a progress bar would not be seen (files, batch systems)."""

    def __init__(self, throughput: Throughput) -> None:
        self._throughput = throughput

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Epoch, training loss, validation figures, speed and cost."""
        figures = {name for name in trainer.callback_metrics if name.startswith("val/")} - {RANK}
        if figures == {OBJECTIVE}:  # nothing was validated, and every epoch is as good
            figures = set()
        told = sorted(figures | ({"train/loss"} & set(trainer.callback_metrics)))
        shown = [f"{name} {float(trainer.callback_metrics[name]):.4f}" for name in told]
        shown += [self._throughput.in_words] if self._throughput.in_words else []
        LOG.info("epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, ", ".join(shown))


def _training_loader(dataset: BatchDataset, progress: Progress) -> PrefetchingLoader:
    return PrefetchingLoader(dataset, EpochSampler(dataset, progress.epoch, progress.step))


def _validation_loader() -> DataLoader[int]:
    """One item: Lightning's reason to validate."""
    return DataLoader([0], batch_size=None)  # type: ignore[arg-type]
