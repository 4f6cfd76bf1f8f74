"""Both sides of a comparison in turn: ours, peer, ours, peer, ..., so that what else the machine does hits both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import evaluation_peers
from benchmarks.evaluation_peers import Values
from benchmarks.machine import probe_gflops
from desed_task.errors import DesedTaskError


@dataclass(frozen=True)
class Peer:
    """An outside scorer: its name with its version, and what runs it once -> (seconds, values)."""

    name: str
    run: Callable[[], tuple[float, Values]]


@dataclass(frozen=True)
class Timing:
    """Medians over the repeats; ratio: of peer's by our seconds; gflops: a matrix product beside each, one thread."""

    seconds: float
    peer_seconds: float
    ratio: float
    gflops: float
    ours: Values
    theirs: Values


@contextmanager
def open_peer(job: str, folder: Path, python: Path | None) -> Iterator[Peer]:
    """The peer of a job, in this process or by another Python; DesedTaskError when it is not there."""
    package = evaluation_peers.PACKAGE[job]
    if python is None or python == Path(sys.executable):
        if find_spec(package) is None:
            raise DesedTaskError(
                f"{package} is not installed; install it, or name a Python that has it (--peer_python)"
            )
        run = evaluation_peers.open_job(job, folder)
        yield Peer(evaluation_peers.name_and_version(job), lambda: evaluation_peers.timed(run))
        return
    command = [str(python), str(Path(evaluation_peers.__file__))]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    except OSError as error:
        raise DesedTaskError(f"--peer_python {python}: {error.strerror}") from None
    with process:
        try:

            def ask(request: dict[str, Any]) -> dict[str, Any]:
                assert process.stdin is not None
                assert process.stdout is not None
                with suppress(BrokenPipeError):
                    process.stdin.write(json.dumps(request) + "\n")
                    process.stdin.flush()
                line = process.stdout.readline()
                if not line:
                    raise DesedTaskError(f"--peer_python {python} failed with {package}; its message stands above")
                found: dict[str, Any] = json.loads(line)
                return found

            def run_there() -> tuple[float, Values]:
                answer = ask({})
                return answer["seconds"], answer["values"]

            yield Peer(ask({"job": job, "folder": str(folder)})["peer"], run_there)
        finally:
            process.terminate()
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # what a peer that has ended did not read
                process.stdin.close()


def alternate(ours: Callable[[], Values], peer: Peer, repeats: int) -> Timing:
    """Time both sides in turn; ours runs once before, to be compiled."""
    ours()
    own, other, probes = [], [], []
    values: Values = {}
    theirs: Values = {}
    for _ in range(repeats):
        seconds, values = evaluation_peers.timed(ours)
        own.append(seconds)
        seconds, theirs = peer.run()
        other.append(seconds)
        probes.append(probe_gflops())
    ratio = median(theirs / mine for mine, theirs in zip(own, other, strict=True))
    return Timing(median(own), median(other), ratio, median(probes), values, theirs)
