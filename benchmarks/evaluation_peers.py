"""The other side of evaluation.py: sed_scores_eval and psds_eval, each fed with its own kind of input.

Imported by the benchmark where this Python has them, else run by a Python that has (--peer-python) as a process that
answers: one line of JSON {"job": name, "folder": path} reads the input, then each {} runs the job once and answers
{"seconds": ..., "values": ...}. Needs numpy, pandas and the scorers, nothing of this project.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

Values = dict[str, Any]
Job = Callable[[], Values]
PACKAGE = {"psds": "sed_scores_eval", "bootstrap": "sed_scores_eval", "operating points": "psds_eval"}

# dtc, gtc, cttc, alpha_ct: the two scenarios of DCASE Task 4; alpha_st 1 and 100 false alarms per hour in both.
SCENARIOS = {"psds1": (0.7, 0.7, 0.3, 0.0), "psds2": (0.1, 0.1, 0.3, 0.5)}
COLLAR = {"onset_collar": 0.2, "offset_collar": 0.2, "offset_collar_rate": 0.2}
# Samples that are timed; the time of a thousand follows from them.
NUM_SAMPLES = 10


def open_job(name: str, folder: Path) -> Job:
    """Read the input of a job, which is not timed; the result runs it."""
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    return {"psds": _four, "bootstrap": _bootstrap, "operating points": _operating_points}[name](folder)


def timed(job: Job) -> tuple[float, Values]:
    """Seconds, values."""
    start = time.perf_counter()
    values = job()
    return time.perf_counter() - start, values


def name_and_version(job: str) -> str:
    """Of the package behind a job."""
    return f"{PACKAGE[job]} {version(PACKAGE[job])}"


def _four(folder: Path) -> Job:
    """PSDS 1 and 2, best collar and best segment F1, of scores."""
    from sed_scores_eval import collar_based, intersection_based, segment_based

    scores, events, durations = _score_inputs(folder, "scores_0.npy")

    def run() -> Values:
        values: Values = {
            name: intersection_based.psds(scores, events, durations, **_options(name))[0] for name in SCENARIOS
        }
        values["collar_f1_best"] = collar_based.best_fscore(scores, events, **COLLAR)[0]["macro_average"]
        values["segment_f1_best"] = segment_based.best_fscore(scores, events, durations)[0]["macro_average"]
        return values

    return run


def _bootstrap(folder: Path) -> Job:
    """PSDS 1 and 2 and collar F1 at 0.5 of two systems: deltas, and a few samples, apart from one another.

    Version 0.0.4 draws no bootstrap samples, it leaves out one of `n_folds` parts of the clips: with NUM_SAMPLES parts,
    (NUM_SAMPLES - 1) / NUM_SAMPLES of the work of a sample.
    """
    from sed_scores_eval import collar_based, intersection_based

    systems = [_score_inputs(folder, f"scores_{system}.npy") for system in (0, 1)]

    def run() -> Values:
        deltas_seconds = samples_seconds = 0.0
        sampled: dict[str, list[list[float]]] = {name: [] for name in (*SCENARIOS, "collar_f1")}
        for scores, events, durations in systems:
            for name, (dtc, gtc, cttc, alpha_ct) in SCENARIOS.items():
                options = {"dtc_threshold": dtc, "gtc_threshold": gtc, "cttc_threshold": cttc if alpha_ct else None}
                start = time.perf_counter()
                deltas = intersection_based.intermediate_statistics_deltas(scores, events, **options)
                deltas_seconds += time.perf_counter() - start
                start = time.perf_counter()
                outputs = intersection_based.bootstrapped_psds(
                    None, events, durations, deltas=deltas, n_folds=NUM_SAMPLES, n_iterations=1, **_options(name)
                )
                samples_seconds += time.perf_counter() - start
                sampled[name].append([float(value) for value in outputs[0]])
            start = time.perf_counter()
            deltas = collar_based.intermediate_statistics_deltas(scores, events, **COLLAR)
            deltas_seconds += time.perf_counter() - start
            start = time.perf_counter()
            outputs = collar_based.bootstrapped_fscore(
                None, events, 0.5, deltas=deltas, n_folds=NUM_SAMPLES, n_iterations=1, **COLLAR
            )
            samples_seconds += time.perf_counter() - start
            sampled["collar_f1"].append([float(value["macro_average"]) for value in outputs[0]])
        return {"deltas_seconds": deltas_seconds, "samples_seconds": samples_seconds, "sampled": sampled}

    return run


def _operating_points(folder: Path) -> Job:
    """PSDS 1 and 2 of given operating points; folder: a published system's tables."""
    import pandas as pd
    from psds_eval import PSDSEval

    points = [pd.read_csv(path, sep="\t") for path in sorted((folder / "predictions_operating_points").glob("*.tsv"))]
    events = pd.read_csv(folder / "validation.tsv", sep="\t").dropna()
    metadata = pd.read_csv(folder / "validation_durations.tsv", sep="\t")

    def run() -> Values:
        values = {}
        for name, (dtc, gtc, cttc, alpha_ct) in SCENARIOS.items():
            scorer = PSDSEval(
                ground_truth=events, metadata=metadata, dtc_threshold=dtc, gtc_threshold=gtc, cttc_threshold=cttc
            )
            for point in points:
                scorer.add_operating_point(point)
            values[name] = float(scorer.psds(alpha_ct, 1.0, 100).value)
        return values

    return run


def _options(scenario: str) -> dict[str, float | None]:
    dtc, gtc, cttc, alpha_ct = SCENARIOS[scenario]
    criteria = {"dtc_threshold": dtc, "gtc_threshold": gtc, "cttc_threshold": cttc if alpha_ct else None}
    return {**criteria, "alpha_ct": alpha_ct, "alpha_st": 1.0, "max_efpr": 100.0}


def _score_inputs(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, float]]:
    """Score tables, events and durations as sed_scores_eval takes them."""
    from sed_scores_eval.base_modules.scores import create_score_dataframe

    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    values, edges = np.load(folder / name), np.array(truth["edges"])
    scores = {
        audio_id: create_score_dataframe(of_clip, edges, truth["labels"])
        for audio_id, of_clip in zip(truth["durations"], values, strict=True)
    }
    return scores, {name: [tuple(e) for e in events] for name, events in truth["events"].items()}, truth["durations"]


def answer() -> None:
    """Read requests from standard input until it ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what a scorer prints is no answer
    request = json.loads(sys.stdin.readline())
    job = open_job(request["job"], Path(request["folder"]))
    print(json.dumps({"peer": name_and_version(request["job"])}), file=answers, flush=True)
    for _ in sys.stdin:
        seconds, values = timed(job)
        print(json.dumps({"seconds": seconds, "values": values}), file=answers, flush=True)


if __name__ == "__main__":
    answer()
