"""The training of a detector, as a thin LightningModule: one step, one validation, what a checkpoint holds.

A step: spectrum -> augment (linear) -> scale -> augment (normalised) -> student, teacher -> losses. With a mean teacher
the student must agree with it on every clip; without one (`mean_teacher` None) the same step is plain supervised
training. Both hear the same input. Selection on the validation set is the student's alone, as published.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from desed_task.batch import Batch, Inputs, Predictions, Targets
from desed_task.errors import DesedTaskError
from desed_task.options import Options
from desed_task.training.losses import consistency_loss, is_finite, supervised_loss
from desed_task.training.mean_teacher import MeanTeacherOptions, update_teacher
from desed_task.training.schedules import cosine_decay, exponential_ramp

CHECKPOINT_KEY = "desed_task"
OBJECTIVE = "val/objective"
RANK = "val/rank"
# Less than any metric distinguishes: an early epoch that scores 0 must not stand for a later one that scores 0 too.
TIE_SHARE = 1e-5


class TrainingOptions(Options):
    """Length, optimiser, schedule and selection of a training."""

    n_epochs: int = Field(200, ge=0, description="Epochs; 0 tests the untrained model.")
    n_epochs_warmup: int = Field(50, ge=0, description="Epochs in which learning rate and consistency weight ramp up.")
    decay_from_epoch: int | None = Field(
        None, ge=0, description="From this epoch the learning rate falls by a cosine to 0; null keeps it."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Adam's learning rate after the ramp.")
    gradient_clip: float = Field(0.0, ge=0, description="Largest gradient norm; 0 does not clip.")
    mean_teacher: MeanTeacherOptions | None = Field(
        MeanTeacherOptions(), description="The mean teacher; null trains one model without it."
    )
    validation_interval: int = Field(1, ge=1, description="Epochs from one validation to the next.")
    selection_metric: Literal["intersection_f1", "collar_f1", "psds1", "psds2"] = Field(
        "intersection_f1", description="What the student is selected by (weak F1 is added where there is any)."
    )
    early_stop_patience: int = Field(200, ge=1, description="Validations without a better one that end the training.")
    seed: int = Field(42, ge=0, description="Seed of weights, batches, augmentations and dropout.")
    num_threads: int | None = Field(None, ge=1, description="CPU threads; null takes all.")
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = Field("32-true", description="Lightning's precision.")

    @model_validator(mode="after")
    def _consistent(self) -> TrainingOptions:
        if self.n_epochs == 0:
            return self
        if self.n_epochs_warmup > self.n_epochs:
            raise ValueError(
                f"n_epochs_warmup {self.n_epochs_warmup} exceeds n_epochs {self.n_epochs}; the ramp would never end"
            )
        if self.decay_from_epoch is not None and self.decay_from_epoch >= self.n_epochs:
            raise ValueError(
                f"decay_from_epoch {self.decay_from_epoch} is not before n_epochs {self.n_epochs}; the learning rate "
                f"would never fall: lower it or set it to null"
            )
        if self.validation_interval > self.n_epochs:
            raise ValueError(
                f"validation_interval {self.validation_interval} exceeds n_epochs {self.n_epochs}; nothing would be "
                f"validated: lower it"
            )
        return self


class Augmentation(Protocol):
    """What every file in `augment/` offers."""

    domain: str

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """The same clips, altered."""
        ...


class Frontend(Protocol):
    """What every file in `features/` offers."""

    def spectrum(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> linear features."""
        ...

    def scale(self, mel: Tensor) -> Tensor:
        """Linear features -> what the model hears."""
        ...


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
        self.sed_teacher = copy.deepcopy(student).requires_grad_(False) if options.mean_teacher else None
        self.frontend = frontend
        self.augmentations = tuple(augmentations)
        self.steps_per_epoch = steps_per_epoch
        self.validate = validate
        self.description = dict(description)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:  # noqa: ARG002  Lightning's signature
        """One step: the loss of the student."""
        inputs, targets = self.prepare(batch, np.random.default_rng((self.options.seed, self.global_step)))
        student: Predictions = self.sed_student(inputs)
        loss, figures = supervised_loss(student, targets)
        if self.sed_teacher is not None:
            loss, more = self._add_consistency(loss, student, inputs)
            figures |= more
        self.log_dict({f"train/student/{name}": value for name, value in figures.items()})
        self.log("train/loss", loss.detach(), prog_bar=True)
        if self.global_step % 50 == 0 and not is_finite(loss):
            raise DesedTaskError(
                f"training diverged at step {self.global_step}: the loss is not a number; lower training.learning_rate"
            )
        return loss

    def prepare(self, batch: Batch, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """Batch -> (Inputs, Targets), augmented, each augmentation in its domain."""
        with torch.no_grad():
            inputs, targets = Inputs(self.frontend.spectrum(batch.waveform)), batch.targets
            inputs, targets = self._augment("linear", inputs, targets, rng)
            inputs = Inputs(self.frontend.scale(inputs.mel), inputs.embeddings)
            return self._augment("normalised", inputs, targets, rng)

    def _augment(
        self, domain: str, inputs: Inputs, targets: Targets, rng: np.random.Generator
    ) -> tuple[Inputs, Targets]:
        for augmentation in self.augmentations:
            if augmentation.domain == domain:
                inputs, targets = augmentation(inputs, targets, rng)
        return inputs, targets

    def _add_consistency(self, loss: Tensor, student: Predictions, inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
        assert self.sed_teacher is not None and self.options.mean_teacher is not None
        with torch.no_grad():
            teacher = self.sed_teacher(inputs)
        consistency = consistency_loss(student, teacher)
        weight = self.options.mean_teacher.consistency_weight * self._ramp(self.global_step + 1)
        figures = {"consistency": consistency.detach(), "consistency_weight": torch.tensor(weight)}
        return loss + weight * consistency, figures

    def _ramp(self, step: int) -> float:
        return exponential_ramp(step, self.options.n_epochs_warmup * self.steps_per_epoch)

    def _rate(self, step: int) -> float:
        decay_from = self.options.decay_from_epoch
        first = self.options.n_epochs if decay_from is None else decay_from
        return self._ramp(step + 1) * cosine_decay(
            step, first * self.steps_per_epoch, self.options.n_epochs * self.steps_per_epoch
        )

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002  Lightning's signature
        """The teacher follows after each optimiser step (the published counter stands at 2 after the first)."""
        if self.sed_teacher is not None and self.options.mean_teacher is not None:
            step = self.global_step + 1
            update_teacher(self.sed_teacher, self.sed_student, step, self.options.mean_teacher.ema_decay)

    def configure_optimizers(self) -> Any:
        """Adam over the student, its rate scheduled by step."""
        optimizer = torch.optim.Adam(self.sed_student.parameters(), lr=self.options.learning_rate, betas=(0.9, 0.999))
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        by_step = {"scheduler": scheduler, "interval": "step", "name": "train/lr"}
        return {"optimizer": optimizer, "lr_scheduler": by_step}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing: the validation set is predicted as a whole in `on_validation_epoch_end`."""

    def on_validation_epoch_end(self) -> None:
        """Log `val/<figure>`, the objective, and the rank that selects: the objective, of equals the newer epoch."""
        figures = self.validate(self.sed_student)
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
