"""What is lost when processes end: SIGTERM under load, and decoders that are killed.

sigterm        clips arrive by a Poisson process, and in the middle the server is told to end. Lost is a request that
               was sent and got no whole answer; refusals (503 while it drains) and connections that are not
               accepted any more are not, since who sends them knows.
kill decoder   decoding is isolated in processes; one of them is killed (SIGKILL) every half second. What may fail is
               the one recording that it was decoding: failed beyond that are those of others.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from benchmarks.load_answers import CLOSED, TOO_LATE, Answer, statuses
from benchmarks.process_tree import children_of, tree_of
from benchmarks.serving_batching import SECOND, SIMULATED
from benchmarks.serving_bench import PCM_TYPE, Bench, Row, limited_row, pcm_body, pinned
from benchmarks.serving_bundles import RATE, write_loudness_bundle
from benchmarks.serving_load import Load, Schedule, build_request, merged, open_loop, poisson_schedule, run_load
from benchmarks.serving_process import HOST, Running, serving
from desed_task.errors import DesedTaskError

CLIPS_PER_SECOND = 100.0
_EVERY_SECONDS = 0.5


def sigterm_rows(bench: Bench) -> list[Row]:
    """Requests that a server which is told to end loses, of all rounds together."""
    bundle = write_loudness_bundle(bench.folder / "sigterm", SECOND)
    seconds = bench.pick(4.0, 1.0)
    request = build_request("clip", "/v1/events", pcm_body(10 * SECOND), PCM_TYPE)
    found: list[Answer] = []
    codes: set[int] = set()
    for number in range(bench.rounds):
        schedule = poisson_schedule(request, CLIPS_PER_SECOND, seconds, seed=number)
        with serving(bundle, bench.folder, SIMULATED, bench.server_cores) as running, pinned(bench.our_cores):
            with _told_to_end(running, seconds / 2):
                found += _sent(running, schedule)
            codes.add(running.process.wait(60))
    if codes != {0}:
        raise DesedTaskError(f"sigterm: the server ended with exit codes {sorted(codes)}, not 0")
    lost = sum(answer.fault in (CLOSED, TOO_LATE) for answer in found)
    note = f"{CLIPS_PER_SECOND:.0f} clips/s of ten windows, SIGTERM after {seconds / 2:g} s, {bench.rounds} times"
    return [limited_row("sigterm", "requests lost", lost, 0, note=note, statuses=statuses(found))]


def kill_rows(bench: Bench) -> list[Row]:
    """Requests that failed beyond those whose decoder was killed."""
    from benchmarks.hostile.whole_files import encode, sweep

    bundle = write_loudness_bundle(bench.folder / "kill")
    seconds = bench.pick(15.0, 3.0)
    clip = build_request("clip", "/v1/events", encode(sweep(10 * RATE), "FLAC", "PCM_16"))
    # Decoders are busy with these half of the time, so that some are killed at work.
    long = build_request("long", "/v1/events", encode(sweep(300 * RATE), "FLAC", "PCM_16"))
    schedule = merged(
        poisson_schedule(clip, bench.pick(30.0, 10.0), seconds), poisson_schedule(long, 2.0, seconds, seed=1)
    )
    settings = SIMULATED | {"decode_isolation": "process"}
    with serving(bundle, bench.folder, settings) as running:
        with _killing(running) as killed:
            answers = _sent(running, schedule)
        if not running.alive:
            raise DesedTaskError("kill decoder: the server itself ended")
    failed = [answer for answer in answers if answer.status != 200]
    bugs = sum(answer.status in (0, 500) for answer in failed)
    note = (
        f"{len(killed)} decoders killed, {len(failed)} of {len(answers)} requests refused, each with a reason"
        if not bugs
        else f"{bugs} requests without an answer or with a 500"
    )
    beyond = max(0, len(failed) - len(killed)) + bugs
    row = limited_row("kill decoder", "others' requests failed", beyond, 0, note=note, statuses=statuses(answers))
    return [row | {"killed": len(killed)}]


def _sent(running: Running, schedule: Schedule) -> list[Answer]:
    return run_load(lambda: open_loop(Load(HOST, running.port, patience=30.0), schedule))


@contextmanager
def _told_to_end(running: Running, seconds: float) -> Iterator[None]:
    """Send SIGTERM after so many seconds."""
    timer = threading.Timer(seconds, running.process.send_signal, [signal.SIGTERM])
    timer.start()
    try:
        yield
    finally:
        timer.join()


@contextmanager
def _killing(running: Running) -> Iterator[list[int]]:
    """Kill one decoder every half second; they are the grandchildren of the server."""
    killed: list[int] = []
    done, rng = threading.Event(), random.Random(0)

    def kill() -> None:
        while not done.wait(_EVERY_SECONDS):
            near = {running.pid, *children_of(running.pid)}
            decoders = [process for process in tree_of(running.pid) if process not in near]
            if decoders:
                with suppress(ProcessLookupError):
                    killed.append(rng.choice(decoders))
                    os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield killed
    finally:
        done.set()
        killer.join()
    if not killed:
        raise DesedTaskError("kill decoder: the server has no processes that decode")
