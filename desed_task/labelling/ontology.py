"""The AudioSet ontology: which sound is a kind of which other one (J. Gemmeke et al., "Audio Set", 2017).

`ontology.json` is a list of 632 nodes with id, name, child_ids and restrictions; a node may have several parents. 22
nodes are exactly `abstract`: they group others and label no clip. 67 carry `blacklist`, among them one that is abstract
too.

A system's classes are some of the nodes. `Ontology.restrict` gives the relations among them, as sparse boolean
matrices. With abstract nodes `removed`, as published (PSLA), ways that lead over them are cut: among the 527 classes of
AudioSet are 378 pairs of parent and child and 767 of ancestor and descendant, among the 200 of FSD50K, of which three
are abstract themselves, 156 and 304. With abstract nodes `traversed` descent goes on over them: 378 and 835, 172 and
331.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import CorpusError
from desed_task.labelling.pairs import LabelPairs

Abstract = Literal["removed", "traversed"]
_ABSTRACT = ("abstract",)
_KEYS = ("id", "name", "child_ids", "restrictions")


@dataclass(frozen=True)
class Node:
    """One sound of the ontology."""

    id: str
    name: str
    child_ids: tuple[str, ...]
    restrictions: tuple[str, ...]

    @property
    def is_abstract(self) -> bool:
        """Exactly abstract; a node that is abstract and blacklisted counts as blacklisted, as published."""
        return self.restrictions == _ABSTRACT


@dataclass(frozen=True, eq=False)
class Relation:
    """A sparse boolean matrix (classes, classes): class c is related to related[first[c]:first[c + 1]], ascending."""

    first: NDArray[np.int64]
    related: NDArray[np.int64]

    def __len__(self) -> int:
        """How many pairs of classes are related."""
        return len(self.related)

    def of(self, position: int) -> NDArray[np.int64]:
        """The classes that one class is related to."""
        return self.related[self.first[position] : self.first[position + 1]]

    def dense(self) -> NDArray[np.bool_]:
        """(classes, classes): row c says to which classes c is related."""
        size = len(self.first) - 1
        matrix = np.zeros((size, size), dtype=np.bool_)
        matrix[np.repeat(np.arange(size), np.diff(self.first)), self.related] = True
        return matrix

    def follow(self, labels: LabelPairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every step from a label of a clip to a related class: (place in `related`, key of clip and related class)."""
        begins, lengths = self.first[labels.classes], np.diff(self.first)[labels.classes]
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
        places = np.repeat(begins, lengths) + within
        return places, np.repeat(labels.clips, lengths) * labels.num_classes + self.related[places]

    def reach(self, labels: LabelPairs) -> LabelPairs:
        """The classes to which the labels of each clip are related."""
        return labels.with_keys(np.unique(self.follow(labels)[1]))


@dataclass(frozen=True, eq=False)
class ClassGraph:
    """Relations among the classes of a system. num_parents: (classes,) counts parents that are no class, too.

    unknown: classes that the ontology does not have; they are related to none. abstract: classes that are abstract.
    """

    parents: Relation
    children: Relation
    ancestors: Relation
    num_parents: NDArray[np.int64]
    unknown: tuple[str, ...]
    abstract: tuple[str, ...]


class Ontology:
    """Nodes by id; CorpusError for a child that is no node and for a sound that is a kind of itself."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes: Mapping[str, Node] = {node.id: node for node in nodes}
        if len(self.nodes) != len(nodes):
            raise CorpusError("a node stands twice in the ontology")
        for node in nodes:
            lost = next((child for child in node.child_ids if child not in self.nodes), None)
            if lost is not None:
                raise CorpusError(f"{node.id} ({node.name}): its child {lost} is no node of the ontology")
        self.ancestors_of("traversed")

    def parents_of(self, abstract: Abstract) -> dict[str, tuple[str, ...]]:
        """Node -> its parents, of which abstract ones may be removed."""
        parents: dict[str, list[str]] = {node_id: [] for node_id in self.nodes}
        for node in self.nodes.values():
            if abstract == "traversed" or not node.is_abstract:
                for child in node.child_ids:
                    parents[child].append(node.id)
        return {node_id: tuple(dict.fromkeys(found)) for node_id, found in parents.items()}

    def ancestors_of(self, abstract: Abstract) -> dict[str, frozenset[str]]:
        """Node -> its parents, their parents, and so on."""
        parents = self.parents_of(abstract)
        known: dict[str, frozenset[str]] = {}

        def visit(node_id: str, way: tuple[str, ...]) -> frozenset[str]:
            if node_id in way:
                raise CorpusError(f"{node_id} ({self.nodes[node_id].name}) is among its own ancestors")
            if node_id not in known:
                above = [visit(parent, (*way, node_id)) for parent in parents[node_id]]
                known[node_id] = frozenset(parents[node_id]).union(*above)
            return known[node_id]

        for node_id in parents:
            visit(node_id, ())
        return known

    def restrict(self, mids: Sequence[str], abstract: Abstract = "removed") -> ClassGraph:
        """The relations among the classes with these ids, numbered in their order."""
        parents, ancestors = self.parents_of(abstract), self.ancestors_of(abstract)
        index = {mid: position for position, mid in enumerate(mids)}
        above = [[index[parent] for parent in parents.get(mid, ()) if parent in index] for mid in mids]
        below: list[list[int]] = [[] for _ in mids]
        for child, own in enumerate(above):
            for parent in own:
                below[parent].append(child)
        farther = [[index[one] for one in ancestors.get(mid, ()) if one in index] for mid in mids]
        return ClassGraph(
            parents=_relation(above),
            children=_relation(below),
            ancestors=_relation(farther),
            num_parents=np.array([len(parents.get(mid, ())) for mid in mids]),
            unknown=tuple(mid for mid in mids if mid not in self.nodes),
            abstract=tuple(mid for mid in mids if mid in self.nodes and self.nodes[mid].is_abstract),
        )


def read_ontology(path: Path) -> Ontology:
    """Read ontology.json; CorpusError when it is not one."""
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); name AudioSet's ontology.json") from None
    except ValueError as error:
        raise CorpusError(f"{path}: not valid JSON ({error})") from None
    try:
        return Ontology(list(_nodes(tree)))
    except CorpusError as error:
        raise CorpusError(f"{path}: {error}") from None


def _nodes(tree: Any) -> Iterator[Node]:
    if not isinstance(tree, list):
        raise CorpusError("an ontology is a list of nodes")
    for number, node in enumerate(tree, start=1):
        missing = [key for key in _KEYS if not isinstance(node, dict) or key not in node]
        if missing:
            raise CorpusError(f"node {number}: no key {missing[0]!r}")
        yield Node(str(node["id"]), str(node["name"]), tuple(node["child_ids"]), tuple(node["restrictions"]))


def _relation(rows: Sequence[Sequence[int]]) -> Relation:
    first = np.concatenate(([0], np.cumsum([len(row) for row in rows])))
    return Relation(first, np.array([related for row in rows for related in sorted(row)], dtype=np.int64))
