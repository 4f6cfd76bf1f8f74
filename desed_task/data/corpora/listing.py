"""What recordings lie in a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# Containers that libsndfile decodes and that recordings come in.
SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".rf64"})


def list_recordings(folder: Path) -> dict[str, Path]:
    """File name -> path of every recording right in `folder`, by name; hidden files are left out."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if _is_recording(entry.name) and entry.is_file())
    return {name: folder / name for name in names}


def find_recordings(folders: Sequence[Path]) -> dict[str, Path]:
    """File name -> path in the first of `folders` that has it; folders that are not there have nothing."""
    found: dict[str, Path] = {}
    for folder in folders:
        for name, path in list_recordings(folder).items() if folder.is_dir() else ():
            found.setdefault(name, path)
    return found


def walk_recordings(folder: Path) -> list[Path]:
    """Every recording in `folder` and below it, by path; hidden files and folders are left out."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(names) if _is_recording(name)]
    return found


def _is_recording(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
