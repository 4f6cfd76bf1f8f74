"""The training of a detector: a student and, with a mean teacher, the model that follows it.

What is common to every training is in `module`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from desed_task.batch import Inputs, Targets
from desed_task.embeddings.ears import Ears
from desed_task.embeddings.learning import parameter_groups
from desed_task.training.mean_teacher import build_teacher, update_teacher
from desed_task.training.module import TrainedModule
from desed_task.training.schedules import cosine_decay, exponential_ramp
from desed_task.training.step import Augmentation, Call, Losses, Shares, compute_losses
from desed_task.training.training_options import TrainingOptions


class SedModule(TrainedModule):
    """Student, teacher and the step that trains them."""

    def __init__(
        self,
        student: nn.Module,
        ears: Ears,
        options: TrainingOptions,
        augmentations: Sequence[Augmentation],
        steps_per_epoch: int,
        validate: Callable[[nn.Module], Mapping[str, float]],
        description: Mapping[str, Any],
        embedder_rates: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """embedder_rates: highest learning rates of the embedders that learn."""
        super().__init__(ears, options, augmentations, steps_per_epoch, validate, description)
        self.options, self.embedder_rates = options, embedder_rates
        self.sed_student = student
        self.sed_teacher = build_teacher(student, options.mean_teacher) if options.mean_teacher else None
        self._follows_now = False
        self._followed_step = 0

    @property
    def models(self) -> Mapping[str, nn.Module]:
        """The student, and the teacher where there is one."""
        models = {"student": self.sed_student, "teacher": self.sed_teacher}
        return {name: model for name, model in models.items() if model is not None}

    @property
    def selected(self) -> nn.Module:
        """The one of `selection_model`."""
        return self.models[self.options.selection_model]

    def compute(self, inputs: Inputs, targets: Targets, shares: Shares, call: Call) -> Losses:
        """Supervised losses of the student and its disagreement with the teacher."""
        weight = self._consistency_weight()
        return compute_losses(self.sed_student, self.sed_teacher, inputs, targets, self.options, weight, shares, call)

    def backward(self, loss: Tensor, *arguments: Any, **named: Any) -> None:
        """Gradients of the step; a teacher that is to follow follows."""
        super().backward(loss, *arguments, **named)
        if self._follows_now:
            self._follows_now = False
            self._follow(self.global_step + 1)

    def _consistency_weight(self) -> float:
        options = self.options.mean_teacher
        return options.consistency_weight * self._ramp(self.global_step + 1) if options is not None else 0.0

    def _ramp(self, step: int) -> float:
        return exponential_ramp(step, self.options.n_epochs_warmup * self.updates_per_epoch)

    def relative_rate(self, step: int) -> float:
        """The ramp, then the cosine."""
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

    def build_optimizer(self) -> torch.optim.Optimizer:
        """Adam over the student, each embedder that learns at a rate of its own."""
        return torch.optim.Adam(
            parameter_groups(self.sed_student, self.embedder_rates),
            lr=self.options.learning_rate,
            betas=(0.9, 0.999),
            fused=self._is_adam_fused,
        )

    def weights(self) -> dict[str, Any]:
        """Under the names of the published checkpoints."""
        return {f"sed_{name}": model.state_dict() for name, model in self.models.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Checkpoints of a time when Adam was not fused would bring that back; float16's scaler does not expect it."""
        super().on_load_checkpoint(checkpoint)
        for state in checkpoint.get("optimizer_states", ()):
            for group in state["param_groups"]:
                group["fused"] = self._is_adam_fused
