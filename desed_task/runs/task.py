"""What a training is of: detection or tagging. The course (`train`, `resuming`, `seeds`) is the same for both.

A task says how its conf is checked, how everything that a training needs is prepared, and what is done with the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from desed_task.data.dataset import BatchDataset
from desed_task.system import SystemOptions
from desed_task.training.energy import EnergyReading
from desed_task.training.module import TrainedModule
from desed_task.training.ranks import Ranks

O = TypeVar("O", bound=SystemOptions)  # noqa: E741
Reports = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Prepared:
    """A training that can begin. begin: called with the run folder before the first step; finish: with the best
    checkpoint, the run folder and the energy so far, when nothing is left to train (in the first rank alone).
    """

    module: TrainedModule
    dataset: BatchDataset
    finish: Callable[[Path, Path, EnergyReading], None]
    begin: Callable[[Path], None] = field(default=lambda _: None)


@dataclass(frozen=True)
class Task(Generic[O]):
    """One kind of training.

    name: what checkpoints call it; meter: what energy is booked under; prepare: options, device, whether it is only a
    trial, whether it begins (what goes on has its weights already), ranks -> everything read, checked and packed;
    build_dataset: the training clips alone, to compare them; is_tested, test_again: of a run folder whose training is
    finished; tested_with: what tests a checkpoint, in words; figures: of its reports, by their keys, with the titles of
    the table of several seeds; read_reports: run folder -> system -> report; resolve: a conf -> what its runs store,
    which says what other files said; write_table: seed -> run folder, and the path of one table of them all.
    """

    name: str
    options: type[O]
    meter: str
    prepare: Callable[[O, torch.device, bool, bool, Ranks], Prepared]
    build_dataset: Callable[[O], BatchDataset]
    is_tested: Callable[[Path], bool]
    test_again: Callable[[Path, torch.device, EnergyReading], None]
    tested_with: str
    figures: Mapping[str, str]
    read_reports: Callable[[Path], Reports]
    resolve: Callable[[O], O] = field(default=lambda options: options)
    write_table: Callable[[Mapping[int, Path], Path], None] = field(default=lambda _runs, _path: None)
