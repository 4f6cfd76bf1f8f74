"""The rows of evaluation.py: each takes the flags and yields `name value unit peer peer_value ratio machine`.

A ratio says how many times better ours is than the peer, which is another scorer or a limit that is kept. Compiling the
kernels is not timed. Values are compared, and rows whose values differ by more than 1e-9 are refused.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.evaluation_peers import NUM_SAMPLES, Values
from benchmarks.evaluation_scores import DEV_TEST, Corpus, draw_events, draw_scores, small
from benchmarks.evaluation_timing import alternate, open_peer
from benchmarks.machine import probe_gflops
from desed_task.errors import DesedTaskError
from desed_task.events import EventTable
from desed_task.formats.dcase import read_durations, read_strong
from desed_task.labels import LabelSet
from desed_task.metrics.bootstrap import draw_samples, sample_figures
from desed_task.metrics.collar import Collar
from desed_task.metrics.deltas import Criterion, Deltas, point_deltas, score_deltas
from desed_task.metrics.f1 import best_f1
from desed_task.metrics.psds import criterion_of, psds, psds_of_scores
from desed_task.metrics.resampled import Figure, SampledF1, SampledPsds, Weights
from desed_task.metrics.rules import Rules
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2
from desed_task.metrics.segment import Segments
from desed_task.metrics.truth import Truth, build_truth
from desed_task.scores import ScoreTable

Row = dict[str, Any]
SCENARIOS = {"psds1": PSDS_SCENARIO_1, "psds2": PSDS_SCENARIO_2}
PSDS_CRITERIA = [criterion_of(scenario) for scenario in SCENARIOS.values()]
SEED = 4
TOLERANCE = 1e-9
# What is asked of the engine, in seconds and bytes.
BOOTSTRAP_SECONDS, NUM_BOOTSTRAPS = 60.0, 1000
AUDIOSET_SECONDS, AUDIOSET_BYTES = 300.0, 8e9
ONE_HOUR_BYTES = 500e6
LARGE_THREADS = 2


class Case:
    """A corpus, and the scores of two systems, in memory."""

    def __init__(self, size: str) -> None:
        self.corpus: Corpus = DEV_TEST if size == "full" else small(DEV_TEST)
        self.events = draw_events(self.corpus, SEED)
        self.systems = [dict(draw_scores(self.corpus, self.events, SEED, system)) for system in (0, 1)]

    def truth(self) -> Truth:
        """The ground truth, made anew each time: it belongs to what is timed."""
        return build_truth(self._table, self.corpus.durations, self.corpus.labels)

    @cached_property
    def _table(self) -> EventTable:
        return EventTable(self.events)

    @contextmanager
    def on_disk(self) -> Iterator[Path]:
        """The folder that the peers read."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for number, scores in enumerate(self.systems):
                np.save(folder / f"scores_{number}.npy", np.stack([table.values for table in scores.values()]))
            corpus = self.corpus
            truth = {"labels": list(corpus.labels), "edges": corpus.edges.tolist(), "durations": corpus.durations}
            events = {name: [(e.onset, e.offset, e.event_label) for e in of_clip] for name, of_clip in self._items()}
            (folder / "truth.json").write_text(json.dumps({**truth, "events": events}), encoding="utf-8")
            yield folder

    def _items(self) -> Any:
        return self.events.items()


def psds_rows(arguments: Namespace) -> Iterator[Row]:
    """Four figures of the scores of one system, from tables in memory on either side."""
    case = Case(arguments.size)

    def ours() -> Values:
        truth = case.truth()
        scores = psds_of_scores(case.systems[0], truth, list(SCENARIOS.values()))
        values: Values = dict(zip(SCENARIOS, (score.value for score in scores), strict=True))
        collar, segments = score_deltas(case.systems[0], truth, [Collar(), Segments()])
        return {**values, "collar_f1_best": best_f1(collar).macro, "segment_f1_best": best_f1(segments).macro}

    with case.on_disk() as folder, open_peer("psds", folder, arguments.peer_python) as peer:
        timing = alternate(ours, peer, arguments.repeats)
    _require_equal("psds", timing.ours, timing.theirs)
    note = "PSDS1 + PSDS2 + best collar F1 + best segment F1 of scores in memory"
    rates = {"gflops": timing.gflops, "repeats": arguments.repeats, "note": f"{note}, {_size(case.corpus)}"}
    yield _row("psds", timing.seconds, "s", peer.name, timing.peer_seconds, timing.ratio, 1, **rates)


def operating_point_rows(arguments: Namespace) -> Iterator[Row]:
    """Both PSDS of a published system's operating points, from tables of events in memory on either side."""
    folder = arguments.data
    if folder is None:
        raise DesedTaskError("operating points: name the folder of a published system's tables (--data)")
    tables = sorted((folder / "predictions_operating_points").glob("*.tsv"))
    if not tables:
        raise DesedTaskError(f"{folder}: there is no predictions_operating_points/*.tsv in this folder")
    points = {float(path.stem.rsplit("_", 1)[1]): read_strong(path) for path in tables}
    events, durations = read_strong(folder / "validation.tsv"), read_durations(folder / "validation_durations.tsv")

    def ours() -> Values:
        truth = build_truth(
            events, durations, LabelSet(events.labels()), Rules(time_decimals=None)
        )  # floats, as psds_eval
        return _both_psds(point_deltas(points, truth, PSDS_CRITERIA))

    with open_peer("operating points", folder, arguments.peer_python) as peer:
        timing = alternate(ours, peer, arguments.repeats)
    _require_equal("operating points", timing.ours, timing.theirs)
    note = f"PSDS1 + PSDS2 of {len(points)} operating points in memory, {len(durations)} clips"
    rates = {"gflops": timing.gflops, "repeats": arguments.repeats, "note": note}
    yield _row("operating points", timing.seconds, "s", peer.name, timing.peer_seconds, timing.ratio, 1, **rates)


def bootstrap_rows(arguments: Namespace) -> Iterator[Row]:
    """Paired samples of three figures of two systems, matching included."""
    case = Case(arguments.size)
    num_clips = case.corpus.num_clips

    def figures(scores: Mapping[str, ScoreTable], num_threads: int) -> dict[str, Figure]:
        criteria: list[Criterion] = [*PSDS_CRITERIA, Collar()]
        *of_psds, collar = score_deltas(scores, case.truth(), criteria, num_threads)
        at_half = SampledF1(collar, dict.fromkeys(case.corpus.labels, 0.5))
        pairs = zip(SCENARIOS.items(), of_psds, strict=True)
        return {**{name: SampledPsds(deltas, scenario) for (name, scenario), deltas in pairs}, "collar_f1": at_half}

    def ours(num_threads: int, weights: Weights, progress: Callable[[int], object] | None = None) -> Values:
        every = [figures(scores, num_threads) for scores in case.systems]
        drawn = [sample_figures([of_one], weights, num_threads=num_threads, progress=progress) for of_one in every]
        return {name: [of_one[name].sampled.tolist() for of_one in drawn] for name in drawn[0]}

    of_peer = _drawn_by_sed_scores_eval(list(case.events))
    with case.on_disk() as folder, open_peer("bootstrap", folder, arguments.peer_python) as peer:
        timing = alternate(lambda: ours(1, of_peer), peer, 1)
    sampled = timing.theirs["sampled"]
    for name, values in timing.ours.items():
        _require_equal(
            f"bootstrap {name}",
            {str(place): value for place, value in enumerate(chain(*values))},
            {str(place): value for place, value in enumerate(chain(*sampled[name]))},
        )
    theirs = timing.theirs["deltas_seconds"] + timing.theirs["samples_seconds"] * NUM_BOOTSTRAPS / NUM_SAMPLES
    weights = draw_samples(num_clips, NUM_BOOTSTRAPS, SEED)
    note = f"{NUM_BOOTSTRAPS} paired samples of PSDS1 + PSDS2 + collar F1 of two systems, {_size(case.corpus)}"
    for num_threads, name in ((1, "bootstrap, one thread"), (LARGE_THREADS, "bootstrap")):
        with tqdm(total=2 * NUM_BOOTSTRAPS, unit="sample", disable=None) as bar:
            start = time.perf_counter()
            ours(num_threads, weights, bar.update)
            seconds = time.perf_counter() - start
        rates = {"gflops": probe_gflops(), "repeats": 1, "note": note}
        if num_threads == 1:
            rates["note"] = f"{note}; the peer's {NUM_SAMPLES} samples times {NUM_BOOTSTRAPS / NUM_SAMPLES:.0f}"
            yield _row(name, seconds, "s", peer.name, theirs, theirs / seconds, 1, **rates)
        else:
            yield _limit_row(name, seconds, "s", BOOTSTRAP_SECONDS, num_threads, **rates)


def audioset_rows(arguments: Namespace) -> Iterator[Row]:
    """17,000 clips of 447 classes, whose scores are made clip by clip."""
    found = _large("audioset strong", arguments.size, LARGE_THREADS)
    rates = {"gflops": probe_gflops(), "repeats": 1, "note": "PSDS1 + PSDS2, without the time of the generator"}
    yield _limit_row("audioset strong", found["seconds"], "s", AUDIOSET_SECONDS, LARGE_THREADS, **rates)
    rates["note"] = "making the scores, not part of the scoring"
    yield _row("audioset strong generator", found["generator_seconds"], "s", None, None, None, 1, **rates)
    rates["note"] = "peak resident size of the process"
    yield _limit_row("audioset strong memory", found["peak_bytes"], "bytes", AUDIOSET_BYTES, LARGE_THREADS, **rates)


def one_hour_rows(arguments: Namespace) -> Iterator[Row]:
    """One recording of 90,000 frames."""
    found = _large("one hour", arguments.size, 1)
    rates = {"gflops": probe_gflops(), "repeats": 1, "note": "PSDS1 + PSDS2 of 90,000 frames, without the generator"}
    yield _row("one hour", found["seconds"], "s", None, None, None, 1, **rates)
    rates["note"] = "peak resident size less that after a small corpus; the making of the scores is within"
    above = found["peak_bytes"] - found["baseline_bytes"]
    yield _limit_row("one hour memory", above, "bytes", ONE_HOUR_BYTES, 1, **rates)


ROWS: Mapping[str, Callable[[Namespace], Iterator[Row]]] = {
    "psds": psds_rows,
    "operating points": operating_point_rows,
    "bootstrap": bootstrap_rows,
    "audioset strong": audioset_rows,
    "one hour": one_hour_rows,
}


def _both_psds(deltas: list[Deltas]) -> Values:
    return {
        name: psds(of_one, scenario).value for (name, scenario), of_one in zip(SCENARIOS.items(), deltas, strict=True)
    }


def _drawn_by_sed_scores_eval(audio_ids: Sequence[str]) -> NDArray[np.int32]:
    """Its samples: the sorted clips, shuffled with seed 0, each time less one of NUM_SAMPLES like parts of them."""
    shuffled = sorted(audio_ids)
    np.random.RandomState(0).shuffle(shuffled)
    limits = np.linspace(0, len(shuffled), NUM_SAMPLES + 1).astype(int)
    weights = np.ones((NUM_SAMPLES, len(shuffled)), dtype=np.int32)
    position = {audio_id: number for number, audio_id in enumerate(audio_ids)}
    for sample in range(NUM_SAMPLES):
        left_out = shuffled[limits[sample] : limits[sample + 1]]
        weights[sample, [position[audio_id] for audio_id in left_out]] = 0
    return weights


def _large(corpus: str, size: str, num_threads: int) -> dict[str, float]:
    flags = ["--corpus", corpus, "--size", size, "--num_threads", str(num_threads)]
    command = [sys.executable, "-m", "benchmarks.evaluation_large", *flags]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        raise DesedTaskError(f"{corpus}: scoring failed with exit code {ran.returncode}; its message stands above")
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def _require_equal(name: str, ours: Values, theirs: Values) -> None:
    for figure, value in theirs.items():
        if not abs(ours[figure] - value) <= TOLERANCE:
            raise DesedTaskError(f"{name}: {figure} is {ours[figure]!r} here and {value!r} by the peer")


def _limit_row(name: str, value: float, unit: str, limit: float, num_threads: int, **rates: Any) -> Row:
    return _row(name, value, unit, "at most", limit, limit / value, num_threads, **rates)


def _row(
    name: str,
    value: float,
    unit: str,
    peer: str | None,
    peer_value: float | None,
    ratio: float | None,
    num_threads: int,
    **rates: Any,
) -> Row:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, no GPU"
    row = {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value}
    return {**row, "ratio": ratio, "machine": machine, "threads": num_threads, **rates}


def _size(corpus: Corpus) -> str:
    return f"{corpus.num_clips} clips x {corpus.num_frames} frames x {corpus.num_classes} classes"
