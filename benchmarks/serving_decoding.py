"""Compressed recordings: served clips a second beside decoding, resampling and inference alone, on the same core.

    decode mix   FLAC and MP3 of 44.1 kHz in turn, 10 s each, made of real recordings (--esc10) or of noise and tones.
                 The server has one core and the generator the other; alone, one thread of one process on that same
                 core decodes, resamples to 16 kHz and runs the model on the same bytes. The model takes next to no
                 time, which is the hardest case: whatever HTTP, threads and answers cost shows.

`python -m benchmarks.serving_decoding BUNDLE FOLDER` is the process alone: for each line of its standard input, a
number of seconds, it says how many clips it heard in one second.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.hostile.whole_files import encode
from benchmarks.load_answers import goodput
from benchmarks.process_tree import pin
from benchmarks.serving_bench import Bench, Row, compared_row, in_turn, pinned, require_all_heard
from benchmarks.serving_bundles import write_loudness_bundle
from benchmarks.serving_load import Load, Request, build_request, closed_loop, run_load
from benchmarks.serving_process import HOST, Running, serving
from desed_task.audio.reading import read_waveform
from desed_task.detector import Detector
from desed_task.errors import DesedTaskError

RATE, SECONDS, SHARE = 44_100, 10.0, 0.85
_CONNECTIONS = 8


def mix_rows(bench: Bench) -> list[Row]:
    """One row."""
    bundle = bench.bundle or write_loudness_bundle(bench.folder / "mix")
    folder = bench.folder / "mix_clips"
    _write_clips(folder, int(bench.pick(20, 3)), bench.esc10)
    requests = [build_request(path.suffix, "/v1/events", path.read_bytes()) for path in sorted(folder.iterdir())]
    warm_up, seconds = bench.pick(1.0, 0.2), bench.pick(6.0, 0.8)
    settings = {"num_threads": 1, "request_log": False}
    with (
        serving(bundle, bench.folder, settings, bench.server_cores) as running,
        alone(bundle, folder, bench.server_cores) as clips_alone,
        pinned(bench.our_cores),
    ):
        values = in_turn(
            bench.rounds,
            {"served": lambda: _served(running, requests, warm_up, seconds), "alone": lambda: clips_alone(seconds)},
        )
    source = "real recordings" if bench.esc10 is not None else "noise and tones"
    note = f"{len(requests)} clips of 10 s, FLAC and MP3 of 44.1 kHz, of {source}; both sides on one core"
    peer = "decode, resample, run in one thread"
    row = compared_row("decode mix", "clips/s", values["served"], peer, values["alone"], True, note=note)
    return [row | {"met": row["ratio"] >= SHARE}]


@contextmanager
def alone(bundle: Path, folder: Path, cores: Sequence[int]) -> Iterator[Callable[[float], float]]:
    """A process that hears the files of a folder whenever it is asked: seconds -> clips a second."""
    command = [sys.executable, "-m", "benchmarks.serving_decoding", str(bundle), str(folder)]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdin is not None and process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise DesedTaskError("decode mix: the process that decodes alone did not start")
        pin(process.pid, cores)
        questions, answers = process.stdin, process.stdout

        def clips_per_second(seconds: float) -> float:
            questions.write(f"{seconds}\n")
            questions.flush()
            return float(answers.readline())

        yield clips_per_second
        questions.close()


def main(argv: Sequence[str]) -> None:
    """The side alone."""
    bundle, folder = map(Path, argv)
    clips = [path.read_bytes() for path in sorted(folder.iterdir())]
    detector = Detector(bundle, "cpu", num_threads=1)
    detector.warm_up()
    print("ready", flush=True)
    for line in sys.stdin:
        start, heard = time.perf_counter(), 0
        for clip in itertools.cycle(clips):
            detector.scores(read_waveform(clip, detector.bundle.sample_rate))
            heard += 1
            if time.perf_counter() - start >= float(line):
                break
        print(heard / (time.perf_counter() - start), flush=True)


def _served(running: Running, requests: Sequence[Request], warm_up: float, seconds: float) -> float:
    load = Load(HOST, running.port, spin=False)
    answers = run_load(lambda: closed_loop(load, itertools.cycle(requests), _CONNECTIONS, warm_up + seconds))
    require_all_heard(answers)
    return goodput(answers, warm_up, warm_up + seconds)


def _write_clips(folder: Path, number: int, esc10: Path | None) -> None:
    """So many clips of each container."""
    folder.mkdir()
    for index, samples in enumerate(itertools.islice(_sounds(esc10), number)):
        (folder / f"{index:03d}.flac").write_bytes(encode(samples, "FLAC", "PCM_16", RATE))
        (folder / f"{index:03d}.mp3").write_bytes(encode(samples, "MP3", "MPEG_LAYER_III", RATE))


def _sounds(esc10: Path | None) -> Iterator[NDArray[np.float32]]:
    """Waveforms of 10 s at 44.1 kHz, without end."""
    num_samples = round(SECONDS * RATE)
    if esc10 is not None:
        recordings = sorted(esc10.rglob("*.ogg"))
        if not recordings:
            raise DesedTaskError(f"--esc10 {esc10}: holds no .ogg recordings")
        for path in itertools.cycle(recordings[:: max(1, len(recordings) // 20)]):
            yield np.resize(read_waveform(path, RATE), num_samples).astype(np.float32)
    rng, time_axis = np.random.default_rng(0), np.arange(num_samples) / RATE
    while True:
        tone = 0.2 * np.sin(2 * np.pi * rng.uniform(100, 4_000) * time_axis)
        noise = np.convolve(rng.normal(size=num_samples), 0.9 ** np.arange(40), mode="same")
        yield (tone + 0.02 * noise * np.sin(np.pi * time_axis) ** 2).astype(np.float32)


if __name__ == "__main__":
    main(sys.argv[1:])
