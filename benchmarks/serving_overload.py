"""More than can be heard: an open loop at five times the saturation, and an upload of an hour beside short clips.

The device is simulated (3 ms + 0.25 ms a window), the server has one core and the generator the other, whose own lag is
told. Recordings are 4 s of 16-bit samples (131 kB), heard in sixteen windows of a quarter of a second, so that the
device is what saturates, and not the bytes that one core can read: five times that is 90 MB a second as it is.

    overload 5x   the saturation is the goodput of a closed loop. Then, for a minute, five times as many requests arrive
                  by a Poisson process. Goodput as a share of the saturation; 99th percentile of the refusals' latency;
                  answers of 5xx and requests without an answer; growth of memory by a straight line. The first
                  ten seconds, in which the queue fills, count for refusals only
    hour upload   99th percentile of the latency of clips of 10 s (one window) that arrive by a Poisson process, while
                  recordings of an hour are uploaded one after another, beside none
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import soundfile

from benchmarks.process_tree import resident_bytes
from benchmarks.serving_batching import SIMULATED
from benchmarks.serving_bench import (
    PCM_TYPE,
    Bench,
    Row,
    compared_row,
    in_turn,
    limited_row,
    pcm_body,
    pinned,
    require_all_heard,
)
from benchmarks.serving_bundles import RATE, write_loudness_bundle
from benchmarks.serving_load import (
    Answer,
    Load,
    build_request,
    closed_loop,
    goodput,
    lag,
    latencies,
    open_loop,
    percentile,
    poisson_schedule,
    run_load,
    statuses,
)
from benchmarks.serving_process import HOST, Running, serving
from desed_task.errors import DesedTaskError

TIMES_SATURATION, SHARE_OF_PEAK, REFUSAL_MS, MB_PER_MINUTE = 5, 0.95, 10.0, 1.0
HOUR_FACTOR, CLIPS_PER_SECOND = 1.5, 60.0
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


def hour_rows(bench: Bench) -> list[Row]:
    """Latency of short clips with and without an hour beside them."""
    bundle = write_loudness_bundle(bench.folder / "hour", 10.0)
    settings = SIMULATED | {"max_body_bytes": 200_000_000, "max_audio_seconds": 7_200}
    hour = _write_hour(bench.folder / "hour.flac", bench.pick(3_600.0, 60.0))
    request = build_request("clip", "/v1/events", pcm_body(10.0), PCM_TYPE)
    seconds, per_second = bench.pick(15.0, 1.0), bench.pick(CLIPS_PER_SECOND, 20.0)
    lags: list[float] = []
    uploads: list[float] = []
    with serving(bundle, bench.folder, settings, bench.server_cores) as running, pinned(bench.our_cores):

        def measured(with_hour: bool) -> float:
            beside = _uploads(running, hour) if with_hour else nullcontext([0.0][:0])
            with beside as heard:
                schedule = poisson_schedule(request, per_second, seconds, seed=len(lags))
                answers = run_load(lambda: open_loop(Load(HOST, running.port), schedule))
            require_all_heard(answers)
            lags.append(lag(answers, 0.99))
            uploads.extend(heard)
            return 1000 * percentile(latencies(answers), 0.99)

        values = in_turn(bench.rounds, {"with": lambda: measured(True), "without": lambda: measured(False)})
    note = (
        f"{per_second:.0f} clips/s of 320 kB PCM16 for {seconds:.0f} s a round; beside them FLACs of an hour "
        f"({hour.stat().st_size / 1e6:.0f} MB), one after another, {len(uploads)} of them heard, each in "
        f"{median(uploads) if uploads else float('nan'):.1f} s"
    )
    row = compared_row(
        "hour upload", "p99 ms", values["with"], "without an upload", values["without"], False, note=note
    )
    return [row | {"met": row["ratio"] >= 1 / HOUR_FACTOR, "lag_p99_ms": 1000 * max(lags)}]


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


@contextmanager
def _uploads(running: Running, recording: Path) -> Iterator[list[float]]:
    """Upload a recording again and again beside; gives the seconds that each took until it was answered.

    The last is answered before this ends, so that nothing of it is left for the next round.
    """
    seconds: list[float] = []
    faults: list[str] = []
    done, under_way = threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        with recording.open("rb") as stream:
            while piece := stream.read(1 << 18):
                yield piece
                under_way.set()

    def upload() -> None:
        headers = {"X-Deadline-Seconds": "600"}
        with httpx.Client(timeout=600) as client:
            while not done.is_set():
                start = time.monotonic()
                answer = client.post(f"{running.url}/v1/events", content=pieces(), headers=headers)
                seconds.append(time.monotonic() - start)
                if answer.status_code != 200:
                    faults.append(answer.text)
                    under_way.set()
                    return

    uploader = threading.Thread(target=upload)
    uploader.start()
    under_way.wait(60)
    try:
        yield seconds
    finally:
        done.set()
        uploader.join()
    if faults:
        raise DesedTaskError(f"hour upload: {faults[0]}")


def _write_hour(path: Path, seconds: float) -> Path:
    """A FLAC of faint noise at the model's rate, some 10 kB a second."""
    minute = (np.random.default_rng(0).normal(size=60 * RATE) * 8).astype(np.int16)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16", format="FLAC") as recording:
        for _ in range(round(seconds / 60)):
            recording.write(minute)
    return path
