"""Running a training: Lightning's Trainer, its callbacks and logger, in a run folder, anew or from a checkpoint.

What is kept, and when, is said in `keeper`; how a training is ended by a signal in `interruption`.
"""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from desed_task.data.dataset import BatchDataset, EpochSampler
from desed_task.data.prefetch import PrefetchingLoader
from desed_task.errors import OptionsError, RunStoppedError
from desed_task.training.allocator import keep_freed_memory
from desed_task.training.checkpointing import Progress, WholeFiles, progress_of, read_checkpoint
from desed_task.training.interruption import StopRequested, listening
from desed_task.training.keeper import LAST, Keeper
from desed_task.training.sed_module import OBJECTIVE, SedModule
from desed_task.training.training_options import TrainingOptions

LOG = logging.getLogger(__name__)
FAST_DEV_EPOCHS = 3
FAST_DEV_STEPS = 2


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
    module: SedModule,
    dataset: BatchDataset,
    run_folder: Path,
    device: torch.device,
    fast_dev_run: bool,
    resume_from: Path | None = None,
    after_save: Callable[[], None] = lambda: None,
) -> Path:
    """Train; the path of the best checkpoint, that of the initial weights when there are no epochs.

    resume_from: a checkpoint to go on from exactly (it need not lie in `run_folder`). after_save is called after each
    `last.ckpt`. RunStoppedError when a signal ended the training, CheckpointError when a checkpoint cannot be written.
    """
    options = module.options
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
        progress, updates = progress_of(checkpoint, resume_from), checkpoint["global_step"]
        if progress.best_file is not None and not (run_folder / progress.best_file).is_file():
            LOG.warning("%s, the best so far, is not there; the next epoch counts as the best", progress.best_file)
            progress = replace(progress, best_file=None, best_rank=None)
    with listening() as interruption:
        keeper = Keeper(run_folder, progress, options.checkpoint_minutes, interruption, after_save)
        module.validate = interruption.breakable(module.validate)
        trainer = _build_trainer(options, keeper, device, fast_dev_run, updates)
        loader = _training_loader(dataset, progress)
        try:
            with warnings.catch_warnings():
                _ignore_what_is_known()
                trainer.fit(module, loader, _validation_loader(), ckpt_path=resume_from, weights_only=True)
        except StopRequested:
            pass
        finally:
            loader.close()
        if interruption.signal is not None:
            raise _interrupted(interruption.signal, keeper)
    if not options.n_epochs:
        keeper.save_last(trainer)
    return keeper.best or run_folder / LAST


def _build_trainer(
    options: TrainingOptions, keeper: Keeper, device: torch.device, fast_dev_run: bool, updates: int
) -> pl.Trainer:
    """updates: optimiser steps that were made before."""
    callbacks: list[Callback] = [
        EarlyStopping(OBJECTIVE, mode="max", patience=options.early_stop_patience, check_on_train_epoch_end=False),
        LearningRateMonitor(logging_interval="step"),
        _ValidationLog(),
        keeper,
    ]
    at_a_terminal = sys.stderr.isatty()
    if at_a_terminal:
        callbacks.append(TQDMProgressBar())
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return pl.Trainer(
        max_epochs=min(options.n_epochs, FAST_DEV_EPOCHS) if fast_dev_run else options.n_epochs,
        limit_train_batches=FAST_DEV_STEPS if fast_dev_run else None,
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision=options.precision,
        gradient_clip_val=options.gradient_clip or None,
        accumulate_grad_batches=options.accumulate_batches,
        deterministic=options.deterministic or None,
        check_val_every_n_epoch=1 if fast_dev_run else options.validation_interval,
        num_sanity_val_steps=0,
        log_every_n_steps=1 if fast_dev_run else min(10, keeper.progress.steps_per_epoch),
        enable_model_summary=False,
        enable_progress_bar=at_a_terminal,
        enable_checkpointing=False,
        callbacks=callbacks,
        plugins=[WholeFiles()],
        # What a killed stretch logged beyond its last checkpoint is made, and logged, again.
        logger=TensorBoardLogger(keeper.folder.parent, "", keeper.folder.name, purge_step=updates or None),
    )


def _ignore_what_is_known() -> None:
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # the validation's one item needs none
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated.*")
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

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Epoch, training loss, validation figures."""
        shown = [f"{name} {float(value):.4f}" for name, value in sorted(trainer.callback_metrics.items())
                 if name == "train/loss" or name.startswith("val/")]  # fmt: skip
        LOG.info("epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, ", ".join(shown))


def _training_loader(dataset: BatchDataset, progress: Progress) -> PrefetchingLoader:
    return PrefetchingLoader(dataset, EpochSampler(dataset, progress.epoch, progress.step))


def _validation_loader() -> DataLoader[int]:
    """One item: Lightning's reason to validate."""
    return DataLoader([0], batch_size=None)  # type: ignore[arg-type]
