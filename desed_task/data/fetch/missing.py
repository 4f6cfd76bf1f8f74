"""missing_files_<part>.tsv: the clips of a part that could not be had, and why.

filename  kind  reason        kind is `permanent` (not tried again unless asked) or `temporary` (the next run tries)

The published tables have the filename in front and the error after it; tables with other columns are read, too, and
what they do not say is tried again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from desed_task.errors import FetchError

_COLUMNS = ("filename", "kind", "reason")
PERMANENT, TEMPORARY = "permanent", "temporary"


@dataclass(frozen=True)
class Missing:
    """Why a clip is not there: kind is PERMANENT or TEMPORARY."""

    kind: str
    reason: str


def read_missing(path: Path) -> dict[str, Missing]:
    """filename -> why, of a table that may not be there yet."""
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError):
        raise FetchError(f"{path}: cannot be read; delete it, its clips are then tried again") from None
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
    if rows.fieldnames is None or "filename" not in rows.fieldnames:
        raise FetchError(f"{path}, row 1: no column 'filename'; delete it, its clips are then tried again")
    return {
        row["filename"]: Missing(
            PERMANENT if row.get("kind") == PERMANENT else TEMPORARY, row.get("reason") or row.get("error") or ""
        )
        for row in rows
        if row["filename"]
    }


def write_missing(missing: Mapping[str, Missing], path: Path) -> None:
    """Write the table whole or not at all; without a missing clip there is none."""
    if not missing:
        path.unlink(missing_ok=True)
        return
    rows = [(name, why.kind, " ".join(why.reason.split())) for name, why in missing.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    text = "\n".join("\t".join(cells) for cells in (_COLUMNS, *rows)) + "\n"
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
