"""Running a training: Lightning's Trainer, its callbacks and logger, in a run folder.

Checkpoints: the best by `val/objective` as `epoch=E-step=S.ckpt` and the newest as `last.ckpt`.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from desed_task.batch import Batch
from desed_task.data.dataset import BatchDataset, EpochSampler
from desed_task.errors import OptionsError
from desed_task.training.allocator import keep_freed_memory
from desed_task.training.sed_module import OBJECTIVE, RANK, SedModule

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


def fit(module: SedModule, dataset: BatchDataset, run_folder: Path, device: torch.device, fast_dev_run: bool) -> Path:
    """Train; the path of the best checkpoint, that of the initial weights when there are no epochs."""
    options = module.options
    if options.num_threads is not None:
        torch.set_num_threads(options.num_threads)
    if device.type == "cpu":
        keep_freed_memory()
    module.to(memory_format=torch.channels_last)
    best = ModelCheckpoint(
        dirpath=run_folder,
        filename="epoch={epoch}-step={step}",
        auto_insert_metric_name=False,
        monitor=RANK,
        mode="max",
        save_top_k=1,
    )
    # Lightning's own save_last is the last that was best, not the newest.
    newest = ModelCheckpoint(run_folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    callbacks: list[Callback] = [
        best,
        newest,
        EarlyStopping(OBJECTIVE, mode="max", patience=options.early_stop_patience),
        LearningRateMonitor(logging_interval="step"),
        _ValidationLog(),
    ]
    at_a_terminal = sys.stderr.isatty()
    if at_a_terminal:
        callbacks.append(TQDMProgressBar())
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    trainer = pl.Trainer(
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
        log_every_n_steps=1 if fast_dev_run else min(10, len(dataset)),
        enable_model_summary=False,
        enable_progress_bar=at_a_terminal,
        callbacks=callbacks,
        logger=TensorBoardLogger(save_dir=run_folder.parent, name="", version=run_folder.name),
    )
    with warnings.catch_warnings():
        # Batches come ready-made from a memory map; loader workers would only copy them once more.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated.*")
        trainer.fit(module, _training_loader(dataset), _validation_loader())
    if best.best_model_path:
        return Path(best.best_model_path)
    last = run_folder / "last.ckpt"
    trainer.save_checkpoint(last)
    return last


class _ValidationLog(Callback):
    """One line per validation in the log, where a progress bar would not be seen (files, batch systems)."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Epoch, training loss, validation figures."""
        shown = [f"{name} {float(value):.4f}" for name, value in sorted(trainer.callback_metrics.items())
                 if name == "train/loss" or name.startswith("val/")]  # fmt: skip
        LOG.info("epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, ", ".join(shown))


def _training_loader(dataset: BatchDataset) -> DataLoader[Batch]:
    return DataLoader(dataset, batch_size=None, sampler=EpochSampler(dataset))


def _validation_loader() -> DataLoader[int]:
    """One item: Lightning's reason to validate."""
    return DataLoader([0], batch_size=None)  # type: ignore[arg-type]
