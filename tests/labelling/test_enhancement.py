"""Label enhancement: by pencil, against a plain loop, and the published upper bounds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small_ontology import MIDS, write_ontology

from desed_task.errors import DesedTaskError
from desed_task.labelling.enhancement import (
    Threshold,
    class_thresholds,
    enhance,
    label_errors,
    soft_targets,
)
from desed_task.labelling.ontology import Abstract, ClassGraph, read_ontology
from desed_task.labelling.pairs import LabelPairs, pair_labels

YIP, DOG, ANIMAL, ENGINE, CAR, VEHICLE = range(6)


@pytest.fixture
def graph(tmp_path: Path) -> ClassGraph:
    return read_ontology(write_ontology(tmp_path / "ontology.json")).restrict(MIDS)


def as_lists(pairs: LabelPairs) -> list[list[int]]:
    return pairs.per_clip()


# class       yip  dog  animal  engine  car  vehicle
PROBS = np.array(
    [
        [0.9, 0.8, 0.1, 0.5, 0.5, 0.5],  # clip 0: dog
        [0.5, 0.2, 0.1, 0.5, 0.5, 0.5],  # clip 1: yip
        [0.1, 0.1, 0.1, 0.9, 0.4, 0.3],  # clip 2: engine, car
        [0.1, 0.1, 0.1, 0.6, 0.6, 0.9],  # clip 3: vehicle
    ],
    dtype=np.float32,
)
LABELS = pair_labels([[DOG], [YIP], [ENGINE, CAR], [VEHICLE]], 6)


def test_thresholds_are_those_of_clips_with_the_class() -> None:
    labels = pair_labels([[DOG], [DOG], [DOG, CAR], [CAR]], 6)
    probs = np.zeros((4, 6))
    probs[:, DOG] = [0.1, 0.2, 0.6, 0.9]
    expected: dict[Threshold, float] = {"mean": 0.3, "median": 0.2, "25": 0.15, "10": 0.12, "5": 0.11}
    for threshold, value in expected.items():
        found = class_thresholds(probs, labels, threshold)
        assert found[DOG] == pytest.approx(value)
        assert np.isnan(found[YIP])  # no clip has it, and nothing exceeds NaN
    assert np.isnan(class_thresholds(probs, labels, "none")).all()


def test_a_child_or_an_ancestor_is_added_where_the_model_is_surer_than_the_threshold(graph: ClassGraph) -> None:
    thresholds = np.full(6, 0.5)
    enhancement = enhance(LABELS, graph, PROBS, thresholds)
    # type I: dog -> yip .9; car -> engine is there; vehicle -> car .6, but not on to engine
    assert as_lists(enhancement.type1) == [[YIP], [], [], [CAR]]
    # type II: yip -> dog .2 no; engine, car -> vehicle .3 no
    assert as_lists(enhancement.type2) == [[], [], [], []]
    lower = enhance(LABELS, graph, PROBS, np.full(6, 0.15))
    assert as_lists(lower.type2) == [[], [DOG], [VEHICLE], []]
    assert as_lists(lower.type1_2) == [[YIP], [DOG], [VEHICLE], [CAR]]
    assert as_lists(LABELS.union(lower.type1_2)) == [[YIP, DOG], [YIP, DOG], [ENGINE, CAR, VEHICLE], [CAR, VEHICLE]]


def test_a_probability_at_the_threshold_does_not_exceed_it(graph: ClassGraph) -> None:
    thresholds = np.full(6, np.float64(np.float32(0.9)))
    assert len(enhance(LABELS, graph, PROBS, thresholds).type1) == 0


def test_classes_that_are_skipped_are_no_reason_to_add(graph: ClassGraph) -> None:
    added = enhance(LABELS, graph, PROBS, np.full(6, 0.5), skipped=[DOG]).type1
    assert as_lists(added) == [[], [], [], [CAR]]


def test_soft_targets_weigh_added_labels_by_their_probability(graph: ClassGraph) -> None:
    added = enhance(LABELS, graph, PROBS, np.full(6, 0.5)).type1_2
    targets = soft_targets(LABELS, added, PROBS)
    np.testing.assert_allclose(targets[0], [0.9, 1, 0, 0, 0, 0])
    np.testing.assert_allclose(targets[3], [0, 0, 0, 0, 0.6, 1])


def test_label_errors_count_children_without_their_parent(graph: ClassGraph) -> None:
    labels = pair_labels([[YIP], [YIP, DOG], [ENGINE], [CAR, VEHICLE], []], 6)
    errors = label_errors(labels, graph)
    columns = (errors.child, errors.parent, errors.num_clips, errors.num_without_parent)
    rows = {tuple(row) for row in np.stack(columns, axis=1).tolist()}
    assert rows == {(YIP, DOG, 2, 1), (ENGINE, CAR, 1, 1), (CAR, VEHICLE, 1, 0)}


def test_pairs_are_sets_of_labels() -> None:
    pairs = pair_labels([[2, 0, 2], [], [1]], 3)
    assert (len(pairs), pairs.per_clip(), pairs.class_counts().tolist()) == (3, [[0, 2], [], [1]], [1, 1, 1])
    other = pair_labels([[0], [], [1, 2]], 3)
    assert pairs.without(other).per_clip() == [[2], [], []]
    assert pairs.union(other).per_clip() == [[0, 2], [], [1, 2]]
    with pytest.raises(DesedTaskError, match=r"clip 1 \(from 0\): class 3 is none of 0 to 2"):
        pair_labels([[0], [3]], 3)


# The published list and its bounds.


@pytest.fixture(scope="module")
def balanced(shared_data: Path) -> tuple[LabelPairs, tuple[str, ...], tuple[str, ...]]:
    """Labels of the balanced list, mids and names."""
    folder = shared_data / "audioset"
    with (folder / "class_labels_indices.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    mids, names = tuple(row["mid"] for row in rows), tuple(row["display_name"] for row in rows)
    index = {mid: place for place, mid in enumerate(mids)}
    data = json.loads((folder / "audioset_bal_train_data.json").read_text())["data"]
    return pair_labels([[index[mid] for mid in row["labels"].split(",")] for row in data], len(mids)), mids, names


def published_graph(shared_data: Path, mids: tuple[str, ...], abstract: Abstract) -> ClassGraph:
    return read_ontology(shared_data / "audioset" / "ontology.json").restrict(mids, abstract)


@pytest.mark.parametrize(
    ("abstract", "bounds"),
    [("removed", (146_025, 77_283, 169_551)), ("traversed", (146_025, 77_771, 170_039))],
)
def test_upper_bounds_of_the_balanced_list(
    balanced: tuple[LabelPairs, tuple[str, ...], tuple[str, ...]],
    shared_data: Path,
    abstract: Abstract,
    bounds: tuple[int, int, int],
) -> None:
    labels, mids, _ = balanced
    assert (labels.num_clips, len(labels)) == (21_717, 51_708)
    enhancement = enhance(labels, published_graph(shared_data, mids, abstract))
    assert tuple(len(labels) + len(added) for added in enhancement.added.values()) == bounds
    everything = np.full(len(mids), -np.inf)
    probs: NDArray[np.float32] = np.zeros((labels.num_clips, len(mids)), dtype=np.float32)
    again = enhance(labels, published_graph(shared_data, mids, abstract), probs, everything)
    np.testing.assert_array_equal(again.type1_2.keys, enhancement.type1_2.keys)


def test_label_errors_of_speech(
    balanced: tuple[LabelPairs, tuple[str, ...], tuple[str, ...]], shared_data: Path
) -> None:
    labels, mids, names = balanced
    errors = label_errors(labels, published_graph(shared_data, mids, "removed"))
    speech = names.index("Speech")
    assert labels.class_counts()[speech] == 5_624
    counts = {
        names[child]: (int(clips), int(without))
        for child, parent, clips, without in zip(
            errors.child, errors.parent, errors.num_clips, errors.num_without_parent, strict=True
        )
        if parent == speech
    }
    assert counts["Male speech, man speaking"] == (60, 5)
    assert counts["Female speech, woman speaking"] == (59, 5)
    assert counts["Child speech, kid speaking"] == (149, 34)


def test_equal_to_a_plain_loop_on_real_labels(
    balanced: tuple[LabelPairs, tuple[str, ...], tuple[str, ...]], shared_data: Path
) -> None:
    labels, mids, _ = balanced
    first = labels.with_keys(labels.keys[labels.clips < 2000])
    labels = LabelPairs(first.keys, 2000, len(mids))
    probs = np.random.default_rng(0).random((2000, len(mids)), dtype=np.float32)
    thresholds = class_thresholds(probs, labels, "median")
    nodes = {node["id"]: node for node in json.loads((shared_data / "audioset" / "ontology.json").read_text())}
    nodes = {mid: node for mid, node in nodes.items() if node["restrictions"] != ["abstract"]}
    index = {mid: place for place, mid in enumerate(mids)}

    def ancestors(mid: str) -> set[str]:
        above = {other for other, node in nodes.items() if mid in node["child_ids"]}
        return above.union(*(ancestors(other) for other in above))

    of_class = {mid: (set(nodes[mid]["child_ids"]), ancestors(mid)) for mid in mids}
    expected: list[set[tuple[int, int]]] = [set(), set()]
    for clip, own in enumerate(labels.per_clip()):
        for label in own:
            for kind, related in enumerate(of_class[mids[label]]):
                for place in (index[mid] for mid in related if mid in index):
                    if place not in own and probs[clip, place] > thresholds[place]:
                        expected[kind].add((clip, place))
    found = enhance(labels, published_graph(shared_data, mids, "removed"), probs, thresholds)
    for pairs, plain in zip((found.type1, found.type2), expected, strict=True):
        assert set(zip(pairs.clips.tolist(), pairs.classes.tolist(), strict=True)) == plain
        assert plain
