"""The training of a detector, as a thin LightningModule: steps, one validation, what a checkpoint holds.

What a step computes is said in `step`.

All that is random in a batch's step (augmentations, dropout) is drawn from (seed, number of the batch), so a training
that was interrupted goes on exactly as it would have. Each of several ranks draws numbers of its own, so clips are
mixed with clips of the same rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from desed_task.batch import Batch, Inputs, Targets
from desed_task.data.source import Share
from desed_task.errors import DesedTaskError
from desed_task.training.batch_split import BatchSplit, InPortions, Step
from desed_task.training.compiling import Execution
from desed_task.training.divergence import DivergenceWatch
from desed_task.training.mean_teacher import build_teacher, update_teacher
from desed_task.training.ranks import ALONE, Ranks
from desed_task.training.schedules import cosine_decay, exponential_ramp
from desed_task.training.step import (
    WHOLE,
    Augmentation,
    Frontend,
    Losses,
    Shares,
    call_plainly,
    compute_losses,
    prepare,
)
from desed_task.training.synchronised_norm import synchronise_norms
from desed_task.training.training_options import TrainingOptions

CHECKPOINT_KEY = "desed_task"
PARTS_KEY = "batch_parts"
OBJECTIVE = "val/objective"
RANK = "val/rank"
# Less than any metric distinguishes: an early epoch that scores 0 must not stand for a later one that scores 0 too.
TIE_SHARE = 1e-5


class SedModule(pl.LightningModule):
    """Student, teacher and the step that trains them.

    validate: model -> figures on the validation set, "objective" among them being what is selected by; it is made where
    everything is put together, so that training knows no metric. description: plain values stored in each checkpoint.
    """

    def __init__(
        self,
        student: nn.Module,
        frontend: Frontend,
        options: TrainingOptions,
        augmentations: Sequence[Augmentation],
        steps_per_epoch: int,
        validate: Callable[[nn.Module], Mapping[str, float]],
        description: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.options = options
        self.sed_student = student
        self.sed_teacher = build_teacher(student, options.mean_teacher) if options.mean_teacher else None
        self.frontend = frontend
        self.augmentations = tuple(augmentations)
        self.steps_per_epoch = steps_per_epoch
        self.updates_per_epoch = -(-steps_per_epoch // options.accumulate_batches)
        self.validate = validate
        self.description = dict(description)
        self.divergence = DivergenceWatch()
        self.execution = Execution(options.compile, options.cuda_graphs)
        self.ranks = ALONE
        self.batch_split: BatchSplit | None = None
        self._follows_now = False
        self._followed_step = 0

    def join(self, ranks: Ranks) -> None:
        """Train with others: statistics of batch norm are those of the whole batch, what is logged means over ranks."""
        self.ranks = ranks
        if ranks.share.world > 1:
            synchronise_norms(self, ranks.group)

    def split_when_memory_is_short(self) -> None:
        """Make steps that do not fit into memory in parts; for a training in one process."""
        self.batch_split = BatchSplit([model for model in (self.sed_student, self.sed_teacher) if model is not None])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: the loss of the student."""
        number = self.current_epoch * self.steps_per_epoch + batch_idx
        step = Step(batch, partial(self._prepare, batch, number), self._losses, partial(self._report, batch, batch_idx))
        return step.hear_whole().total if self.batch_split is None else self.batch_split.begin(step)

    def _prepare(self, batch: Batch, number: int, portions: int) -> tuple[Inputs, Targets]:
        torch.manual_seed(_dropout_seed(self.options.seed, number, self.ranks.share))
        rng = np.random.default_rng((self.options.seed, number, *_own_word(self.ranks.share)))
        frontend = self.frontend if portions == 1 else InPortions(self.frontend, portions)
        return prepare(batch, frontend, self.augmentations, rng)

    def _losses(self, inputs: Inputs, targets: Targets, shares: Shares) -> Losses:
        weight = self._consistency_weight()
        # Gradients of several parts are added up, which recorded steps would overwrite.
        call = call_plainly if self.execution.cuda_graphs and shares is not WHOLE else self.execution
        self.execution.begin_step()
        return compute_losses(self.sed_student, self.sed_teacher, inputs, targets, self.options, weight, shares, call)

    def _report(self, batch: Batch, batch_idx: int, inputs: Inputs, losses: Losses) -> None:
        self._log_losses(losses, batch_idx)
        try:
            self.divergence.watch(
                self.global_step, batch, inputs, losses.student, losses.total, losses.terms, self.sed_student
            )
        except DesedTaskError as error:
            self.ranks.put_off(error)

    def backward(self, loss: Tensor, *arguments: Any, **named: Any) -> None:
        """Gradients of the step, those of its parts where it is made in parts; a teacher that is to follow follows."""
        if self.batch_split is None:
            super().backward(loss, *arguments, **named)
        else:
            self.batch_split.backward(loss, self.trainer.precision_plugin.train_step_context)
        if self._follows_now:
            self._follows_now = False
            self._follow(self.global_step + 1)

    def _log_losses(self, losses: Losses, batch_idx: int) -> None:
        """Log this step's losses: means over the ranks where they will be read, this rank's own where they will not."""
        terms = {f"train/student/{name}": value for name, value in losses.terms.items()}
        terms["train/loss"] = losses.total.detach()
        if self.ranks.share.world > 1 and self._is_read(batch_idx):
            device = losses.total.device  # the consistency's weight, on the host, is the same in all ranks
            names = [name for name, value in terms.items() if value.device == device]
            means = self.ranks.mean(torch.stack([terms[name].float() for name in names]))
            terms |= dict(zip(names, means.unbind(), strict=True))
        for name, value in terms.items():
            self.log(name, value, prog_bar=name == "train/loss")

    def _is_read(self, batch_idx: int) -> bool:
        """Whether this step's losses go to the log, or are the epoch's last, which its line shows."""
        trainer: Any = self.trainer
        logged: bool = (self.global_step + 1) % trainer.log_every_n_steps == 0
        return logged or batch_idx + 1 == trainer.num_training_batches

    def _consistency_weight(self) -> float:
        options = self.options.mean_teacher
        return options.consistency_weight * self._ramp(self.global_step + 1) if options is not None else 0.0

    def _ramp(self, step: int) -> float:
        return exponential_ramp(step, self.options.n_epochs_warmup * self.updates_per_epoch)

    def _rate(self, step: int) -> float:
        """The learning rate of the step after `step` others, relative to the highest."""
        if step == 0 and self.options.full_rate_first_step:
            return 1.0
        decay_from = self.options.decay_from_epoch
        first = self.options.n_epochs if decay_from is None else decay_from
        decay = cosine_decay(step, first * self.updates_per_epoch, self.options.n_epochs * self.updates_per_epoch)
        return self._ramp(step + 1) * max(decay, self.options.min_learning_rate / self.options.learning_rate)

    def on_train_start(self) -> None:
        """A resumed training has made steps that its teacher has followed."""
        self._followed_step = self.global_step

    def on_before_zero_grad(self, optimizer: torch.optim.Optimizer) -> None:  # noqa: ARG002  Lightning's signature
        """The published order: the teacher follows before the optimiser's step (its counter stands at 1 at first).

        It does so when the step's last part was heard, at the end of `backward`; the student is the same until then.
        """
        self._follows_now = self.options.mean_teacher is not None and self.options.mean_teacher.follows == "before_step"

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002  Lightning's signature
        """The teacher follows after each optimiser step (the published counter stands at 2 after the first)."""
        options = self.options.mean_teacher
        if options is not None and options.follows == "after_step" and self.global_step > self._followed_step:
            self._followed_step = self.global_step
            self._follow(self.global_step + 1)

    def _follow(self, step: int) -> None:
        options = self.options.mean_teacher
        assert self.sed_teacher is not None and options is not None
        averaged = options.statistics == "averaged"
        update_teacher(self.sed_teacher, self.sed_student, step, options.ema_decay, averaged)

    @property
    def _is_adam_fused(self) -> bool:
        # A fused Adam unscales float16 gradients by itself, too late for them to be clipped before; Lightning then
        # refuses to clip in bfloat16 too.
        return self.options.precision == "32-true" or not self.options.gradient_clip

    def configure_optimizers(self) -> Any:
        """Adam over the student, its rate scheduled by step."""
        options = self.options
        optimizer = torch.optim.Adam(
            self.sed_student.parameters(), lr=options.learning_rate, betas=(0.9, 0.999), fused=self._is_adam_fused
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        by_step = {"scheduler": scheduler, "interval": "step", "name": "train/lr"}
        return {"optimizer": optimizer, "lr_scheduler": by_step}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing: the validation set is predicted as a whole in `on_validation_epoch_end`."""

    def on_validation_epoch_end(self) -> None:
        """Log `val/<figure>`, the objective, and the rank that selects: the objective, of equals the newer epoch."""
        selected = self.sed_student if self.options.selection_model == "student" else self.sed_teacher
        assert selected is not None
        figures = self.validate(selected)
        for name, value in figures.items():
            self.log(f"val/{name}", float(value), prog_bar=name == "objective")
        progress = self.global_step / (self.global_step + 1)
        self.log(RANK, float(figures["objective"]) + TIE_SHARE * progress)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the plain weights under the published names and everything that testing needs."""
        checkpoint["sed_student"] = self.sed_student.state_dict()
        if self.sed_teacher is not None:
            checkpoint["sed_teacher"] = self.sed_teacher.state_dict()
        checkpoint[CHECKPOINT_KEY] = self.description
        checkpoint[PARTS_KEY] = 1 if self.batch_split is None else self.batch_split.parts

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A training whose steps were made in parts goes on so, wherever there is memory."""
        if self.batch_split is not None:
            self.batch_split.parts = checkpoint.get(PARTS_KEY, 1)
        # Checkpoints of a time when Adam was not fused would bring that back, which float16's scaler does not expect.
        for state in checkpoint.get("optimizer_states", ()):
            for group in state["param_groups"]:
                group["fused"] = self._is_adam_fused


def _dropout_seed(seed: int, number: int, share: Share) -> int:
    """torch's seed of one batch, unlike that of any other batch, rank or run."""
    return int(np.random.SeedSequence((seed, number, 2, *_own_word(share))).generate_state(1, np.uint64)[0])


def _own_word(share: Share) -> tuple[int, ...]:
    """What sets the random numbers of a rank apart; a training in one process has always done without."""
    return (0, 4, share.rank + 1) if share.world > 1 else ()
