"""A batch that does not fit into memory is made in 2, 4, ... parts whose gradients add up to those of the whole.

When a step runs out of memory, what it changed is put back and the same batch is made again in more parts; the training
goes on with that many, and its checkpoints say so. Part k of n holds the clips k, k + n, k + 2n ... of the batch, so
each holds every kind of clip in proportion. Features and augmentations are those of the whole batch, and a part's
losses are weighted by its share of the clips that they are means over: without batch norm and dropout the gradient is
that of the whole to rounding. Batch norm then normalises by each part's own statistics.

The trainer gets a loss that is cut off from its graph, which is kept here: only then can it be let go.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from desed_task.batch import Batch, Inputs, Predictions, Targets
from desed_task.errors import DesedTaskError
from desed_task.training.allocator import give_back_freed_memory
from desed_task.training.step import WHOLE, Losses, Shares

LOG = logging.getLogger(__name__)
# What torch's CPU allocator, oneDNN, C++ and cuBLAS say when there is no memory; torch makes RuntimeErrors of all.
_SIGNS = ("DefaultCPUAllocator", "std::bad_alloc", "bad allocation", "CUBLAS_STATUS_ALLOC_FAILED", "out of memory")
_SIGNS_OF_ONEDNN = ("could not create a primitive", "could not create a memory", "could not execute a primitive")


@dataclass(frozen=True)
class Step:
    """What is done with one batch: features (computed in so many portions), losses (of a part), and what is logged.

    `prepare` begins with the step's seed and gives the same each time.
    """

    batch: Batch
    prepare: Callable[[int], tuple[Inputs, Targets]]
    compute: Callable[[Inputs, Targets, Shares], Losses]
    report: Callable[[Inputs, Losses], None]

    def hear_whole(self) -> Losses:
        """The step without parts."""
        inputs, targets = self.prepare(1)
        losses = self.compute(inputs, targets, WHOLE)
        self.report(inputs, losses)
        return losses


class BatchSplit:
    """Makes each step in `parts` parts, and in more as soon as memory is short."""

    def __init__(self, models: Sequence[nn.Module], parts: int = 1) -> None:
        self.parts = parts
        self._models = models
        self._statistics: Kept | None = None
        self._step: Step | None = None
        self._whole: Losses | None = None
        self._loss: Tensor | None = None

    def begin(self, step: Step) -> Tensor:
        """The loss for the trainer; a step in parts is made in `backward`."""
        self._step, self._whole = step, None
        self._keep_statistics()
        if self.parts == 1:
            self._fits(self._hear_whole)
        total = torch.zeros((), device=step.batch.waveform.device) if self._whole is None else self._whole.total
        self._loss = total.detach().requires_grad_()
        return self._loss

    def backward(self, loss: Tensor, autocast: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        """Add up the gradients. loss: what the trainer made of the loss that it got (scaled, divided).

        autocast: the trainer's context of a step, in which parts are heard.
        """
        assert self._loss is not None
        torch.autograd.backward(loss)
        weight = self._loss.grad
        assert weight is not None
        gradients = Gradients([parameter for model in self._models for parameter in model.parameters()])
        while not self._fits(lambda: self._add_gradients(weight, autocast)):
            gradients.put_back()
        self._step = self._loss = None

    def _hear_whole(self) -> None:
        self._whole = self._current_step().hear_whole()

    def _add_gradients(self, weight: Tensor, autocast: Callable[[], AbstractContextManager[object]]) -> None:
        if self._whole is not None:
            torch.autograd.backward(self._whole.total, weight)
            self._whole = None
            return
        step = self._current_step()
        with autocast():
            inputs, targets = step.prepare(self.parts)
        of_parts = []
        for part in range(self.parts):
            with autocast():
                losses = step.compute(
                    inputs.part(part, self.parts),
                    part_of_targets(targets, part, self.parts),
                    shares_of(targets, part, self.parts),
                )
            torch.autograd.backward(losses.total, weight)
            of_parts.append(_without_graph(losses))
            del losses  # the graph of one part must be gone before the next is made
        step.report(inputs, add_up(of_parts))

    def _current_step(self) -> Step:
        assert self._step is not None
        return self._step

    def _keep_statistics(self) -> None:
        if self._statistics is None:
            self._statistics = Kept([buffer for model in self._models for buffer in model.buffers()])
        self._statistics.keep()

    def _fits(self, work: Callable[[], None]) -> bool:
        """Whether there was memory for it; if not, there are more parts now and the models are as before."""
        try:
            work()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = _first_line(error)
        else:
            return True
        # Here, where the error is gone: its traceback held all that the attempt had made.
        self._whole = None
        release_memory()
        assert self._statistics is not None
        self._statistics.put_back()
        self._split_further(len(self._current_step().batch), reason)
        return False

    def _split_further(self, num_clips: int, reason: str) -> None:
        if self.parts >= num_clips:
            raise DesedTaskError(
                f"out of memory with a single clip of a batch of {num_clips} ({reason}): take shorter clips "
                f"(data.clip_seconds), a smaller model or training.precision bf16-mixed"
            )
        self.parts = min(2 * self.parts, num_clips)
        LOG.warning(
            "out of memory: batches of %d clips are made in %d parts from here on, gradients added up and batch-norm "
            "statistics those of each part; a smaller batch_size or training.precision bf16-mixed avoids it",
            num_clips,
            self.parts,
        )


class Kept:
    """A copy of some tensors, renewed in place and put back in place."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_type.setdefault(tensor.dtype, []).append(tensor)
        # Lists of one type are copied in one operation.
        self._groups = [(group, [tensor.detach().clone() for tensor in group]) for group in by_type.values()]

    @torch.no_grad()
    def keep(self) -> None:
        """Copy the tensors."""
        for tensors, copies in self._groups:
            torch._foreach_copy_(copies, tensors)

    @torch.no_grad()
    def put_back(self) -> None:
        """Make the tensors what they were."""
        for tensors, copies in self._groups:
            torch._foreach_copy_(tensors, copies)


class Gradients:
    """Gradients as they are now: none, or those of the accumulated batches before."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._without = [parameter for parameter in parameters if parameter.grad is None]
        self._kept = Kept([parameter.grad for parameter in parameters if parameter.grad is not None])

    def put_back(self) -> None:
        """What was added since is gone."""
        self._kept.put_back()
        for parameter in self._without:
            parameter.grad = None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory, on a GPU or on a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in (*_SIGNS, *_SIGNS_OF_ONEDNN))


def require_memory(error: BaseException, is_split: bool) -> None:
    """DesedTaskError when an error that ended a training says that there is no memory, and what to do about it."""
    if is_out_of_memory(error):
        why = "this is not the step, which is made in parts" if is_split else "several processes split no batches"
        raise DesedTaskError(
            f"out of memory ({_first_line(error)}); {why}: lower batch_size in data.train, or set data.residence to "
            f"mapped or training.precision to bf16-mixed"
        ) from None


def release_memory() -> None:
    """Let go of what a failed attempt left."""
    gc.collect()
    give_back_freed_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def part_of_targets(targets: Targets, part: int, parts: int) -> Targets:
    """The targets of the same clips."""
    return replace(targets, **{name: values[part::parts] for name, values in vars(targets).items()})


def shares_of(targets: Targets, part: int, parts: int) -> Shares:
    """A part's shares of what the losses of the whole batch are means over; nothing waits for the device."""
    clips = targets.has_strong[part::parts]
    return Shares(
        _share(targets.has_strong, part, parts), _share(targets.has_weak, part, parts),
        len(clips) / len(targets.has_strong),
    )  # fmt: skip


def add_up(of_parts: Sequence[Losses]) -> Losses:
    """The losses of a batch from those of its parts, predictions in the order of the batch."""
    students = [losses.student for losses in of_parts]
    strong = [student.strong_logits for student in students if student.strong_logits is not None]
    student = Predictions(_interleaved(strong) if strong else None, _interleaved([s.weak_logits for s in students]))
    names = of_parts[0].terms
    terms = {name: torch.stack([losses.terms[name] for losses in of_parts]).sum() for name in names}
    return Losses(torch.stack([losses.total for losses in of_parts]).sum(), terms, student)


def _first_line(error: BaseException) -> str:
    return str(error).split("\n")[0][:120] or type(error).__name__


def _share(known: Tensor, part: int, parts: int) -> Tensor:
    return known[part::parts].sum() / known.sum().clamp(min=1)


def _interleaved(of_parts: Sequence[Tensor]) -> Tensor:
    whole = of_parts[0].new_empty((sum(map(len, of_parts)), *of_parts[0].shape[1:]))
    for part, values in enumerate(of_parts):
        whole[part :: len(of_parts)] = values
    return whole


def _without_graph(losses: Losses) -> Losses:
    strong = losses.student.strong_logits
    student = Predictions(None if strong is None else strong.detach(), losses.student.weak_logits.detach())
    return Losses(losses.total.detach(), losses.terms, student)
