"""Intervals and significance of a system of two runs, from counts that are written down here clip by clip.

Run 1 decides what `sound_submissions.EVENTS` holds, run 2 the ground truth itself; the baseline is run 1. Collar F1:

              clip a          clip b          clip c              (hits, false alarms, misses)
    run 1     Cat 1 0 0                       Cat 0 1 1           Cat 0-3 for 1-4 is a second early
              Dog 0 0 1       Dog 1 0 0
    run 2     Cat 1 0 0                       Cat 1 0 0
              Dog 1 0 0       Dog 1 0 0
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sound_submissions import GROUND_TRUTH, LABELS, write_evaluation_set, write_events, write_lines

from desed_task.metrics.uncertainty import samples_of
from desed_task.submission.evaluation import EvaluatedSystem, Measuring, evaluate_system
from desed_task.submission.evaluation_set import read_evaluation_set
from desed_task.submission.packages import open_submission
from desed_task.submission.ranking import EDITION_2022
from desed_task.submission.standings import standing_of

NUM_SAMPLES = 200
# (classes Cat and Dog, clips a, b and c, counts)
RUN_1 = np.array([[[1, 0, 0], [0, 0, 0], [0, 1, 1]], [[0, 0, 1], [1, 0, 0], [0, 0, 0]]])
RUN_2 = np.array([[[1, 0, 0], [0, 0, 0], [1, 0, 0]], [[1, 0, 0], [1, 0, 0], [0, 0, 0]]])


def macro_f1(counts: NDArray[np.int64], weights: NDArray[np.int32]) -> float:
    """Mean over the classes that the drawn clips hold."""
    hits, false_alarms, misses = np.einsum("lck,c->kl", counts, weights)
    present = hits + misses > 0
    f1 = 2 * hits[present] / (2 * hits + false_alarms + misses)[present]
    return float(f1.mean()) if present.any() else float("nan")


def two_runs_and_the_baseline(folder: Path) -> tuple[EvaluatedSystem, EvaluatedSystem]:
    evaluation_set = read_evaluation_set(*write_evaluation_set(folder / "set"))
    write_events(folder / "baseline.tsv")
    write_events(folder / "package" / LABELS[0] / "run1.tsv")
    write_lines(
        folder / "package" / LABELS[0] / "run2.tsv", ("filename", "onset", "offset", "event_label"), *GROUND_TRUTH
    )
    found = []
    for path in (folder / "package", folder / "baseline.tsv"):
        with open_submission(path, evaluation_set) as submission:
            system = submission.systems[0]
            found.append(evaluate_system(system.label, system, evaluation_set, Measuring(num_samples=NUM_SAMPLES)))
    return found[0], found[1]


def test_the_mean_its_deviation_its_interval_and_its_difference_to_the_baseline(tmp_path: Path) -> None:
    system, baseline = two_runs_and_the_baseline(tmp_path)
    # run 1: Cat 2 / (2 + 1 + 1), Dog 2 / (2 + 1); run 2: 1
    of_run_1 = (1 / 2 + 2 / 3) / 2
    assert baseline.report.collar_f1_macro == pytest.approx(of_run_1)
    assert system.report.collar_f1_macro == pytest.approx((of_run_1 + 1) / 2)
    assert system.spreads["collar_f1_macro"].std == pytest.approx((1 - of_run_1) / np.sqrt(2))
    weights = samples_of(3, NUM_SAMPLES)
    first, second = (np.array([macro_f1(run, sample) for sample in weights]) for run in (RUN_1, RUN_2))
    low, high = np.nanpercentile((first + second) / 2, (2.5, 97.5))
    interval = system.report.intervals["collar_f1_macro"]
    assert (interval.low, interval.high) == pytest.approx((low, high))
    paired = standing_of(system, EDITION_2022, baseline).against_baseline["collar_f1"]
    changes = (second - first) / 2
    changes = changes[~np.isnan(changes)]
    fewest = 1 + min(int((changes <= 0).sum()), int((changes >= 0).sum()))
    assert paired.difference == pytest.approx((1 - of_run_1) / 2)
    assert paired.interval == pytest.approx(tuple(np.percentile(changes, (2.5, 97.5))))
    assert paired.p_value == pytest.approx(min(1.0, 2 * fewest / (len(changes) + 1)))
