"""Text files that are there as a whole or not at all: written beside their place, then moved into it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path


def write_text(text: str, path: Path) -> None:
    """Write, or leave what stands there as it was."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def write_csv(rows: Iterable[Sequence[object]], path: Path) -> None:
    """Rows of cells, None as an empty one, names with commas in quotes."""
    with io.StringIO(newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
        write_text(stream.getvalue(), path)
