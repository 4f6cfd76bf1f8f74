"""What the training of a tagger is asked for, beside its length and how its steps are made: loss, optimiser, learning
rate, what it begins from, what is selected, and what is averaged over epochs.

Epochs of `weight_averaging` and `ensemble` are counted from 1, as in the papers and in the log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from desed_task.options import Options
from desed_task.training.course_options import CourseOptions
from desed_task.training.tagging_losses import BceOptions, ClipLossOptions
from desed_task.training.tagging_optimizers import AdamOptions, OptimizerOptions
from desed_task.training.tagging_schedules import ConstantOptions, ScheduleOptions, WarmupOptions
from desed_task.training.weight_averaging import AveragingMode

SelectionMetric = Literal["map", "mauc", "accuracy"]


class EpochRange(Options):
    """Epochs, counted from 1, the first and the last included."""

    first_epoch: int = Field(1, ge=1, description="The first of the epochs, counted from 1.")
    last_epoch: int | None = Field(None, ge=1, description="The last of them; null goes on to the end.")

    @model_validator(mode="after")
    def _consistent(self) -> EpochRange:
        if self.last_epoch is not None and self.last_epoch < self.first_epoch:
            raise ValueError(f"last_epoch {self.last_epoch} is before first_epoch {self.first_epoch}; swap them")
        return self

    def holds(self, epoch: int) -> bool:
        """Whether an epoch, counted from 1, is one of them."""
        return self.first_epoch <= epoch <= (self.last_epoch or epoch)


class WeightAveragingOptions(EpochRange):
    """The mean of the weights at the ends of some epochs, as a further model."""

    mode: AveragingMode = Field(
        "mean", description="The plain mean, or PSLA's (published), in which the first epoch counts twice."
    )
    batch_norm: Literal["averaged", "measured"] = Field(
        "averaged",
        description="Statistics of batch norm: their mean, as published, or measured anew over an epoch of batches.",
    )


class EnsembleOptions(EpochRange):
    """The mean of the clip probabilities of some epochs, as further scores."""


class TaggingTrainingOptions(CourseOptions):
    """Length, loss, optimiser, learning rate and selection of a tagger's training."""

    loss: ClipLossOptions = Field(BceOptions(), description="How far clip scores are from the clips' tags.")
    class_weights: Path | None = Field(
        None, description="Weights of the positive part of bce: a .pth tensor, or text with one number per class."
    )
    optimizer: OptimizerOptions = Field(AdamOptions(), description="What makes the steps.")
    schedule: ScheduleOptions = Field(ConstantOptions(), description="The learning rate after its warm-up.")
    warmup: WarmupOptions | None = Field(None, description="The learning rate's rise at first; null has none.")
    init_from: Path | None = Field(
        None, description="Checkpoint whose weights are begun with (its head, too, where the classes are the same)."
    )
    head_learning_rate_scale: float = Field(
        1.0, gt=0, description="Learning rate of what depends on the classes, relative to that of the rest."
    )
    freeze_trunk: bool = Field(False, description="Only what depends on the classes learns.")
    selection_metric: SelectionMetric = Field("map", description="What an epoch is selected by.")
    weight_averaging: WeightAveragingOptions | None = Field(
        None, description="The mean of the weights of some epochs, tested beside the best epoch; null makes none."
    )
    ensemble: EnsembleOptions | None = Field(
        None, description="The mean of the probabilities of some epochs, reported beside the best; null makes none."
    )

    @model_validator(mode="after")
    def _consistent(self) -> TaggingTrainingOptions:
        if self.class_weights is not None and not isinstance(self.loss, BceOptions):
            raise ValueError(f"class_weights are for the loss bce, not for {self.loss.name}; leave them out")
        if self.freeze_trunk and self.init_from is None:
            raise ValueError("freeze_trunk keeps the trunk as it begins, which is random without init_from; name one")
        if self.freeze_trunk and self.head_learning_rate_scale != 1.0:
            raise ValueError("with freeze_trunk only the head learns; set learning_rate, not head_learning_rate_scale")
        self._require_reached("weight_averaging", self.weight_averaging)
        self._require_reached("ensemble", self.ensemble)
        return self

    def _require_reached(self, key: str, epochs: EpochRange | None) -> None:
        if epochs is None or not self.n_epochs:
            return
        for name, epoch in (("first_epoch", epochs.first_epoch), ("last_epoch", epochs.last_epoch)):
            if epoch is not None and epoch > self.n_epochs:
                raise ValueError(f"{key}.{name} {epoch} exceeds n_epochs {self.n_epochs}; lower it")
