"""The ontology: relations of a small one by pencil, and the published counts of AudioSet's."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from small_ontology import MIDS, NODES, write_ontology

from desed_task.errors import CorpusError
from desed_task.labelling.ontology import Abstract, ClassGraph, Ontology, Relation, read_ontology
from desed_task.labelling.pairs import pair_labels


@pytest.fixture
def ontology(tmp_path: Path) -> Ontology:
    return read_ontology(write_ontology(tmp_path / "ontology.json"))


def named(relation: Relation) -> dict[str, list[str]]:
    found = {mid: sorted(MIDS[other] for other in relation.of(place)) for place, mid in enumerate(MIDS)}
    return {mid: others for mid, others in found.items() if others}


def test_removed_abstract_nodes_cut_the_ways_over_them(ontology: Ontology) -> None:
    graph = ontology.restrict(MIDS, "removed")
    assert named(graph.children) == {"dog": ["yip"], "vehicle": ["car"], "car": ["engine"]}
    assert named(graph.parents) == {"yip": ["dog"], "car": ["vehicle"], "engine": ["car"]}
    assert named(graph.ancestors) == {"yip": ["dog"], "car": ["vehicle"], "engine": ["car", "vehicle"]}


def test_traversed_abstract_nodes_let_descent_go_on(ontology: Ontology) -> None:
    graph = ontology.restrict(MIDS, "traversed")
    assert named(graph.children) == {"dog": ["yip"], "vehicle": ["car"], "car": ["engine"]}  # direct ones only
    ancestors = named(graph.ancestors)
    assert ancestors["yip"] == ["animal", "dog"]
    assert ancestors["dog"] == ["animal"]


def test_parents_that_are_no_class_are_counted(ontology: Ontology) -> None:
    # engine: car and machine, which is abstract and blacklisted, and so is not removed
    counts = dict(zip(MIDS, ontology.restrict(MIDS, "removed").num_parents.tolist(), strict=True))
    assert counts == {"yip": 1, "dog": 0, "animal": 0, "engine": 2, "car": 1, "vehicle": 0}
    assert ontology.restrict(MIDS, "traversed").num_parents[MIDS.index("dog")] == 1


def test_classes_may_be_abstract_or_unknown(ontology: Ontology) -> None:
    graph = ontology.restrict(("dog", "pet", "hum"))
    assert (graph.unknown, graph.abstract) == (("hum",), ("pet",))
    assert len(graph.parents) == 0
    assert len(ontology.restrict(("dog", "pet", "hum"), "traversed").parents) == 1


def test_a_relation_is_a_boolean_matrix(ontology: Ontology) -> None:
    relation = ontology.restrict(MIDS, "traversed").ancestors
    labels = pair_labels([[0], [3, 0], [], [5]], len(MIDS))
    there = np.zeros((4, len(MIDS)), dtype=bool)
    there[labels.clips, labels.classes] = True
    reached = relation.reach(labels)
    expected = (there.astype(int) @ relation.dense().astype(int)) > 0
    np.testing.assert_array_equal(np.argwhere(expected), np.stack((reached.clips, reached.classes), axis=1))
    assert relation.dense().sum() == len(relation)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"yip": (["animal"], [])}, "is among its own ancestors"),
        ({"yip": (["ghost"], [])}, "its child ghost is no node"),
    ],
)
def test_a_broken_ontology_is_refused(
    change: dict[str, tuple[list[str], list[str]]], sentence: str, tmp_path: Path
) -> None:
    path = write_ontology(tmp_path / "ontology.json", {**NODES, **change})
    with pytest.raises(CorpusError, match=f"ontology.json: .*{sentence}"):
        read_ontology(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "not valid JSON"), ("{}", "list of nodes"), ('[{"id": "a"}]', "node 1: no key 'name'"), (None, "cannot be")],
)
def test_another_file_is_refused(text: str | None, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "ontology.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CorpusError, match=sentence):
        read_ontology(path)


# The published counts.


@pytest.fixture(scope="module")
def audioset(shared_data: Path) -> Ontology:
    return read_ontology(shared_data / "audioset" / "ontology.json")


def classes_of(folder: Path) -> dict[str, str]:
    with (folder / "class_labels_indices.csv").open(encoding="utf-8", newline="") as stream:
        return {row["mid"]: row["display_name"] for row in csv.DictReader(stream)}


def test_nodes_of_audioset(audioset: Ontology) -> None:
    nodes = audioset.nodes.values()
    assert len(nodes) == 632
    assert sum(node.is_abstract for node in nodes) == 22
    assert sum("blacklist" in node.restrictions for node in nodes) == 67
    assert sum({"abstract", "blacklist"} <= set(node.restrictions) for node in nodes) == 1


@pytest.mark.parametrize(
    ("corpus", "abstract", "counts"),
    [
        ("audioset", "removed", (378, 767, 23)),
        ("audioset", "traversed", (378, 835, 36)),
        ("fsd50k", "removed", (156, 304, 9)),
        ("fsd50k", "traversed", (172, 331, 19)),
    ],
)
def test_relations_among_published_classes(
    audioset: Ontology, shared_data: Path, corpus: str, abstract: Abstract, counts: tuple[int, int, int]
) -> None:
    graph: ClassGraph = audioset.restrict(tuple(classes_of(shared_data / corpus)), abstract)
    assert (len(graph.parents), len(graph.ancestors), int((graph.num_parents > 1).sum())) == counts
    assert len(graph.children) == len(graph.parents)
    assert graph.unknown == ()
    assert len(graph.abstract) == (3 if corpus == "fsd50k" else 0)


def test_a_yip_comes_from_a_dog_which_is_an_animal(audioset: Ontology, shared_data: Path) -> None:
    classes = classes_of(shared_data / "audioset")
    names = list(classes.values())
    found = audioset.restrict(tuple(classes)).ancestors.of(names.index("Yip"))
    assert {names[place] for place in found} == {"Dog", "Domestic animals, pets", "Animal"}


def test_the_file_is_what_json_says(audioset: Ontology, shared_data: Path) -> None:
    tree = json.loads((shared_data / "audioset" / "ontology.json").read_text())
    assert [node["id"] for node in tree] == list(audioset.nodes)
