"""Calling models compiled (`training.compile`) or as CUDA graphs (`training.cuda_graphs`), or plainly where that fails.

torch.compile fuses what stands between convolutions and recurrent layers; CUDA graphs replay a whole model as one
launch. Either may be impossible: no C++ compiler, no CUDA, an operator that cannot be traced. Then one warning says so
and the training goes on with the plain models, from the same state, as if nothing had been asked. What is compiled
stands beside the models, which keep their parameter names, and only training steps use it. Dropout of a compiled model
draws other masks than that of a plain one.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from desed_task.batch import Inputs, Predictions
from desed_task.training.batch_split import Kept, is_out_of_memory
from desed_task.training.course_options import CompileMode
from desed_task.training.step import call_plainly

LOG = logging.getLogger(__name__)
# CUDA graphs are warmed up in a model's first call, recorded in the second and replayed from the third on.
_TRIALS = 3


class Execution:
    """Calls models in the way that is asked for; plainly from the first failure on."""

    def __init__(self, mode: CompileMode, cuda_graphs: bool) -> None:
        self.mode, self.cuda_graphs = mode, cuda_graphs
        self.is_plain = mode == "off" and not cuda_graphs
        self._compiled: dict[int, tuple[Callable[[Inputs], Predictions], int]] = {}

    def begin_step(self) -> None:
        """What CUDA graphs gave in the step before may be overwritten."""
        if self.cuda_graphs and not self.is_plain:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def __call__(self, model: nn.Module, inputs: Inputs) -> Predictions:
        """model(inputs). Errors are errors once a model has worked."""
        self._require_cuda(inputs.mel.device)
        if self.is_plain:
            return call_plainly(model, inputs)
        compiled, trials = self._compiled.get(id(model)) or (self._compile(model), 0)
        if trials == _TRIALS:
            return compiled(inputs)
        predictions = self._try(compiled, model, inputs)
        self._compiled[id(model)] = (compiled, trials + 1)
        return predictions

    def _try(self, compiled: Callable[[Inputs], Predictions], model: nn.Module, inputs: Inputs) -> Predictions:
        # A model of several graphs may fail in the middle, with masks drawn and statistics moved.
        statistics, state = Kept(list(model.buffers())), _random_state(inputs.mel.device)
        try:
            return compiled(inputs)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self._give_up(f"{type(error).__name__}: {_first_line(error)}")
        statistics.put_back()
        _set_random_state(state, inputs.mel.device)
        return call_plainly(model, inputs)

    def _require_cuda(self, device: torch.device) -> None:
        if not self.cuda_graphs or self.is_plain or device.type == "cuda":
            return
        self.cuda_graphs = False
        if self.mode == "off":
            self._give_up("no CUDA device trains")
        else:
            LOG.warning("training.cuda_graphs has no effect: no CUDA device trains")

    def _give_up(self, reason: str) -> None:
        asked = "training.cuda_graphs" if self.mode == "off" else f"training.compile {self.mode}"
        LOG.warning("%s has no effect, the models run as they are: %s", asked, reason)
        self.is_plain = True
        self._compiled.clear()

    def _compile(self, model: nn.Module) -> Callable[[Inputs], Predictions]:
        # Otherwise the way back is compiled when it is first gone, where nothing can be tried again.
        functorch_config: Any = importlib.import_module("torch._functorch.config")
        functorch_config.force_non_lazy_backward_lowering = True
        compiled: Callable[[Inputs], Predictions] = torch.compile(model, dynamic=False, **self._how())
        return compiled

    def _how(self) -> dict[str, Any]:
        if self.mode == "off":
            return {"backend": "cudagraphs"}
        if self.mode == "max-autotune":
            return {"mode": "max-autotune" if self.cuda_graphs else "max-autotune-no-cudagraphs"}
        return {"mode": "reduce-overhead" if self.cuda_graphs else "default"}


def _random_state(device: torch.device) -> list[torch.Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _set_random_state(state: list[torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state(state[1], device)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else "no reason given"
