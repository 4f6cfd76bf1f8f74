"""A training recipe in a process of its own that can be killed, made slow enough to hit.

The processes come from multiprocessing's fork server, which has imported what they need, so each starts in no time.
What is slowed is said in `Brakes`; what the process does is written, line by line, to `<log>.steps`, and its standard
error to `<log>`.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_SECONDS = 120.0


@dataclass(frozen=True)
class Brakes:
    """Seconds that each of these takes longer; a disk that takes files of so many bytes after the third checkpoint."""

    step: float = 0.0
    validation: float = 0.0
    saving: float = 0.0
    largest_file: int | None = None


class Training:
    """A running training."""

    def __init__(self, argv: Sequence[str], log: Path, brakes: Brakes, recipe: str) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["desed_task.runs.command", "desed_task.runs.cross_fitting"])
        self.log, self.steps = log, log.with_name(log.name + ".steps")
        self.steps.write_text("")
        self.process = context.Process(target=_train, args=(recipe, list(argv), log, self.steps, brakes))
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    def wait_for(self, line: str, times: int = 1) -> None:
        """Until the process has written `line` so many times."""
        end = time.monotonic() + DEADLINE_SECONDS
        while self.steps.read_text().split("\n").count(line) < times:
            assert self.process.is_alive(), f"ended before {line!r}: {self.log.read_text()}"
            assert time.monotonic() < end, f"no {line!r} in {DEADLINE_SECONDS} s"
            time.sleep(0.002)

    def end(self) -> int | None:
        """Its exit code; minus the signal for one that was killed."""
        self.process.join(DEADLINE_SECONDS)
        return self.process.exitcode


@contextmanager
def training(argv: Sequence[str], log: Path, brakes: Brakes, recipe: str = "train_sed") -> Any:
    """A running training that is killed in any case when the block ends. recipe: a module of `recipes`."""
    running = Training(argv, log, brakes, recipe)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.join(DEADLINE_SECONDS)


def _train(recipe: str, argv: Sequence[str], log: Path, steps: Path, brakes: Brakes) -> None:
    from desed_task.command_line import run_recipe
    from desed_task.training.keeper import Keeper
    from desed_task.training.module import TrainedModule

    stream = log.open("w")
    os.dup2(stream.fileno(), sys.stderr.fileno())
    sys.stderr = stream
    sys.argv = [f"{recipe}.py", *argv]

    def tell(line: str) -> None:
        with steps.open("a") as told:
            told.write(line + "\n")

    def slowed(original: Callable[..., Any], what: str, seconds: float) -> Callable[..., Any]:
        def slow(*arguments: Any) -> Any:
            tell(what)
            time.sleep(seconds)
            return original(*arguments)

        return slow

    def save_last(keeper: Keeper, trainer: Any) -> None:
        original_save(keeper, trainer)
        tell("saved")
        if brakes.largest_file is not None and steps.read_text().count("saved") == 3:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (brakes.largest_file, hard))

    original_save = Keeper.save_last
    replaced: Any = TrainedModule
    replaced.training_step = slowed(TrainedModule.training_step, "step", brakes.step)
    build = TrainedModule.__init__

    def init(module: Any, *arguments: Any, **named: Any) -> None:
        build(module, *arguments, **named)
        module.validate = slowed(module.validate, "validation", brakes.validation)

    replaced.__init__ = init
    setattr(Keeper, "save_last", save_last)  # noqa: B010  mypy
    os.fsync = slowed(os.fsync, "saving", brakes.saving)
    run_recipe(importlib.import_module(f"recipes.{recipe}").main)
