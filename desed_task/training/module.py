"""What every training has in common, as a thin LightningModule: steps, one validation, what a checkpoint holds.

Detectors (`sed_module`) and taggers (`tagging_module`) say which models there are, what a step's losses are, and how
the learning rate goes. What a step computes is said in `step`.

All that is random in a batch's step (augmentations, dropout) is drawn from (seed, number of the batch), so a training
that was interrupted goes on exactly as it would have. Each of several ranks draws numbers of its own, so clips are
mixed with clips of the same rank.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from desed_task.batch import Batch, Inputs, Targets
from desed_task.data.source import Share
from desed_task.embeddings.ears import Ears
from desed_task.errors import DesedTaskError
from desed_task.training.batch_split import BatchSplit, Step
from desed_task.training.compiling import Execution
from desed_task.training.course_options import CourseOptions
from desed_task.training.divergence import DivergenceWatch
from desed_task.training.ranks import ALONE, Ranks
from desed_task.training.step import WHOLE, Augmentation, Call, Losses, Shares, call_plainly, prepare
from desed_task.training.synchronised_norm import synchronise_norms

CHECKPOINT_KEY = "desed_task"
PARTS_KEY = "batch_parts"
OBJECTIVE = "val/objective"
RANK = "val/rank"
# Less than any metric distinguishes: an early epoch that scores 0 must not stand for a later one that scores 0 too.
TIE_SHARE = 1e-5


class TrainedModule(pl.LightningModule):
    """Models, what they hear with and the step that trains them.

    models: by their names, the first of which learns; the modules themselves are attributes of the subclass, whose
    names are those of the state dict. validate: model -> figures on the validation set, "objective" among them being
    what is selected by; it is made where everything is put together, so that training knows no metric. description:
    plain values stored in each checkpoint.
    """

    def __init__(
        self,
        ears: Ears,
        options: CourseOptions,
        augmentations: Sequence[Augmentation],
        steps_per_epoch: int,
        validate: Callable[[nn.Module], Mapping[str, float]],
        description: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.course = options
        self.ears = ears
        self.augmentations = tuple(augmentations)
        self.steps_per_epoch = steps_per_epoch
        self.updates_per_epoch = -(-steps_per_epoch // options.accumulate_batches)
        self.validate = validate
        self.description = dict(description)
        self.divergence = DivergenceWatch()
        self.execution = Execution(options.compile, options.cuda_graphs)
        self.ranks = ALONE
        self.batch_split: BatchSplit | None = None

    @property
    @abstractmethod
    def models(self) -> Mapping[str, nn.Module]:
        """Every model by its name; the first is the one that learns."""

    @property
    @abstractmethod
    def selected(self) -> nn.Module:
        """The model whose figures select the epoch."""

    @abstractmethod
    def compute(self, inputs: Inputs, targets: Targets, shares: Shares, call: Call) -> Losses:
        """The losses of a step, or of a part of it; `call` is how models hear."""

    @abstractmethod
    def relative_rate(self, step: int) -> float:
        """The learning rate of the step after `step` others, relative to the highest."""

    @abstractmethod
    def build_optimizer(self) -> torch.optim.Optimizer:
        """What makes the steps, with the highest learning rate."""

    def weights(self) -> dict[str, Any]:
        """What a checkpoint holds for those who only listen: plain weights, under the names they look for."""
        return {name: model.state_dict() for name, model in self.models.items()}

    def join(self, ranks: Ranks) -> None:
        """Train with others: statistics of batch norm are those of the whole batch, what is logged means over ranks."""
        self.ranks = ranks
        if ranks.share.world > 1:
            synchronise_norms(self, ranks.group)

    def split_when_memory_is_short(self) -> None:
        """Make steps that do not fit into memory in parts; for a training in one process."""
        self.batch_split = BatchSplit(list(self.models.values()))

    def let_break(self, breakable: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Let a signal break off what takes long between epochs; for a training in one process."""
        self.validate = breakable(self.validate)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step: the loss of the model that learns."""
        number = self.current_epoch * self.steps_per_epoch + batch_idx
        step = Step(batch, partial(self._prepare, batch, number), self._losses, partial(self._report, batch, batch_idx))
        return step.hear_whole().total if self.batch_split is None else self.batch_split.begin(step)

    def _prepare(self, batch: Batch, number: int, portions: int) -> tuple[Inputs, Targets]:
        torch.manual_seed(_dropout_seed(self.course.seed, number, self.ranks.share))
        rng = np.random.default_rng((self.course.seed, number, *_own_word(self.ranks.share)))
        return prepare(batch, self.ears, self.augmentations, rng, portions)

    def _losses(self, inputs: Inputs, targets: Targets, shares: Shares) -> Losses:
        # Gradients of several parts are added up, which recorded steps would overwrite.
        call = call_plainly if self.execution.cuda_graphs and shares is not WHOLE else self.execution
        self.execution.begin_step()
        return self.compute(inputs, targets, shares, call)

    def _report(self, batch: Batch, batch_idx: int, inputs: Inputs, losses: Losses) -> None:
        self._log_losses(losses, batch_idx)
        learner = next(iter(self.models.values()))
        try:
            self.divergence.watch(self.global_step, batch, inputs, losses.student, losses.total, losses.terms, learner)
        except DesedTaskError as error:
            self.ranks.put_off(error)

    def backward(self, loss: Tensor, *arguments: Any, **named: Any) -> None:
        """Gradients of the step, those of its parts where it is made in parts."""
        if self.batch_split is None:
            super().backward(loss, *arguments, **named)
        else:
            self.batch_split.backward(loss, self.trainer.precision_plugin.train_step_context)

    def _log_losses(self, losses: Losses, batch_idx: int) -> None:
        """Log this step's losses: means over the ranks where they will be read, this rank's own where they will not."""
        learner = next(iter(self.models))
        terms = {f"train/{learner}/{name}": value for name, value in losses.terms.items()}
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

    def configure_optimizers(self) -> Any:
        """The optimiser, its rate scheduled by step."""
        optimizer = self.build_optimizer()
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.relative_rate)
        by_step = {"scheduler": scheduler, "interval": "step", "name": "train/lr"}
        return {"optimizer": optimizer, "lr_scheduler": by_step}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing: the validation set is predicted as a whole in `on_validation_epoch_end`."""

    def on_validation_epoch_end(self) -> None:
        """Log `val/<figure>`, the objective, and the rank that selects: the objective, of equals the newer epoch."""
        figures = self.validate(self.selected)
        for name, value in figures.items():
            self.log(f"val/{name}", float(value), prog_bar=name == "objective")
        progress = self.global_step / (self.global_step + 1)
        self.log(RANK, float(figures["objective"]) + TIE_SHARE * progress)
        self.after_validation(float(figures["objective"]))

    def after_validation(self, objective: float) -> None:
        """For trainings whose course depends on how well the epochs were."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the plain weights under the published names and everything that testing needs."""
        checkpoint.update(self.weights())
        checkpoint[CHECKPOINT_KEY] = self.description
        checkpoint[PARTS_KEY] = 1 if self.batch_split is None else self.batch_split.parts

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """A training whose steps were made in parts goes on so, wherever there is memory."""
        if self.batch_split is not None:
            self.batch_split.parts = checkpoint.get(PARTS_KEY, 1)


def _dropout_seed(seed: int, number: int, share: Share) -> int:
    """torch's seed of one batch, unlike that of any other batch, rank or run."""
    return int(np.random.SeedSequence((seed, number, 2, *_own_word(share))).generate_state(1, np.uint64)[0])


def _own_word(share: Share) -> tuple[int, ...]:
    """What sets the random numbers of a rank apart; a training in one process has always done without."""
    return (0, 4, share.rank + 1) if share.world > 1 else ()
