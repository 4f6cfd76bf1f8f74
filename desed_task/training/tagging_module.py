"""The training of a tagger: one model, its clip loss, its learning rate, and what is averaged over epochs.

What is common to every training is in `module`. Two means over epochs are kept while it trains, so that no epoch's
weights need stay on the disk: that of the weights (`weight_averaging`), and that of what the epochs say about the clips
of the validation and evaluation sets (`ensemble`). Both travel in the checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from desed_task.batch import Inputs, Targets
from desed_task.embeddings.ears import Ears
from desed_task.training.module import TrainedModule
from desed_task.training.prediction_ensemble import RunningEnsemble
from desed_task.training.step import Augmentation, Call, Losses, Shares
from desed_task.training.tagging_losses import build_clip_loss, compute_tagging_losses
from desed_task.training.tagging_optimizers import build_optimizer, freeze_trunk, hear_with_frozen_trunk
from desed_task.training.tagging_options import TaggingTrainingOptions
from desed_task.training.tagging_schedules import build_schedule
from desed_task.training.weight_averaging import WeightAverage

MODEL = "model"
SCHEDULE_KEY, AVERAGE_KEY, ENSEMBLES_KEY = "schedule", "weight_average", "ensembles"


class TaggingModule(TrainedModule):
    """A tagger and the step that trains it.

    predict_sets: model -> name of a set -> (clips, classes) probabilities, for the ensemble; it is called right after
    `validate`, with the same model. class_weights: (classes,) of the loss.
    """

    def __init__(
        self,
        model: nn.Module,
        ears: Ears,
        options: TaggingTrainingOptions,
        augmentations: Sequence[Augmentation],
        steps_per_epoch: int,
        validate: Callable[[nn.Module], Mapping[str, float]],
        predict_sets: Callable[[nn.Module], Mapping[str, NDArray[np.float32]]],
        description: Mapping[str, Any],
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__(ears, options, augmentations, steps_per_epoch, validate, description)
        self.options = options
        self.tagger = model
        self.loss = build_clip_loss(options.loss, class_weights)
        self.predict_sets = predict_sets
        self.schedule = build_schedule(options.schedule, options.warmup)
        self.average = WeightAverage(options.weight_averaging.mode) if options.weight_averaging else None
        self.ensembles: dict[str, RunningEnsemble] = {}
        self._head: tuple[str, ...] = getattr(model, "HEAD", ())
        if options.freeze_trunk:
            freeze_trunk(model, self._head)

    @property
    def models(self) -> Mapping[str, nn.Module]:
        """The tagger."""
        return {MODEL: self.tagger}

    @property
    def selected(self) -> nn.Module:
        """The tagger."""
        return self.tagger

    def let_break(self, breakable: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Validation, and hearing the other sets."""
        super().let_break(breakable)
        self.predict_sets = breakable(self.predict_sets)

    def compute(self, inputs: Inputs, targets: Targets, shares: Shares, call: Call) -> Losses:
        """The clip loss."""
        return compute_tagging_losses(self.tagger, inputs, targets, self.loss, shares, call)

    def train(self, mode: bool = True) -> TaggingModule:
        """As torch's; what is frozen hears as in a test."""
        super().train(mode)
        if mode:
            self._keep_frozen()
        return self

    def on_train_start(self) -> None:
        """Lightning begins in the mode that it finds."""
        self._keep_frozen()

    def on_train_epoch_start(self) -> None:
        """A validation has put the whole tagger back into training mode."""
        self._keep_frozen()

    def _keep_frozen(self) -> None:
        if self.options.freeze_trunk:
            hear_with_frozen_trunk(self.tagger)

    def relative_rate(self, step: int) -> float:
        """That of the schedule."""
        return self.schedule.rate(step, self.updates_per_epoch)

    def build_optimizer(self) -> torch.optim.Optimizer:
        """The one of the options, the head perhaps at a rate of its own."""
        # A fused optimiser unscales float16 gradients by itself, too late for them to be clipped before.
        fused = self.options.precision == "32-true" or not self.options.gradient_clip
        options = self.options
        return build_optimizer(
            self.tagger,
            options.optimizer,
            options.learning_rate,
            self._head,
            options.head_learning_rate_scale,
            fused=fused,
        )

    def after_validation(self, objective: float) -> None:
        """Count the epoch into the means that it belongs to; a learning rate that follows the figures changes."""
        epoch = self.current_epoch + 1
        ensemble, averaging = self.options.ensemble, self.options.weight_averaging
        # First what may be broken off by a signal, upon which the validation is made again.
        said = self.predict_sets(self.tagger) if ensemble is not None and ensemble.holds(epoch) else {}
        for name, probs in said.items():
            self.ensembles.setdefault(name, RunningEnsemble()).add(probs)
        if averaging is not None and averaging.holds(epoch):
            assert self.average is not None
            self.average.add(self.tagger.state_dict())
        self.schedule.after_validation(objective)
        self._renew_rates()

    def _renew_rates(self) -> None:
        """The next step already has the rate that the figures ask for."""
        for config in self.trainer.lr_scheduler_configs:
            scheduler: Any = config.scheduler
            rate = self.relative_rate(scheduler.last_epoch)
            for group, base in zip(scheduler.optimizer.param_groups, scheduler.base_lrs, strict=True):
                group["lr"] = base * rate

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add where the schedule stands, and the means so far."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[SCHEDULE_KEY] = self.schedule.state()
        if self.average is not None:
            checkpoint[AVERAGE_KEY] = self.average.state()
        checkpoint[ENSEMBLES_KEY] = {name: ensemble.state() for name, ensemble in self.ensembles.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up schedule and means."""
        super().on_load_checkpoint(checkpoint)
        self.schedule.restore(checkpoint[SCHEDULE_KEY])
        if self.average is not None:
            self.average.restore(checkpoint[AVERAGE_KEY])
        for name, state in checkpoint[ENSEMBLES_KEY].items():
            self.ensembles[name] = RunningEnsemble()
            self.ensembles[name].restore(state)
