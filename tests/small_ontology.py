"""A small ontology, its classes and clips, for the tests of label enhancement.

Thing (abstract, no class)
  Animal          Vehicle
    Pet (abstract)  Car
      Dog             Engine       Engine is also a kind of Machine, which is no class
        Yip
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

# id -> children, restrictions
NODES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "thing": (["animal", "vehicle"], ["abstract"]),
    "animal": (["pet"], []),
    "pet": (["dog"], ["abstract"]),
    "dog": (["yip"], ["blacklist"]),
    "yip": ([], []),
    "vehicle": (["car"], []),
    "car": (["engine"], []),
    "machine": (["engine"], ["abstract", "blacklist"]),
    "engine": ([], []),
}
MIDS = ("yip", "dog", "animal", "engine", "car", "vehicle")


def write_ontology(path: Path, nodes: Mapping[str, tuple[Sequence[str], Sequence[str]]] = NODES) -> Path:
    tree = [
        {"id": node, "name": node.title(), "child_ids": list(children), "restrictions": list(restrictions)}
        for node, (children, restrictions) in nodes.items()
    ]
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def write_class_table(path: Path) -> Path:
    rows = ["index,mid,display_name", *(f'{index},{mid},"{mid.title()}"' for index, mid in enumerate(MIDS))]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def write_list(path: Path, clips: Mapping[str, str]) -> Path:
    """clips: name -> labels joined by commas."""
    data = [{"wav": f"audio/{name}.wav", "labels": labels, "fold": 1} for name, labels in clips.items()]
    path.write_text(json.dumps({"data": data}), encoding="utf-8")
    return path
