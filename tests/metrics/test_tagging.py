"""Tagging F1 on four clips and two classes."""

from __future__ import annotations

import numpy as np
import pytest

from desed_task.labels import LabelSet
from desed_task.metrics.tagging import tagging_f1

LABELS = LabelSet(["Cat", "Dog"])


def test_f1_of_tags_above_one_half() -> None:
    # clip         1          2          3         4
    # reference    Cat Dog    Cat        -         -
    # tagged       Cat        Dog        Dog       -       (.5 is not above .5)
    clip_values = {"1": [0.9, 0.5], "2": [0.1, 0.6], "3": [0.0, 0.7], "4": [0.5, 0.0]}
    tags = {"1": ("Cat", "Dog"), "2": ("Cat",), "3": (), "4": ()}
    f1 = tagging_f1({clip: np.array(row, np.float32) for clip, row in clip_values.items()}, tags, LABELS)
    cat, dog = f1.per_class["Cat"], f1.per_class["Dog"]
    assert (cat.tp, cat.fp, cat.fn) == (1, 0, 1)
    assert (dog.tp, dog.fp, dog.fn) == (0, 2, 1)
    assert f1.macro == pytest.approx((2 / 3 + 0) / 2)
    assert f1.micro == pytest.approx(2 / 6)


def test_a_class_without_reference_is_undefined() -> None:
    f1 = tagging_f1({"1": np.array([0.9, 0.9], np.float32)}, {"1": ("Cat",)}, LABELS)
    assert f1.per_class["Dog"].f1 is None
    assert f1.macro == 1.0
    assert f1.micro == pytest.approx(2 / 3)
