"""The tree of runs of a score curve: drawn ones, and against decoding at every threshold."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from desed_task.metrics.curves.trees import list_runs

Node = tuple[int, int, int]  # onset, offset (frames), threshold (tenths)


def runs_of(*curves: str) -> tuple[list[Node], list[Node | None]]:
    """Nodes of clips of one class, scores as figures; and the parent of each. Frame k begins at time k in its clip."""
    values = np.array([[int(figure) for curve in curves for figure in curve]], dtype=np.float32)
    return nodes_of(values, [len(curve) for curve in curves])


def nodes_of(values: Any, lengths: list[int]) -> tuple[list[Node], list[Node | None]]:
    first_frame = np.cumsum([0, *lengths])
    edges = np.concatenate([np.arange(length + 1) for length in lengths]).astype(np.int64)
    _, onset, offset, threshold, parent = list_runs(values, first_frame, edges)
    nodes = list(zip(onset.tolist(), offset.tolist(), threshold.tolist(), strict=True))
    return nodes, [None if above < 0 else nodes[above] for above in parent.tolist()]


# 9 |      #
# 7 |      #        #
# 5 |   #  #        #
# 2 |#  #  #  #  #  #  #
#    0  1  2  3  4  5  6
def test_runs_appear_grow_and_join() -> None:
    nodes, parents = runs_of("2592272")
    tree = dict(zip(nodes, parents, strict=True))
    assert tree == {
        (2, 3, 9): (1, 3, 5),
        (1, 3, 5): (0, 7, 2),
        (5, 6, 7): (0, 7, 2),
        (0, 7, 2): None,
    }


@pytest.mark.parametrize(
    ("curve", "runs"),
    [
        ("5", [(0, 1, 5)]),
        ("555", [(0, 3, 5)]),  # constant scores are one run
        ("0", [(0, 1, 0)]),
        ("135", [(0, 3, 1), (1, 3, 3), (2, 3, 5)]),  # rising
        ("531", [(0, 1, 5), (0, 2, 3), (0, 3, 1)]),  # falling
        ("505", [(0, 1, 5), (0, 3, 0), (2, 3, 5)]),  # two equal peaks
        ("5353", [(0, 1, 5), (0, 4, 3), (2, 3, 5)]),  # equal valleys join all at once
        ("35553", [(0, 5, 3), (1, 4, 5)]),
    ],
)
def test_drawn_curves(curve: str, runs: list[Node]) -> None:
    nodes, _ = runs_of(curve)
    assert sorted(nodes) == runs


def test_clips_side_by_side_do_not_join() -> None:
    nodes, parents = runs_of("19", "91")
    assert nodes == [(0, 2, 1), (1, 2, 9), (0, 1, 9), (0, 2, 1)]
    assert parents == [None, (0, 2, 1), (0, 2, 1), None]


def test_classes_follow_one_another_and_clips_within_them() -> None:
    values = np.array([[1, 2, 3, 3], [5, 5, 5, 5]], dtype=np.float64)
    first_node, onset, offset, threshold, parent = list_runs(values, np.array([0, 2, 4]), np.array([0, 1, 2, 0, 1, 2]))
    assert first_node.tolist() == [0, 2, 3, 4, 5]
    assert threshold.tolist() == [1, 2, 3, 5, 5]
    assert (onset.tolist(), offset.tolist()) == ([0, 1, 0, 0, 0], [2, 2, 2, 2, 2])
    assert parent.tolist() == [-1, 0, -1, -1, -1]


def decoded(curve: Any, threshold: float) -> list[tuple[int, int]]:
    above = np.concatenate(([False], curve >= threshold, [False]))
    changes = np.flatnonzero(above[1:] != above[:-1])
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))


@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_at_every_threshold_the_tree_holds_the_decoded_runs(levels: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        curve = rng.integers(0, levels, int(rng.integers(1, 60)))
        nodes, parents = nodes_of(curve[None].astype(np.float64), [len(curve)])
        assert len(nodes) <= len(curve)
        assert len(set(nodes)) == len(nodes)
        for threshold in np.unique(curve).tolist():
            # a run is there from its threshold down to that of its parent, which replaces it
            there = [
                node[:2]
                for node, above in zip(nodes, parents, strict=True)
                if node[2] >= threshold and (above is None or above[2] < threshold)
            ]
            assert Counter(there) == Counter(decoded(curve, threshold))


def test_a_parent_holds_its_children_and_appears_below_them() -> None:
    for seed in range(20):
        curve = np.random.default_rng(seed).random(80)
        nodes, parents = nodes_of(curve[None], [80])
        for (onset, offset, threshold), above in zip(nodes, parents, strict=True):
            assert threshold == curve[onset:offset].min()
            if above is not None:
                assert above[0] <= onset < offset <= above[1]
                assert above[2] < threshold
        assert parents.count(None) == 1
