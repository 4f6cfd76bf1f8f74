"""How a training step's time is shared out: data, mel, student, teacher, backward, optimiser.

The pieces run one after another, each between two CUDA events (two readings of the clock on a CPU), so that nothing
overlaps and nothing is compiled: shares, not the time of a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
import torch

from desed_task.data.dataset import BatchDataset
from desed_task.training.losses import consistency_loss, supervised_loss
from desed_task.training.mean_teacher import update_teacher
from desed_task.training.sed_module import SedModule
from desed_task.training.step import prepare

WARM_STEPS = 3


class Watch:
    """Milliseconds of named pieces, step by step."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._readings: dict[str, list[Callable[[], float]]] = {}

    @contextmanager
    def piece(self, name: str) -> Iterator[None]:
        """Time what is inside."""
        start = self._now()
        yield
        end = self._now()
        self._readings.setdefault(name, []).append(lambda: _between(start, end))

    def medians(self) -> dict[str, float]:
        """Of each piece after the warm-up; waits for the device once."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return {
            name: median(reading() for reading in readings[WARM_STEPS:]) for name, readings in self._readings.items()
        }

    def _now(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def shares_of_a_step(module: SedModule, dataset: BatchDataset, precision: str, num_steps: int) -> str:
    """The pieces in percent and milliseconds, in the order of a step."""
    milliseconds = time_pieces(module, dataset, precision, num_steps)
    whole = sum(milliseconds.values())
    said = [f"{name} {value:.2f} ms ({100 * value / whole:.0f} %)" for name, value in milliseconds.items()]
    return "one after another: " + ", ".join(said)


def time_pieces(module: SedModule, dataset: BatchDataset, precision: str, num_steps: int) -> Mapping[str, float]:
    """Median milliseconds of each piece over so many steps."""
    device = dataset.device
    watch = Watch(device)
    student, teacher = module.sed_student.train(), module.sed_teacher
    assert teacher is not None
    options = module.options.mean_teacher
    assert options is not None
    optimizer = module.configure_optimizers()["optimizer"]
    half = torch.bfloat16 if precision == "bf16-mixed" else torch.float16
    for step in range(WARM_STEPS + num_steps):
        with watch.piece("data"):
            batch = dataset[0, step % len(dataset)]
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=half, enabled=precision != "32-true"):
            with watch.piece("mel"):
                inputs, targets = prepare(batch, module.ears, module.augmentations, np.random.default_rng(step))
            with watch.piece("student"):
                predicted = student(inputs)
            with watch.piece("teacher"), torch.no_grad():
                heard = teacher(inputs)
            with watch.piece("losses"):
                loss = supervised_loss(predicted, targets)[0]
                loss = loss + consistency_loss(predicted, heard, options.consistency_loss)
        with watch.piece("backward"):
            torch.autograd.backward(loss)
        with watch.piece("optimiser and teacher's average"):
            optimizer.step()
            update_teacher(teacher, student, step + 1, options.ema_decay)
    return watch.medians()


def _between(start: Any, end: Any) -> float:
    """Milliseconds."""
    return 1e3 * (end - start) if isinstance(start, float) else float(start.elapsed_time(end))
