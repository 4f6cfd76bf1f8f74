"""How fast is one training step? Beside the published one, or beside a plain one of our own.

    python -m benchmarks.training_step [--peer CHECKOUT] [--size small] [--repeats 5]

A step is mel, mixup, student, teacher, losses, backward, optimiser and average, of 12 strong, 12 weak and 24 unlabeled
clips of 10 s, the baseline network, dropout .5, 2 threads. Each side lives in a process of its own and all make their
steps in turn; the first are not counted; medians. Row `step` is ours beside the published step (--peer: a checkout of
the published code, whose SEDTask4.training_step is driven) or beside `plain_step`. With --peer there are two more: the
plain step beside the published one, and ours beside the published step in a process whose malloc keeps memory as ours
does, which tells what is allocator and what is step. bfloat16, torch.compile and the pieces of our step are there for
information.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks.step_sides import SIZES, THREADS
from desed_task.errors import DesedTaskError

Row = dict[str, Any]
ROOT = Path(__file__).resolve().parent.parent
PUBLISHED, PUBLISHED_KEEPING = "published", "published, keeping memory"
# Steps before the first that counts: a process that keeps memory has it after a few, others never.
WARM_UP, FEW = 4, 3


class Side:
    """A process that makes steps."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.name, self.process = name, process

    def step(self) -> dict[str, Any]:
        """One step; its seconds and those of its pieces. DesedTaskError when the process has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):  # no answer will come
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise DesedTaskError(f"the side {self.name} of the benchmark ended; its message stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def rows(arguments: Namespace) -> list[Row]:
    """arguments.peer: a checkout or None; arguments.size: full | small; arguments.repeats: steps that are timed."""
    size, repeats, peer = arguments.size, int(arguments.repeats), arguments.peer
    if peer is None:
        seconds = _in_turn(["ours", "plain"], size, repeats)
        found = [_row("step", seconds, "ours", "plain")]
    else:
        seconds = _in_turn(["ours", PUBLISHED, "plain"], size, repeats, peer)
        found = [_row("step", seconds, "ours", PUBLISHED), _row("step, plain", seconds, "plain", PUBLISHED)]
        keeping = _in_turn(["ours", PUBLISHED_KEEPING], size, min(repeats, FEW), peer)
        found.append(_row("step, both keep memory", keeping, "ours", PUBLISHED_KEEPING))
    variants = ["bf16", "compiled"] if size == "full" else ["bf16"]
    of_variants = _in_turn(["ours", *variants], size, repeats)
    found += [_row(f"step, {variant}", of_variants, variant, "ours") for variant in variants]
    return found + _pieces(size, repeats)


def _in_turn(names: Sequence[str], size: str, repeats: int, peer: Path | None = None) -> dict[str, list[float]]:
    """Seconds of each side's steps; all sides make their n-th before any makes its next."""
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with ExitStack() as stack:
        sides = [stack.enter_context(_open(name, size, peer)) for name in names]
        for side in sides:
            for _ in range(1 if side.name in (PUBLISHED, "plain") else WARM_UP):
                side.step()
        for _ in tqdm(range(repeats), desc=", ".join(names), unit="step", disable=None, leave=False):
            for side in sides:
                seconds[side.name].append(side.step()["seconds"])
    return seconds


def _pieces(size: str, repeats: int) -> list[Row]:
    with _open("pieces", size, None) as side:
        for _ in range(WARM_UP):
            side.step()
        answers = [side.step()["pieces"] for _ in range(repeats)]
    return [_alone(f"step: {name}", median(answer[name] for answer in answers)) for name in answers[0]]


@contextmanager
def _open(name: str, size: str, peer: Path | None) -> Iterator[Side]:
    command = [sys.executable, "-m", "benchmarks.step_sides", name, size, *([str(peer)] if peer is not None else [])]
    environment = os.environ | {"OMP_NUM_THREADS": str(THREADS), "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=ROOT) as process:
        try:
            yield Side(name, process)
        finally:
            process.terminate()
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # what a process that has ended did not read
                process.stdin.close()


def _row(name: str, seconds: dict[str, list[float]], ours: str, peer: str) -> Row:
    ratio = median(theirs / mine for mine, theirs in zip(seconds[ours], seconds[peer], strict=True))
    return _alone(name, median(seconds[ours])) | {"peer": peer, "peer_value": median(seconds[peer]), "ratio": ratio}


def _alone(name: str, value: float) -> Row:
    row = {"name": name, "value": value, "unit": "s", "peer": None, "peer_value": None, "ratio": None}
    return row | {"threads": THREADS}


def main() -> int:
    """Print the rows."""
    parser = ArgumentParser(description="Rows `step` of the training's benchmark.")
    parser.add_argument("--size", choices=tuple(SIZES), default="full")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer", type=Path, help="a checkout of the published code")
    for row in rows(parser.parse_args()):
        beside = f", {row['peer']} {row['peer_value']:.3g}, {row['ratio']:.2f} times" if row["peer"] else ""
        print(f"{row['name']}: {row['value']:.3g} {row['unit']}{beside}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
