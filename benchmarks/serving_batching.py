"""Batching with a device whose time is known: it sleeps 3 ms a batch and 0.25 ms a window.

simulated throughput   windows a second of a closed loop, beside 1 / (b + a / B), the most that batches of B allow.
                       Each recording is heard in ten windows of 1.024 s, so that HTTP on one core (some 1 ms a
                       request) is not the limit; once more with recordings of one window, where it is.
batcher idle           how much later a window has its scores through the batcher than by a call of `run`, one at a
                       time, and how much a recording through the whole engine
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from statistics import median

import numpy as np

from benchmarks.load_answers import goodput
from benchmarks.serving_bench import (
    PCM_TYPE,
    Bench,
    Row,
    compared_row,
    limited_row,
    pcm_body,
    pinned,
    require_all_heard,
)
from benchmarks.serving_bundles import RATE, write_loudness_bundle
from benchmarks.serving_load import Load, build_request, closed_loop, run_load
from benchmarks.serving_process import HOST, Running, serving
from desed_task.audio.raw_pcm import RawPcm
from desed_task.audio.waveform import Waveform
from desed_task.detector import Detector
from serving.inference.batcher import Batch, Batcher
from serving.inference.engine import Engine
from serving.inference.recording import ListenRequest
from serving.settings import ServingOptions

BASE_MS, ROW_MS, MAX_BATCH = 3.0, 0.25, 16
SIMULATED = {
    "simulated.base_ms": BASE_MS,
    "simulated.row_ms": ROW_MS,
    "max_batch": MAX_BATCH,
    "request_log": False,
}
SHARE, ADDED_MS = 0.85, 0.5
# Sixteen frames; a window of 1 s would not be whole frames, and ten of them would not be 10 s.
SECOND = 1.024
_CONNECTIONS = 48


def throughput_rows(bench: Bench) -> list[Row]:
    """Recordings of ten windows, which count, and of one, which show what HTTP allows."""
    found = []
    for name, window_seconds, num_windows in (("", SECOND, 10), (", one window", 10 * SECOND, 1)):
        bundle = write_loudness_bundle(bench.folder / f"windows_{num_windows}", window_seconds)
        with serving(bundle, bench.folder, SIMULATED, bench.server_cores) as running, pinned(bench.our_cores):
            values = [_windows_per_second(running, num_windows, bench) for _ in range(bench.rounds)]
        ideal = 1000 * MAX_BATCH / (BASE_MS + ROW_MS * MAX_BATCH)
        note = (
            f"{num_windows} windows of {window_seconds:g} s a request of 330 kB PCM16, {_CONNECTIONS} connections, "
            f"server on one core; ideal 1 / (0.25 ms + 3 ms / {MAX_BATCH})"
        )
        peer = f"ideal for batches of {MAX_BATCH}"
        row = compared_row(
            f"simulated throughput{name}", "windows/s", values, peer, [ideal] * len(values), True, note=note
        )
        found.append(row | ({"met": row["ratio"] >= SHARE} if num_windows > 1 else {}))
    return found


def idle_rows(bench: Bench) -> list[Row]:
    """Added milliseconds of the batcher, and of the engine around it."""
    bundle = write_loudness_bundle(bench.folder / "idle")
    detector = Detector(bundle, "cpu", num_threads=1)
    detector.warm_up()
    count = int(bench.pick(500, 20))
    with pinned(bench.our_cores):
        batcher = _added_by_batcher(detector, count)
        engine = asyncio.run(_added_by_engine(bundle, detector, count))
    note = (
        f"median of {count} windows of 10 s, one at a time, in turn with calls of run; the whole engine (decoding raw "
        f"PCM16 in its lane, batcher, result) adds {engine:.3f} ms to the same done in one thread"
    )
    return [limited_row("batcher idle", "ms", batcher, ADDED_MS, note=note, engine_ms=engine)]


def _windows_per_second(running: Running, num_windows: int, bench: Bench) -> float:
    warm_up, seconds = bench.pick(2.0, 0.3), bench.pick(8.0, 0.7)
    request = build_request("clip", "/v1/events", pcm_body(10 * SECOND), PCM_TYPE)
    load = Load(HOST, running.port, spin=False)
    answers = run_load(lambda: closed_loop(load, itertools.repeat(request), _CONNECTIONS, warm_up + seconds))
    require_all_heard(answers)
    return num_windows * goodput(answers, warm_up, warm_up + seconds)


@dataclass
class _OneWindow:
    """The least that the batcher asks of a recording."""

    waiting: deque[Waveform] = field(default_factory=deque)
    in_turn: bool = False
    gone: str | None = None
    deadline: float = float("inf")
    is_long: bool = False


def _added_by_batcher(detector: Detector, count: int) -> float:
    done: SimpleQueue[float] = SimpleQueue()

    def ran(_: Batch[_OneWindow]) -> None:
        done.put(time.perf_counter())

    window = np.zeros(detector.bundle.windowing.window_samples, dtype=np.float32)
    batcher: Batcher[_OneWindow] = Batcher(detector, ran, lambda _: None, lambda _: None)

    def batched() -> float:
        start = time.perf_counter()
        batcher.put(_OneWindow(), [window])
        return done.get(timeout=10.0) - start

    added = _added_ms(batched, lambda: _seconds_of(lambda: detector.run(window[None])), count)
    batcher.close()
    batcher.join()
    return added


async def _added_by_engine(bundle: Path, detector: Detector, count: int) -> float:
    engine = Engine(ServingOptions(bundle=bundle, device="cpu", num_threads=1))
    engine.start()
    await asyncio.wrap_future(engine.loaded)
    raw, body = RawPcm(RATE), pcm_body(10.0)
    request = ListenRequest(raw=raw)
    added = []
    for number in range(count + 10):
        start = time.perf_counter()
        await engine.listen(body, request)
        through = time.perf_counter() - start
        alone = _seconds_of(lambda: _hear(detector, body, raw))
        if number >= 10:
            added.append(through - alone)
    await engine.drain()
    engine.close()
    return 1000 * median(added)


def _hear(detector: Detector, body: bytes, raw: RawPcm) -> None:
    from desed_task.audio.stream import open_stream

    with open_stream(body, RATE, raw=raw) as stream:
        detector.hear(stream)


def _added_ms(ours: Callable[[], float], alone: Callable[[], float], count: int) -> float:
    pairs = [(ours(), alone()) for _ in range(count + 10)][10:]
    return 1000 * (median(first for first, _ in pairs) - median(second for _, second in pairs))


def _seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
