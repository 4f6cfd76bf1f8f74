"""An upload of an hour beside short clips: do they wait for it?

hour upload   99th percentile of the latency of clips of 10 s (one window of a simulated device, 3 ms + 0.25 ms) that
              arrive by a Poisson process, while FLACs of an hour are uploaded at 100 Mbit/s, the next when one was
              answered, beside no upload; in turn. The server has one core and the generator the other.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

import numpy as np
import soundfile

from benchmarks.http_answers import AnswerReader, HttpAnswer
from benchmarks.load_answers import lag, latencies, percentile
from benchmarks.serving_batching import SIMULATED
from benchmarks.serving_bench import (
    PCM_TYPE,
    Bench,
    Row,
    compared_row,
    in_turn,
    pcm_body,
    pinned,
    require_all_heard,
)
from benchmarks.serving_bundles import RATE, write_loudness_bundle
from benchmarks.serving_load import Load, build_request, open_loop, poisson_schedule, run_load
from benchmarks.serving_process import HOST, Running, serving
from desed_task.errors import DesedTaskError

FACTOR, CLIPS_PER_SECOND, UPLOAD_BYTES_PER_SECOND = 1.5, 60.0, 12_500_000
_PIECE_BYTES = 1 << 18


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
        f"({hour.stat().st_size / 1e6:.0f} MB) at 100 Mbit/s, {len(uploads)} of them heard, each in "
        f"{median(uploads) if uploads else float('nan'):.1f} s"
    )
    row = compared_row(
        "hour upload", "p99 ms", values["with"], "without an upload", values["without"], False, note=note
    )
    return [row | {"met": row["ratio"] >= 1 / FACTOR, "lag_p99_ms": 1000 * max(lags)}]


@contextmanager
def _uploads(running: Running, recording: Path) -> Iterator[list[float]]:
    """Upload a recording again and again beside; gives the seconds that each took until it was answered.

    The last is answered before this ends, so that nothing of it is left for the next round.
    """
    seconds: list[float] = []
    faults: list[str] = []
    done, under_way = threading.Event(), threading.Event()
    body = recording.read_bytes()

    def upload() -> None:
        while not done.is_set() and not faults:
            start = time.monotonic()
            answer = _upload(running, body, under_way)
            seconds.append(time.monotonic() - start)
            if answer.status != 200:
                faults.append(answer.body.decode("utf-8", "replace"))

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


def _upload(running: Running, body: bytes, under_way: threading.Event) -> HttpAnswer:
    """By a plain socket, which leaves the interpreter to the generator while it writes."""
    head = f"POST /v1/events HTTP/1.1\r\nHost: server\r\nX-Deadline-Seconds: 600\r\nContent-Length: {len(body)}\r\n\r\n"
    view, reader = memoryview(body), AnswerReader()
    with socket.create_connection((HOST, running.port), timeout=600) as connection:
        connection.sendall(head.encode("ascii"))
        start = time.monotonic()
        for first in range(0, len(body), _PIECE_BYTES):
            time.sleep(max(0.0, start + first / UPLOAD_BYTES_PER_SECOND - time.monotonic()))
            connection.sendall(view[first : first + _PIECE_BYTES])
            under_way.set()
        while (piece := connection.recv(1 << 16)) != b"":
            answer = reader.feed(piece)
            if answer is not None:
                return answer
    raise DesedTaskError("hour upload: the connection was closed without an answer")


def _write_hour(path: Path, seconds: float) -> Path:
    """A FLAC of faint noise at the model's rate, some 10 kB a second."""
    minute = (np.random.default_rng(0).normal(size=60 * RATE) * 8).astype(np.int16)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16", format="FLAC") as recording:
        for _ in range(round(seconds / 60)):
            recording.write(minute)
    return path
