"""A training recipe under torchrun, with two processes on this machine, watched from outside.

As a script this is one of the processes: it trains, and writes into a folder its process id, a line for every step, and
its exit code: `<rank>.pid`, `<rank>.steps`, `<rank>.code`. Steps can be made slow enough to hit, and what one rank
hears in one of them not finite.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEADLINE_SECONDS = 240.0
# How torchrun's own lines begin. Warnings may stand before our last words; its report of what failed, after an error,
# stands after them, for it waits until all processes have ended.
_WARNING_OF_TORCHRUN, _REPORT_OF_TORCHRUN = re.compile(r"W\d{4} "), re.compile(r"E\d{4} ")
ROOT = Path(__file__).resolve().parent.parent


class Torchrun:
    """A running training of two processes."""

    def __init__(
        self, argv: Sequence[str], folder: Path, step_seconds: float = 0.0, nan: str = "", recipe: str = "train_sed"
    ) -> None:
        """nan: "RANK:STEP", the rank that hears what is not finite, and in which of its steps."""
        folder.mkdir(parents=True)
        self.folder = folder
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        self._log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [*command, __file__, str(folder), str(step_seconds), nan, recipe, *argv],
            stdout=self._log,
            stderr=self._log,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )

    def wait_for_step(self, step: int, rank: int = 0) -> None:
        """Until a rank has begun so many steps."""
        end = time.monotonic() + DEADLINE_SECONDS
        path = self.folder / f"{rank}.steps"
        while not path.is_file() or len(path.read_text().split()) < step:
            assert self.process.poll() is None, f"ended before step {step}: {self.said()}"
            assert time.monotonic() < end, f"no step {step} in {DEADLINE_SECONDS} s: {self.said()}"
            time.sleep(0.02)

    def send(self, number: signal.Signals, rank: int) -> None:
        """A signal to one of the processes."""
        os.kill(int((self.folder / f"{rank}.pid").read_text()), number)

    def end(self) -> int:
        """torchrun's exit code."""
        return self.process.wait(DEADLINE_SECONDS)

    def codes(self) -> list[int | None]:
        """Exit codes of rank 0 and rank 1; None for one that was killed."""
        paths = [self.folder / f"{rank}.code" for rank in range(2)]
        return [int(path.read_text()) if path.is_file() else None for path in paths]

    def steps(self) -> list[int]:
        """How many steps each rank has begun."""
        return [len((self.folder / f"{rank}.steps").read_text().split()) for rank in range(2)]

    def said(self) -> str:
        """All that was written to the terminal, without what torchrun itself says."""
        lines = (self.folder / "log").read_text().split("\n")
        report = [number for number, line in enumerate(lines) if _REPORT_OF_TORCHRUN.match(line)]
        own = lines[: min(report, default=len(lines))]
        return "\n".join(line for line in own if not _WARNING_OF_TORCHRUN.match(line))

    def close(self) -> None:
        """End what still runs: torchrun ends its processes when it is asked to."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(DEADLINE_SECONDS)
        self._log.close()


@contextmanager
def torchrun(
    argv: Sequence[str], folder: Path, step_seconds: float = 0.0, nan: str = "", recipe: str = "train_sed"
) -> Iterator[Torchrun]:
    """A running training that is ended in any case when the block ends. recipe: a module of `recipes`."""
    running = Torchrun(argv, folder, step_seconds, nan, recipe)
    try:
        yield running
    finally:
        running.close()


def _train(folder: Path, step_seconds: float, nan: str, recipe: str) -> None:
    from desed_task.command_line import run_recipe
    from desed_task.training.module import TrainedModule

    rank = os.environ["RANK"]
    (folder / f"{rank}.pid").write_text(str(os.getpid()))
    steps = folder / f"{rank}.steps"
    steps.write_text("")
    original: Any = TrainedModule.training_step

    def slow(module: Any, batch: Any, batch_idx: int) -> Any:
        with steps.open("a") as told:
            told.write("step\n")
        time.sleep(step_seconds)
        if nan == f"{rank}:{len(steps.read_text().split())}":
            batch.waveform[0] = float("nan")
        return original(module, batch, batch_idx)

    replaced: Any = TrainedModule
    replaced.training_step = slow
    try:
        run_recipe(importlib.import_module(f"recipes.{recipe}").main)
    except SystemExit as end:
        (folder / f"{rank}.code").write_text(str(end.code))
        raise


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.argv = [f"{words[3]}.py", *words[4:]]
    _train(Path(words[0]), float(words[1]), words[2], words[3])
