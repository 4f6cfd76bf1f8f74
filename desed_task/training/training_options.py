"""What a training is asked for: its length, optimiser, schedule, losses, teacher and selection.

Defaults are the fixed behaviour; an option that exists to reproduce an oddity of the published code says so
(`confs/sed/compat_2022.yaml` sets them all, docs/compatibility.md lists them).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from desed_task.training.course_options import CourseOptions
from desed_task.training.mean_teacher import MeanTeacherOptions


class TrainingOptions(CourseOptions):
    """Length, optimiser, schedule, losses and selection of a training."""

    n_epochs_warmup: int = Field(50, ge=0, description="Epochs in which learning rate and consistency weight ramp up.")
    full_rate_first_step: bool = Field(
        False, description="The first step runs at the full learning rate, as published, and the ramp begins after it."
    )
    decay_from_epoch: int | None = Field(
        None,
        ge=0,
        description="From this epoch the learning rate falls by a cosine to min_learning_rate; null keeps it.",
    )
    min_learning_rate: float = Field(0.0, ge=0, description="The cosine decay stops here (1e-8 in 2024).")
    strong_weight: float = Field(1.0, ge=0, description="Weight of the loss on strongly labelled clips.")
    weak_weight: float = Field(1.0, ge=0, description="Weight of the loss on weakly labelled clips.")
    mean_teacher: MeanTeacherOptions | None = Field(
        MeanTeacherOptions(), description="The mean teacher; null trains one model without it."
    )
    selection_metric: Literal["intersection_f1", "collar_f1", "segment_f1", "psds1", "psds2", "psds1+psds2"] = Field(
        "intersection_f1", description="What an epoch is selected by (weak F1 is added where there is any)."
    )
    selection_model: Literal["student", "teacher"] = Field(
        "student", description="Whose figures select the epoch; the student's alone in every published baseline."
    )

    @model_validator(mode="after")
    def _consistent(self) -> TrainingOptions:
        if self.selection_model == "teacher" and self.mean_teacher is None:
            raise ValueError("selection_model is teacher and mean_teacher is null; select by the student")
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate {self.min_learning_rate:g} exceeds learning_rate {self.learning_rate:g}; lower it"
            )
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
        return self
