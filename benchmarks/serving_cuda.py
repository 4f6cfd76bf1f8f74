"""A CUDA device under the service: how much of a bare loop's windows does it serve, how many times real time, and what
each bucket of batches takes. Rows are "not measured" where there is no such device. Name a real --bundle: the default,
a small random network, is heard faster than HTTP brings recordings.

    cuda served windows    windows a second over HTTP, raw 16-bit bodies of many windows, beside a loop that calls the
                           detector on full batches that are already there
    cuda real time         seconds of recordings that are heard in one second
    cuda bucket N          milliseconds of one batch of N windows
"""

from __future__ import annotations

import ctypes.util
import itertools
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.load_answers import goodput
from benchmarks.serving_bench import (
    PCM_TYPE,
    Bench,
    Row,
    compared_row,
    in_turn,
    pcm_body,
    require_all_heard,
    unmeasured_row,
)
from benchmarks.serving_bundles import RATE, write_network_bundle
from benchmarks.serving_load import Load, build_request, closed_loop, run_load
from benchmarks.serving_process import HOST, Running, serving
from desed_task.detector import Detector
from desed_task.errors import DesedTaskError

SHARE, MAX_BATCH = 0.9, 64
_CONNECTIONS, _WINDOWS_PER_REQUEST = 48, 8


def cuda_rows(bench: Bench) -> list[Row]:
    """All rows of the device that the run names."""
    if bench.cuda_device != "cpu" and ctypes.util.find_library("cuda") is None:
        names = (("cuda served windows", "windows/s"), ("cuda real time", "times"), ("cuda buckets", "ms"))
        return [unmeasured_row(name, unit, "this machine has no CUDA driver") for name, unit in names]
    detector = Detector(_bundle(bench), bench.cuda_device, max_batch=MAX_BATCH)
    detector.warm_up()
    return [*_served_rows(bench, detector), *_bucket_rows(bench, detector)]


def _bundle(bench: Bench) -> Path:
    folder = bench.folder / "cuda"
    return bench.bundle or (folder if folder.exists() else write_network_bundle(folder))


def _served_rows(bench: Bench, detector: Detector) -> list[Row]:
    view = detector.bundle.windowing
    if detector.bundle.sample_rate != RATE:
        raise DesedTaskError(f"cuda: the bundle hears {detector.bundle.sample_rate} Hz, the bodies are of {RATE} Hz")
    # So long that it is cut into so many windows, whatever they share.
    seconds = _seconds_of_windows(detector, _WINDOWS_PER_REQUEST)
    body = pcm_body(seconds)
    num_windows = len(view.cut(np.zeros(round(seconds * RATE), dtype=np.float32)))
    settings = {"device": bench.cuda_device, "max_batch": MAX_BATCH, "request_log": False, "decode_threads": 4}
    with serving(_bundle(bench), bench.folder, settings) as running:
        sides = {
            "served": lambda: num_windows * _requests_per_second(running, body, bench),
            "alone": lambda: _bare_loop(detector, bench.pick(5.0, 0.3)),
        }
        values = in_turn(bench.rounds, sides)
    per_window = seconds / num_windows
    note = f"{num_windows} windows a request, batches of {MAX_BATCH}, {detector.provider}"
    row = compared_row(
        "cuda served windows", "windows/s", values["served"], "bare loop of run", values["alone"], True, note=note
    )
    real_time, alone = ([per_window * value for value in values[side]] for side in ("served", "alone"))
    return [
        row | {"met": row["ratio"] >= SHARE},
        compared_row("cuda real time", "times", real_time, "bare loop of run", alone, True, note=note),
    ]


def _bucket_rows(bench: Bench, detector: Detector) -> list[Row]:
    """The time of a batch grows less than its windows: what a bucket gains over as many single windows."""
    repeats = int(bench.pick(50, 3))
    samples = detector.bundle.windowing.window_samples
    rng, found, single = np.random.default_rng(0), [], 0.0
    for size in (1, 2, 4, 8, 16, 32, 64):
        windows = (0.1 * rng.normal(size=(size, samples))).astype(np.float32)
        milliseconds = 1000 * median(_seconds_of(partial(detector.run, windows), repeats))
        single = single or milliseconds
        row = {"name": f"cuda bucket {size}", "value": milliseconds, "unit": "ms", "peer": f"{size} windows singly"}
        found.append({**row, "peer_value": size * single, "ratio": size * single / milliseconds})
    return found


def _seconds_of_windows(detector: Detector, number: int) -> float:
    view, seconds = detector.bundle.windowing, detector.bundle.windowing.window_seconds
    while len(view.cut(np.zeros(round(seconds * RATE), dtype=np.float32))) < number:
        seconds += view.window_seconds / 4
    return seconds


def _requests_per_second(running: Running, body: bytes, bench: Bench) -> float:
    warm_up, seconds = bench.pick(2.0, 0.2), bench.pick(8.0, 0.8)
    request = build_request("clip", "/v1/events", body, PCM_TYPE)
    load = Load(HOST, running.port, spin=False)
    answers = run_load(lambda: closed_loop(load, itertools.repeat(request), _CONNECTIONS, warm_up + seconds))
    require_all_heard(answers)
    return goodput(answers, warm_up, warm_up + seconds)


def _bare_loop(detector: Detector, seconds: float) -> float:
    windows = np.zeros((MAX_BATCH, detector.bundle.windowing.window_samples), dtype=np.float32)
    start, heard = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        detector.run(windows)
        heard += len(windows)
    return heard / (time.perf_counter() - start)


def _seconds_of(work: Callable[[], object], repeats: int) -> list[float]:
    found = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found[3:]
