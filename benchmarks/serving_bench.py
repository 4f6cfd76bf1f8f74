"""What the parts of serving.py share: what was asked for, the cores, rows of one shape, bodies."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.load_answers import Answer, statuses
from benchmarks.process_tree import two_cores
from benchmarks.serving_bundles import RATE
from desed_task.errors import DesedTaskError

Row = dict[str, Any]
PCM_TYPE = f"audio/pcm;rate={RATE};channels=1"
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Bench:
    """One run. folder: for whatever is written; small: a try, no result; rounds: how often both sides take turns."""

    folder: Path
    small: bool = False
    rounds: int = 5
    peers_python: Path | None = None
    esc10: Path | None = None
    bundle: Path | None = None
    cuda_device: str = "cuda:0"

    @property
    def server_cores(self) -> Sequence[int]:
        """Where the server runs."""
        return two_cores()[0]

    @property
    def our_cores(self) -> Sequence[int]:
        """Where this process runs meanwhile."""
        return two_cores()[1]

    def pick(self, full: float, small: float) -> float:
        """A size or a time, by `small`."""
        return small if self.small else full


def compared_row(
    name: str,
    unit: str,
    values: Sequence[float],
    peer: str,
    peer_values: Sequence[float],
    more_is_better: bool,
    **members: Any,
) -> Row:
    """Medians of both sides over their rounds; ratio: the median of the rounds', above 1 where we are better."""
    pairs = list(zip(values, peer_values, strict=True))
    ratios = [ours / theirs if more_is_better else theirs / ours for ours, theirs in pairs]
    row = {"name": name, "value": median(values), "unit": unit, "peer": peer, "peer_value": median(peer_values)}
    return {**row, "ratio": median(ratios), **members}


def limited_row(name: str, unit: str, value: float, limit: float, at_most: bool = True, **members: Any) -> Row:
    """A value beside its limit; ratio: how many times within it, None where that is infinitely often."""
    ratio = (limit / value if value > 0 else math.inf) if at_most else value / limit
    peer = "at most" if at_most else "at least"
    finite = ratio if math.isfinite(ratio) else None
    row = {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": limit, "ratio": finite}
    return {**row, "met": bool(value <= limit if at_most else value >= limit), **members}


def unmeasured_row(name: str, unit: str, why: str) -> Row:
    """A row that this machine cannot fill."""
    empty = {"value": None, "unit": unit, "peer": None, "peer_value": None, "ratio": None}
    return {"name": name, **empty, "note": f"{NOT_MEASURED}: {why}"}


def pcm_body(seconds: float, seed: int = 0) -> bytes:
    """16-bit mono at 16 kHz, little-endian: quiet noise with a tone that comes and goes."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    tone = 0.5 * np.sin(2 * np.pi * 440 * time) * (np.sin(2 * np.pi * time / 3.7) > 0)
    samples = (tone + 0.01 * rng.normal(size=len(time))).clip(-1, 1)
    return bytes(np.rint(32_000 * samples).astype("<i2").tobytes())


def require_all_heard(answers: Sequence[Answer]) -> None:
    """DesedTaskError when one of the answers is no 200: what is measured beside failures is worth nothing."""
    others = {word: number for word, number in statuses(answers).items() if word != "200"}
    if others or not answers:
        raise DesedTaskError(f"of {len(answers)} requests some were not heard: {others}")


@contextmanager
def pinned(cores: Sequence[int]) -> Iterator[None]:
    """This process, and what it starts, on these cores only, meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def in_turn(rounds: int, sides: Mapping[str, Callable[[], float]], warm_up: bool = True) -> dict[str, list[float]]:
    """Each side's values, one round after another, each round beginning with another side; the first is not counted."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(-1 if warm_up else 0, rounds):
        turn = names if number % 2 == 0 else names[::-1]
        for name in turn:
            value = sides[name]()
            if number >= 0:
                found[name].append(value)
    return found
