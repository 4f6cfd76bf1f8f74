"""CPU time of one request, beside bare FastAPI, LitServe and Ray Serve, with the same body and the same answer.

The model takes no time (simulated, 0 ms), the body is 320 kB of 16-bit samples, raw on all sides, and each peer gives
the answer that we gave to that body. CPU time is that of all processes of a side, over many requests of a closed loop
of 8 connections; what a side spends when nobody asks (Ray's 11 processes do) is measured before and taken off. No side
writes a log of its requests. Beside FastAPI it is told for one connection too: then each request wakes the device's
thread and the event loop by itself, which a bare route does not have to.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.process_tree import cpu_seconds
from benchmarks.serving_bench import (
    PCM_TYPE,
    Bench,
    Row,
    compared_row,
    in_turn,
    pcm_body,
    pinned,
    require_all_heard,
    unmeasured_row,
)
from benchmarks.serving_bundles import write_loudness_bundle
from benchmarks.serving_load import Load, build_request, closed_loop, run_load
from benchmarks.serving_process import HOST, Running, serving, started
from desed_task.errors import DesedTaskError

CONNECTIONS, SECONDS = 8, 10.0
NO_DEVICE_TIME = {"simulated.base_ms": 0, "simulated.row_ms": 0, "request_log": False}
# How many times cheaper than the peer we are to be, and requests of one round.
PEERS = {"fastapi": (1 / 1.3, 600), "litserve": (2.0, 300), "ray": (8.0, 150)}
NAMES = {"fastapi": "FastAPI", "litserve": "LitServe", "ray": "Ray Serve"}
_PACKAGES = {"fastapi": "fastapi", "litserve": "litserve", "ray": "ray"}
_PEERS_FOLDER = Path(__file__).resolve().parent / "serving_peers"


def fastapi_rows(bench: Bench) -> list[Row]:
    """The bare route, in this Python."""
    here = Path(sys.executable)
    alone = _row(bench, "fastapi", here, connections=1)
    del alone["met"]  # told beside the others, without an aim
    return [_row(bench, "fastapi", here), alone | {"name": "overhead fastapi, one connection"}]


def litserve_rows(bench: Bench) -> list[Row]:
    """LitServe, where --peers_python has it."""
    return [_row(bench, "litserve", bench.peers_python)]


def ray_rows(bench: Bench) -> list[Row]:
    """Ray Serve, where --peers_python has it."""
    return [_row(bench, "ray", bench.peers_python)]


def cpu_ms_per_request(
    running: Running, content: bytes, num_requests: int, idle_share: float, connections: int = CONNECTIONS
) -> float:
    """CPU milliseconds of the tree for each request; idle_share: seconds of CPU per second when nobody asks."""
    load = Load(HOST, running.port, spin=False)
    before, start = cpu_seconds(running.pid), time.monotonic()
    request = build_request("clip", "/v1/events", content, PCM_TYPE)
    answers = run_load(lambda: closed_loop(load, [request] * num_requests, connections))
    spent = cpu_seconds(running.pid) - before - idle_share * (time.monotonic() - start)
    require_all_heard(answers)
    return 1000 * spent / num_requests


def idle_share(running: Running, seconds: float) -> float:
    """Seconds of CPU per second of a server that nobody asks."""
    before = cpu_seconds(running.pid)
    time.sleep(seconds)
    return (cpu_seconds(running.pid) - before) / seconds


def first_answer(running: Running, content: bytes) -> bytes:
    """What is said to the body."""
    load = Load(HOST, running.port, keep_bodies=True, spin=False)
    request = build_request("clip", "/v1/events", content, PCM_TYPE)
    (answer,) = run_load(lambda: closed_loop(load, [request], 1))
    if answer.status != 200:
        raise DesedTaskError(f"overhead: the body was answered with {answer.status or answer.fault}, not 200")
    return answer.body


def _row(bench: Bench, peer: str, python: Path | None, connections: int = CONNECTIONS) -> Row:
    name, (target, num_requests) = f"overhead {peer}", PEERS[peer]
    version = None if python is None else _version(python, _PACKAGES[peer], bench.folder)
    if python is None or version is None:
        why = f"--peers_python names no Python with {NAMES[peer]}"
        return unmeasured_row(name, "CPU ms/request", why)
    content, count = pcm_body(SECONDS), int(bench.pick(num_requests, 20))
    with ExitStack() as opened:
        bundle = write_loudness_bundle(bench.folder / f"overhead_{peer}")
        ours = opened.enter_context(serving(bundle, bench.folder, NO_DEVICE_TIME, bench.server_cores))
        answer = bench.folder / f"{peer}.answer.json"
        answer.write_bytes(first_answer(ours, content))
        script = _PEERS_FOLDER / f"with_{peer}.py"
        command = [str(python), str(script), "--port_file", "{port_file}", "--answer", str(answer)]
        theirs = opened.enter_context(started(command, bench.folder, bench.server_cores, patience=300.0))
        opened.enter_context(pinned(bench.our_cores))
        same = first_answer(theirs, content)
        values = in_turn(bench.rounds, _sides({"ours": ours, "theirs": theirs}, content, count, connections, bench))
    note = (
        f"320 kB of raw PCM16, simulated model of 0 ms, {count} requests a round on {connections} connections; the "
        f"peer answers with the same JSON ({len(same)} bytes); at least {target:.2f} times cheaper is the aim"
    )
    label = f"{NAMES[peer]} {version}"
    row = compared_row(name, "CPU ms/request", values["ours"], label, values["theirs"], False, note=note)
    return row | {"met": row["ratio"] >= target}


def _sides(
    servers: Mapping[str, Running], content: bytes, count: int, connections: int, bench: Bench
) -> dict[str, Callable[[], float]]:
    def side(running: Running) -> Callable[[], float]:
        idle = idle_share(running, bench.pick(3.0, 0.3))
        return lambda: cpu_ms_per_request(running, content, count, idle, connections)

    return {name: side(running) for name, running in servers.items()}


def _version(python: Path, package: str, folder: Path) -> str | None:
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    command: Sequence[str] = [str(python), "-c", code]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    except OSError:
        return None
    return ran.stdout.strip() if ran.returncode == 0 else None
