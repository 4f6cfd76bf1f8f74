"""The threshold in a file name."""

from __future__ import annotations

import pytest

from desed_task.submission.operating_points import threshold_of


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        ("predictions_th_0.01", 0.01),
        ("predictions_thr_0.5", 0.5),
        ("predictions_th_0", 0.0),
        ("predictions_th_1.5", 1.5),
        ("predictions_th_-0.5", -0.5),
        ("0.010", 0.01),
        (".5", 0.5),
        ("baseline_0.1", 0.1),
        ("baseline_1.0", 1.0),
        ("baseline_1", 1.0),
        ("baseline-0.1", 0.1),
        ("predictions0.5", 0.5),
        ("predictions_05_student", 0.5),
        ("predictions_005_teacher", 0.05),
        ("dtc0.7_gtc0.7_0.25", 0.25),
        ("detections", None),
        ("run2", None),
    ],
)
def test_the_threshold_of_a_name(name: str, threshold: float | None) -> None:
    assert threshold_of(name) == threshold
