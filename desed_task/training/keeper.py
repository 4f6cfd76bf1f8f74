"""What a training keeps: the best epoch as `epoch=E-step=S.ckpt`, the newest state as `last.ckpt`.

`last.ckpt` is written at the end of each epoch, and within one every so many minutes, between two optimiser steps. The
former best is removed only after a `last.ckpt` that names the new one, so a kill at any moment leaves both of a pair.

Several ranks agree before each optimiser step whether one of them was asked to stop or finds the minutes over, so that
all save, and end, after the same step. Rank 0 writes.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, TQDMProgressBar

from desed_task.training.checkpointing import PROGRESS_KEY, RANKS_KEY, Progress, WholeFiles, place_loops
from desed_task.training.divergence import require_finite_weights
from desed_task.training.interruption import Interruption, StopRequested
from desed_task.training.module import RANK, TrainedModule
from desed_task.training.ranks import ALONE, Ranks

LAST = "last.ckpt"
_BEST = re.compile(r"epoch=\d+-step=\d+\.ckpt")


class Keeper(Callback):
    """Knows how far the training is, writes its checkpoints, and ends it when a signal asks.

    progress: where it begins (a resumed one in the middle); minutes: between checkpoints; after_save is called after
    each `last.ckpt`. It must stand behind what counts validations (early stopping), whose state the checkpoint holds.
    """

    def __init__(
        self,
        folder: Path,
        progress: Progress,
        minutes: float,
        interruption: Interruption,
        after_save: Callable[[], None],
        ranks: Ranks = ALONE,
    ) -> None:
        self.folder = folder
        self.progress = progress
        self._minutes = minutes
        self._interruption = interruption
        self._after_save = after_save
        self._ranks = ranks
        self._resumed = progress != Progress(steps_per_epoch=progress.steps_per_epoch, data=progress.data)
        self._interval = 1
        self._saved_at = time.monotonic()

    @property
    def best(self) -> Path | None:
        """The selected checkpoint, if an epoch was validated."""
        return self.folder / self.progress.best_file if self.progress.best_file else None

    def save_last(self, trainer: pl.Trainer) -> None:
        """Write `last.ckpt`, then remove bests that are none any more."""
        self._write(trainer, LAST)
        self._saved_at = time.monotonic()
        if not self._ranks.is_first:
            return
        for path in self.folder.glob("epoch=*.ckpt"):
            if _BEST.fullmatch(path.name) and path.name != self.progress.best_file:
                path.unlink(missing_ok=True)
        self._after_save()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Catch signals; a resumed training takes its rates from its own schedule, which may have been lengthened."""
        self._interruption.listen()
        self._interval = trainer.check_val_every_n_epoch or 1
        self._validate_the_last_epoch(trainer)
        if not self._resumed:
            return
        for config in trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            rates = zip(scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
            for group, base, relative in rates:
                group["lr"] = base * relative(scheduler.last_epoch)
        bar = trainer.progress_bar_callback
        if isinstance(bar, TQDMProgressBar):
            bar.on_train_epoch_start(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """An interval that does not divide the epochs must not leave the last ones unselected."""
        self._validate_the_last_epoch(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int  # noqa: ARG002
    ) -> None:  # fmt: skip
        """Between two steps: the teacher has followed the last one, no gradient waits."""
        if batch_idx % trainer.accumulate_grad_batches:
            return
        self._come_to(epoch=trainer.current_epoch, step=batch_idx)
        is_due = time.monotonic() - self._saved_at >= 60 * self._minutes
        asked, due = self._ranks.highest(self._interruption.signal or 0, int(is_due))
        if asked or due:
            self.save_last(trainer)
        if asked:
            raise StopRequested

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """All steps of the epoch are made."""
        self._come_to(epoch=trainer.current_epoch, step=self.progress.steps_per_epoch, awaits_validation=True)
        self._ranks.every(lambda: self._require_sound(trainer))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """Select: the best epoch is written at once."""
        self._come_to(epoch=trainer.current_epoch + 1, stopped_early=trainer.should_stop)
        rank, best = float(trainer.callback_metrics[RANK]), self.progress.best_rank
        if math.isfinite(rank) and (best is None or rank > best):
            name = f"epoch={trainer.current_epoch}-step={trainer.global_step}.ckpt"
            self.progress = replace(self.progress, best_file=name, best_rank=rank)
            self._write(trainer, name)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        """The end of an epoch, validated or not."""
        self._come_to(epoch=trainer.current_epoch + 1, stopped_early=trainer.should_stop)
        self.save_last(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """A validation that was broken off is made again; the steps before it are kept."""
        if isinstance(exception, StopRequested) and self.progress.awaits_validation:
            self.save_last(trainer)

    def on_save_checkpoint(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Say how far the training has come, and in how many ranks."""
        place_loops(checkpoint["loops"], self.progress, trainer.global_step)
        checkpoint[PROGRESS_KEY] = self.progress.to_state()
        checkpoint[RANKS_KEY] = self._ranks.share.world

    def _write(self, trainer: pl.Trainer, name: str) -> None:
        """Write a checkpoint, never one of weights that are lost; CheckpointError (in all ranks) when it cannot be."""
        self._ranks.every(lambda: self._require_sound(trainer))
        trainer.save_checkpoint(self.folder / name)
        files = trainer.strategy.checkpoint_io
        assert isinstance(files, WholeFiles)
        self._ranks.alone(files.require_written)

    def _come_to(self, epoch: int, step: int = 0, awaits_validation: bool = False, stopped_early: bool = False) -> None:
        self.progress = replace(
            self.progress, epoch=epoch, step=step, awaits_validation=awaits_validation, stopped_early=stopped_early
        )

    def _validate_the_last_epoch(self, trainer: pl.Trainer) -> None:
        is_last = trainer.current_epoch + 1 == trainer.max_epochs
        trainer.check_val_every_n_epoch = 1 if is_last else self._interval

    def _require_sound(self, trainer: pl.Trainer) -> None:
        pl_module = trainer.lightning_module
        assert isinstance(pl_module, TrainedModule)
        pl_module.divergence.look()
        require_finite_weights(pl_module.models, trainer.global_step)
