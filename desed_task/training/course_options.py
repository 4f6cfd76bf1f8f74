"""What every training is asked for, whatever it trains: its length, how its steps are made, when it is kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from desed_task.options import Options

CompileMode = Literal["off", "default", "max-autotune"]


class CourseOptions(Options):
    """Length, steps and checkpoints of a training."""

    n_epochs: int = Field(200, ge=0, description="Epochs; 0 tests the untrained model.")
    learning_rate: float = Field(1e-3, gt=0, description="The optimiser's highest learning rate.")
    gradient_clip: float = Field(0.0, ge=0, description="Largest gradient norm; 0 does not clip.")
    accumulate_batches: int = Field(1, ge=1, description="Batches whose gradients are averaged into one step.")
    validation_interval: int = Field(1, ge=1, description="Epochs from one validation to the next.")
    early_stop_patience: int = Field(200, ge=1, description="Validations without a better one that end the training.")
    checkpoint_minutes: float = Field(
        10.0, gt=0, description="Minutes between checkpoints inside an epoch; at the end of each there is one anyway."
    )
    seed: int = Field(42, ge=0, description="Seed of weights, batches, augmentations and dropout.")
    deterministic: bool = Field(
        False, description="On a GPU only algorithms that give the same numbers every time; on a CPU they always do."
    )
    num_threads: int | None = Field(None, ge=1, description="CPU threads; null takes all.")
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = Field("32-true", description="Lightning's precision.")
    compile: CompileMode = Field(
        "off", description="torch.compile of the models that train, or its search for the fastest kernels."
    )
    cuda_graphs: bool = Field(
        False, description="A GPU replays recorded steps of the models instead of launching kernel by kernel."
    )

    @model_validator(mode="after")
    def _consistent_course(self) -> CourseOptions:
        if self.cuda_graphs and self.accumulate_batches > 1:
            raise ValueError(
                f"cuda_graphs overwrite the gradients that accumulate_batches {self.accumulate_batches} adds up; set "
                f"one of them otherwise"
            )
        if self.n_epochs and self.validation_interval > self.n_epochs:
            raise ValueError(
                f"validation_interval {self.validation_interval} exceeds n_epochs {self.n_epochs}; nothing would be "
                f"validated: lower it"
            )
        return self
