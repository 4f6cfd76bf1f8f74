"""The service among hostile bodies: nothing may break it, and others are answered meanwhile.

    python benchmarks/serving_hostile.py --json docs/results/serving_hostile.json [--isolation process]

    hostile requests    how many: the corpus on every route, what schemathesis makes of the description, mutations
    hostile decoders    the share of them that reached a decoder, by what was answered
    hostile faults      answers of 5xx, no answers, and refusals that are no valid problem document (RFC 9457)
    hostile deaths      processes of the server that ended
    hostile clips       of a sound clip sent every second meanwhile: those that were not answered correctly
    hostile memory      the most that one upload of up to 25 MB makes the server's memory grow; each alone
    hostile soundfile   the corpus once, beside a server that calls soundfile.read under a limit of 4 GB: bodies that it
                        answers with 5xx, or not within 30 s, or that end it (it is then started again)

A body that is at fault is called `mutation SEED.INDEX` (benchmarks.hostile.torment.mutation makes it again), or by its
name in the corpus.
"""

from __future__ import annotations

import itertools
import logging
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.hostile.corpus import HostileFile, decodable, hostile_files
from benchmarks.hostile.large_bodies import large_bodies
from benchmarks.hostile.schema_requests import Tally, send_schema_requests
from benchmarks.hostile.torment import (
    PATHS,
    Clips,
    clip_every_second,
    corpus_requests,
    faults_of,
    mutation,
    mutation_requests,
)
from benchmarks.hostile.verdicts import reached_decoder
from benchmarks.load_answers import Answer, percentile
from benchmarks.machine import describe_machine
from benchmarks.process_tree import forget_peaks, peak_resident_bytes, resident_bytes
from benchmarks.row_files import write_rows
from benchmarks.serving_bench import Row, limited_row
from benchmarks.serving_bundles import write_loudness_bundle
from benchmarks.serving_load import Load, closed_loop, run_load
from benchmarks.serving_process import HOST, Running, serving, started
from desed_task.command_line import RecipeParser, run_recipe, show

REQUESTS, BODY_BYTES, MB, SHARE = 20_000, 25_000_000, 64.0, 0.5
CONNECTIONS, SEED, NAIVE_PATIENCE = 4, 9, 30.0
_SIZES = {"full": (REQUESTS, 3_000, BODY_BYTES), "small": (700, 60, 300_000)}
_PEERS_FOLDER = Path(__file__).resolve().parent / "serving_peers"


def main(argv: Sequence[str]) -> int:
    """Run, print, write."""
    parser = RecipeParser(description="The service among hostile bodies.")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--isolation", choices=("thread", "process"), default="thread", help="where it decodes")
    parser.add_argument("--size", choices=tuple(_SIZES), default="full", help="small: a try, no result")
    parser.add_argument("--seed", type=int, default=SEED, help="of the mutations")
    arguments = parser.parse_args(argv)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    found = rows(arguments)
    for row in found:
        show(f"{row['name']}: {row['value']:.4g} {row['unit']}, {row['peer']} {row['peer_value']:.4g}; {row['note']}")
        for fault in row.get("faults", []):
            show(f"    {fault}")
    if arguments.json is not None:
        write_rows(found, arguments.json)
    return 0


def rows(arguments: Namespace) -> list[Row]:
    """All rows of one isolation."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = [*_tormented(folder, arguments), _beside_soundfile(folder, arguments)]
    common = {"machine": describe_machine(), "size": arguments.size, "isolation": arguments.isolation}
    return [row | common for row in found]


def _tormented(folder: Path, arguments: Namespace) -> list[Row]:
    number, of_schema, body_bytes = _SIZES[arguments.size]
    bundle = write_loudness_bundle(folder / "bundle")
    settings = {"num_threads": 1, "decode_isolation": arguments.isolation, "request_log": False}
    with serving(bundle, folder, settings) as running:
        with clip_every_second(running.url, 1.0 if arguments.size == "full" else 0.2) as clips:
            tally = send_schema_requests(running.url, of_schema, _bodies(arguments.seed))
            answers = _send(running, number - tally.num_requests, arguments.seed)
        growth, largest = _largest_growth(running, large_bodies(body_bytes)) if running.alive else (np.nan, "it ended")
        deaths = int(not running.alive)
        code = running.stop()
        log = running.log.read_text(encoding="utf-8", errors="replace")
    bugs = [line for line in log.splitlines() if "Traceback" in line]
    return [
        *_request_rows(tally, answers, bugs),
        limited_row("hostile deaths", "processes", deaths, 0, note=f"exit code {code} when it was told to end"),
        _clips_row(clips),
        limited_row("hostile memory", "MB", growth, MB, note=f"of one upload of up to 25 MB: {largest}"),
    ]


def _bodies(seed: int) -> list[bytes]:
    return [*decodable(hostile_files()), *(mutation(seed + 1, index) for index in range(300))]


def _send(running: Running, number: int, seed: int) -> list[Answer]:
    """The corpus on every route, then mutations until it is so many."""
    of_corpus = [request for path in PATHS for request in corpus_requests(hostile_files(), path)][: max(number, 0)]
    requests = itertools.chain(of_corpus, mutation_requests(max(0, number - len(of_corpus)), seed))
    load = Load(HOST, running.port, keep_bodies=True, spin=False, patience=90.0)
    return run_load(lambda: closed_loop(load, requests, CONNECTIONS))


def _request_rows(tally: Tally, answers: Sequence[Answer], bugs: Sequence[str]) -> list[Row]:
    number = tally.num_requests + len(answers)
    reached = tally.num_reached + sum(reached_decoder(answer.status, answer.body) for answer in answers)
    faults = [*tally.faults, *faults_of(answers), *bugs]
    sent = f"{tally.num_requests} of schemathesis, {len(answers)} of the corpus of {len(hostile_files())} and mutations"
    heard = sum(answer.status == 200 for answer in answers)
    return [
        limited_row("hostile requests", "requests", number, REQUESTS, at_most=False, note=sent),
        limited_row("hostile decoders", "share", reached / number, SHARE, at_most=False, note=f"{heard} were heard"),
        limited_row("hostile faults", "answers", len(faults), 0, note="5xx, none, or no problem", faults=faults[:50]),
    ]


def _clips_row(clips: Clips) -> Row:
    p50, p99 = (percentile(clips.seconds, share) for share in (0.5, 0.99))
    note = f"{len(clips.seconds)} clips, p50 {p50:.3f} s, p99 {p99:.3f} s"
    return limited_row("hostile clips", "clips", len(clips.faults), 0, note=note, faults=clips.faults[:10])


def _largest_growth(running: Running, files: Sequence[HostileFile]) -> tuple[float, str]:
    """MB by which the memory of the server grew at its peak from one body, and which it was."""
    load = Load(HOST, running.port, keep_bodies=True, spin=False, patience=90.0)
    largest, worst = 0.0, "none"
    for file in files:
        forget_peaks(running.pid)
        before = resident_bytes(running.pid)
        (answer,) = run_load(partial(closed_loop, load, corpus_requests([file]), 1))
        growth = (peak_resident_bytes(running.pid) - before) / 1e6
        if growth > largest:
            largest, worst = growth, f"{file.name}, answered with {answer.status or answer.fault}"
    return largest, worst


def _beside_soundfile(folder: Path, arguments: Namespace) -> Row:
    """Faults of a server that calls soundfile.read, and ours of the same files."""
    files = hostile_files() if arguments.size == "full" else hostile_files()[::8]
    command = [sys.executable, str(_PEERS_FOLDER / "with_soundfile.py"), "--port_file", "{port_file}"]
    naive, restarts = _survived(command, folder, files)
    bundle = folder / "bundle"
    with serving(bundle, folder, {"num_threads": 1, "decode_isolation": arguments.isolation}) as running:
        load = Load(HOST, running.port, keep_bodies=True, spin=False, patience=90.0)
        ours = run_load(lambda: closed_loop(load, corpus_requests(files), 1))
    faults = faults_of(ours)
    bad = [f"{file.name}: {word}" for file, word in zip(files, naive, strict=True) if word not in ("200", "422")]
    note = f"of {len(files)} bodies; soundfile.read's server was started {restarts} times again under 4 GB"
    row = {"name": "hostile soundfile", "value": len(faults), "unit": "faults", "peer": "soundfile.read in FastAPI"}
    ratio = len(bad) / len(faults) if faults else None
    return {**row, "peer_value": len(bad), "ratio": ratio, "note": note, "faults": faults, "peer_faults": bad}


def _survived(command: Sequence[str], folder: Path, files: Sequence[HostileFile]) -> tuple[list[str], int]:
    """What became of each file: a status, `no answer`, or `ended it`; and how often the server was started again."""
    outcomes: list[str] = []
    restarts = -1
    while len(outcomes) < len(files):
        restarts += 1
        with ExitStack() as opened:
            running = opened.enter_context(started(command, folder))
            load = Load(HOST, running.port, spin=False, patience=NAIVE_PATIENCE)
            for request in corpus_requests(files[len(outcomes) :]):
                (answer,) = run_load(partial(closed_loop, load, [request], 1))
                outcomes.append(str(answer.status) if answer.status else "no answer" if running.alive else "ended it")
                if not answer.status:
                    running.process.kill()
                    break
    return outcomes, restarts


if __name__ == "__main__":
    run_recipe(main)
