"""The device of load tests takes its time, and burns no processor time over it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from serving.inference.simulated import SimulatedDetector


@pytest.mark.parametrize("num_windows", [1, 16])
def test_a_batch_takes_its_base_and_its_rows(tiny_bundle: Path, num_windows: int) -> None:
    device = SimulatedDetector(tiny_bundle, 16, base_ms=3.0, row_ms=0.25)
    windows = [np.zeros(160_000, dtype=np.float32)] * num_windows
    device.run(windows)
    expected = 0.003 + 0.00025 * num_windows
    taken = []
    processor = time.thread_time()
    for _ in range(20):
        start = time.monotonic()
        device.run(windows)
        taken.append(time.monotonic() - start)
    assert min(taken) == pytest.approx(expected, abs=0.0005)
    assert time.thread_time() - processor < 20 * expected / 4


def test_it_hears_nothing_in_the_shapes_of_the_bundle(tiny_bundle: Path, tiny_tagger: Path) -> None:
    device = SimulatedDetector(tiny_bundle, 4, base_ms=0, row_ms=0)
    scores = device.run([np.zeros(160_000, dtype=np.float32)] * 3)
    assert scores.strong is not None
    assert (scores.strong.shape, scores.weak.shape) == ((3, 156, 2), (3, 2))
    assert not scores.strong.any() and not scores.weak.any()
    assert SimulatedDetector(tiny_tagger, 4, 0, 0).run([np.zeros(16_000, dtype=np.float32)]).strong is None
