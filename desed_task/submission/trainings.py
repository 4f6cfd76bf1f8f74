"""Trainings of this project as they lie: several `version_N` or seeds are runs of one system, if their confs agree.

    <log_dir>/version_0/conf.yaml          the resolved conf, every default included
    <log_dir>/version_0/metrics_test/student/...

Runs may differ in the seed, and in where things lie and how fast they are read. Confs that cannot be read are not
compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from desed_task.submission.layouts import FoundSystem

_MAY_DIFFER = ("seed", "log_dir", "dir", "folder", "root", "path", "workers", "device", "devices", "gpus", "country")


def differing_confs(found: FoundSystem, root: Path) -> str | None:
    """A sentence when the runs of a system were trained with different confs; None when nothing tells them apart."""
    limit = found.folder or root
    confs: dict[Path, dict[str, Any]] = {}
    for output in found.outputs:
        folder = _run_folder(output.place, limit)
        if folder is not None and folder not in confs:
            confs[folder] = dict(_leaves(_read(folder / "conf.yaml")))
    readable = [(folder, leaves) for folder, leaves in confs.items() if leaves]
    if not readable:
        return None
    first, *others = readable
    for folder, leaves in others:
        keys = sorted(key for key in {*first[1], *leaves} if first[1].get(key) != leaves.get(key))
        if keys:
            values = f"{first[1].get(keys[0])!r} and {leaves.get(keys[0])!r}"
            return (
                f"{folder}: trained with another conf than {first[0].relative_to(limit)} ({keys[0]}: {values}), so "
                "they are no runs of one system; name each with a --submission of its own"
            )
    return None


def _run_folder(place: Path, limit: Path) -> Path | None:
    """The nearest folder above outputs, within the submission, that has a conf.yaml."""
    within = (folder for folder in place.parents if folder == limit or folder.is_relative_to(limit))
    return next((folder for folder in within if (folder / "conf.yaml").is_file()), None)


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return None


def _leaves(tree: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all that makes a difference to the system."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            if not str(key).endswith(_MAY_DIFFER):
                yield from _leaves(value, (*above, str(key)))
    elif above:
        yield ".".join(above), tree
