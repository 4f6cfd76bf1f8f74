"""One large evaluation in a process of its own, so that its peak memory can be told: PSDS 1 and 2, as JSON.

    python -m benchmarks.evaluation_large --corpus CORPUS

seconds            wall time less that in which the generator made scores; kernels compiled before
generator_seconds  the latter
peak_bytes         of the process; it holds the interpreter, the packages and the generator, too
baseline_bytes     before the corpus was made, after a small one was scored
"""

from __future__ import annotations

import json
import resource
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from benchmarks.evaluation_scores import AUDIOSET_STRONG, ONE_HOUR, Corpus, draw_events, draw_scores, small
from desed_task.events import EventTable
from desed_task.metrics.psds import psds_of_scores
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2
from desed_task.metrics.truth import build_truth
from desed_task.scores import ScoreTable

CORPORA = {"audioset strong": AUDIOSET_STRONG, "one hour": ONE_HOUR}
SCENARIOS = (PSDS_SCENARIO_1, PSDS_SCENARIO_2)
SEED = 4

Pair = tuple[str, ScoreTable]


class Stopwatch:
    """How long an iterator took to make its items."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The same items."""
        iterator = iter(pairs)
        while True:
            start = time.perf_counter()
            pair = next(iterator, None)
            self.seconds += time.perf_counter() - start
            if pair is None:
                return
            yield pair


def main() -> None:
    """Score one corpus, print what it took."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", choices=CORPORA, required=True)
    parser.add_argument("--size", choices=("full", "small"), default="full")
    parser.add_argument("--num_threads", type=int, default=1)
    arguments = parser.parse_args()
    corpus = CORPORA[arguments.corpus]
    score(small(corpus), arguments.num_threads, Stopwatch())
    baseline = peak_bytes()
    stopwatch, start = Stopwatch(), time.perf_counter()
    values = score(corpus if arguments.size == "full" else small(corpus), arguments.num_threads, stopwatch)
    seconds = time.perf_counter() - start - stopwatch.seconds
    found = {"seconds": seconds, "generator_seconds": stopwatch.seconds, "psds1": values[0], "psds2": values[1]}
    print(json.dumps({**found, "peak_bytes": peak_bytes(), "baseline_bytes": baseline}))


def score(corpus: Corpus, num_threads: int, stopwatch: Stopwatch) -> list[float | None]:
    """PSDS 1 and 2 of scores that are made on the way."""
    start = time.perf_counter()
    events = draw_events(corpus, SEED)
    stopwatch.seconds += time.perf_counter() - start
    truth = build_truth(EventTable(events), corpus.durations, corpus.labels)
    scores = tqdm(stopwatch(draw_scores(corpus, events, SEED)), total=corpus.num_clips, unit="clip", disable=None)
    return [found.value for found in psds_of_scores(scores, truth, SCENARIOS, num_threads)]


def peak_bytes() -> int:
    """The largest resident size so far. Linux: of this program, without what its parent had before it started."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    main()
