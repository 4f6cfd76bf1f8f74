"""Weights of classes and clips: by pencil, and those that were published for the balanced list of AudioSet."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from desed_task.errors import DesedTaskError
from desed_task.labelling.class_balance import class_counts, class_weights, sampling_weights

# class   0  1  2
# clip 0  x                 clips of class 0: 2, of class 1: 1, of class 2: none
# clip 1  x  x
# clip 2
CLIPS = [(0,), (0, 1), ()]


def test_a_class_weighs_1000_over_its_clips() -> None:
    assert class_counts(CLIPS, 3).tolist() == [2, 1, 0]
    np.testing.assert_allclose(class_weights(class_counts(CLIPS, 3), 8.0), [100.0, 1000 / 9, 125.0])


def test_a_clip_weighs_as_much_as_its_classes_together() -> None:
    np.testing.assert_allclose(sampling_weights(CLIPS, 3, 8.0), [100.0, 100.0 + 1000 / 9, 0.0])
    np.testing.assert_allclose(sampling_weights(CLIPS, 3), [1000 / 2.01, 1000 / 2.01 + 1000 / 1.01, 0.0])


def test_the_published_weights_of_the_balanced_list(shared_data: Path) -> None:
    folder = shared_data / "audioset"
    with (folder / "class_labels_indices.csv").open(encoding="utf-8", newline="") as stream:
        index = {row["mid"]: int(row["index"]) for row in csv.DictReader(stream)}
    rows = json.loads((folder / "audioset_bal_train_data.json").read_text())["data"]
    clips = [[index[mid] for mid in row["labels"].split(",")] for row in rows]
    weights = sampling_weights(clips, len(index))
    assert len(weights) == 21_717
    assert weights.sum() == pytest.approx(526917.6885017512, abs=1e-6)
    assert weights.min() == pytest.approx(13.156163662675963, abs=1e-9)
    assert weights.max() == pytest.approx(134.45344767595375, abs=1e-9)
    np.testing.assert_allclose(weights[:5], [16.84169842, 16.66388935, 17.00512355, 33.3277787, 23.38839357], atol=5e-9)


def test_faults_are_named() -> None:
    with pytest.raises(DesedTaskError, match=r"clip 1 \(from 0\): class 3 is none of 0 to 2"):
        sampling_weights([(0,), (3,)], 3)
    with pytest.raises(DesedTaskError, match="class 2 has no clip"):
        sampling_weights(CLIPS, 3, 0.0)
