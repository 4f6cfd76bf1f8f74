"""More than can be heard: an open loop at five times the saturation.

The device is simulated (3 ms + 0.25 ms a window), the server has one core and the generator the other, whose own lag is
told. Recordings are 4 s of 16-bit samples (131 kB), heard in sixteen windows of a quarter of a second, so that the
device is what saturates, and not the bytes that one core can read: five times that is 90 MB a second as it is.

    overload 5x   the saturation is the goodput of a closed loop. Then, for a minute, five times as many requests arrive
                  by a Poisson process. Goodput as a share of the saturation; 99th percentile of the refusals' latency;
                  answers of 5xx and requests without an answer; growth of memory by a straight line. The first
                  ten seconds, in which the queue fills, count for refusals only
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.load_answers import Answer, goodput, lag, latencies, percentile, statuses
from benchmarks.process_tree import resident_bytes
from benchmarks.serving_batching import SIMULATED
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
from benchmarks.serving_bundles import write_loudness_bundle
from benchmarks.serving_load import Load, build_request, closed_loop, open_loop, poisson_schedule, run_load
from benchmarks.serving_process import HOST, Running, serving
from desed_task.errors import DesedTaskError

TIMES_SATURATION, SHARE_OF_PEAK, REFUSAL_MS, MB_PER_MINUTE = 5, 0.95, 10.0, 1.0
_CONNECTIONS = 48
WINDOW_SECONDS, WINDOWS = 0.256, 16
# The queue fills in the first seconds, and memory with it.
_SETTLING_SECONDS = 10.0


def overload_rows(bench: Bench) -> list[Row]:
    """Goodput, refusals, faults and memory of one minute."""
    bundle = write_loudness_bundle(bench.folder / "overload", WINDOW_SECONDS)
    seconds = bench.pick(60.0, 2.0)
    settling = bench.pick(_SETTLING_SECONDS, 0.5)
    # A try is too short to fill a queue of five seconds.
    settings = SIMULATED | ({"max_queue_delay": 1.0} if bench.small else {})
    with serving(bundle, bench.folder, settings, bench.server_cores) as running, pinned(bench.our_cores):
        peak = _saturation(running, bench)
        with _memory_of(running) as memory:
            answers = _overload(running, TIMES_SATURATION * peak, seconds)
        after = _saturation(running, bench)
    kept = goodput(answers, settling, seconds)
    refused = latencies(answers, statuses=(429,))
    waits = [answer.retry_after for answer in answers if answer.retry_after is not None]
    if not refused or len(waits) < len(refused):
        raise DesedTaskError(f"overload: {statuses(answers)}; no refusals, or one without Retry-After")
    faults = sum(answer.status >= 500 or bool(answer.fault) for answer in answers)
    growth = slope_per_minute([(at, size / 1e6) for at, size in memory if settling <= at <= seconds])
    settled = latencies([answer for answer in answers if answer.scheduled >= settling], statuses=(429,))
    common: dict[str, Any] = {
        "lag_p99_ms": 1000 * lag(answers, 0.99),
        "statuses": statuses(answers),
        "note": (
            f"{TIMES_SATURATION} x {peak:.0f} requests/s of 131 kB and sixteen windows for {seconds:.0f} s; heard p99 "
            f"{percentile(latencies(answers), 0.99):.2f} s; Retry-After {min(waits):.0f} to {max(waits):.0f} s; "
            f"saturation afterwards {after:.0f}/s"
        ),
    }
    refusals = {**common, "settled_p99_ms": 1000 * percentile(settled, 0.99)}
    megabytes = {f"{at:.0f}s": round(size / 1e6) for at, size in memory[:: max(1, len(memory) // 8)]}
    goodput_row = compared_row("overload 5x, goodput", "requests/s", [kept], "saturation", [peak], True, **common)
    return [
        goodput_row | {"met": goodput_row["ratio"] >= SHARE_OF_PEAK},
        limited_row("overload 5x, refusals p99", "ms", 1000 * percentile(refused, 0.99), REFUSAL_MS, **refusals),
        limited_row("overload 5x, 5xx or no answer", "requests", faults, 0, **common),
        limited_row("overload 5x, memory", "MB/minute", growth, MB_PER_MINUTE, **common, resident_mb=megabytes),
    ]


def slope_per_minute(points: Sequence[tuple[float, float]]) -> float:
    """Of a straight line through (seconds, value), by least squares; 0 of fewer than two."""
    if len(points) < 2:
        return 0.0
    times, values = np.array(points).T
    return float(60 * np.polyfit(times, values, 1)[0])


def _saturation(running: Running, bench: Bench) -> float:
    """Requests that a closed loop has heard in a second."""
    warm_up, seconds = bench.pick(2.0, 0.3), bench.pick(8.0, 0.7)
    request = build_request("clip", "/v1/events", pcm_body(WINDOWS * WINDOW_SECONDS), PCM_TYPE)
    load = Load(HOST, running.port, spin=False)
    answers = run_load(lambda: closed_loop(load, itertools.repeat(request), _CONNECTIONS, warm_up + seconds))
    require_all_heard(answers)
    return goodput(answers, warm_up, warm_up + seconds)


def _overload(running: Running, per_second: float, seconds: float) -> list[Answer]:
    request = build_request("clip", "/v1/events", pcm_body(WINDOWS * WINDOW_SECONDS), PCM_TYPE)
    schedule = poisson_schedule(request, per_second, seconds)
    # Those that are admitted wait for up to five seconds, each on a connection.
    return run_load(lambda: open_loop(Load(HOST, running.port, max_connections=4_096), schedule))


@contextmanager
def _memory_of(running: Running) -> Iterator[list[tuple[float, int]]]:
    """(seconds since the beginning, resident bytes), twice a second."""
    found: list[tuple[float, int]] = []
    done, start = threading.Event(), time.monotonic()

    def look() -> None:
        while not done.wait(0.5):
            found.append((time.monotonic() - start, resident_bytes(running.pid)))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
