"""DESED fetched into its published layout."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from desed_task.data.fetch.report import FetchReport

PARTS = ("strong", "real", "synth")


def fetch_desed(
    root: Path, parts: Collection[str] = PARTS, num_jobs: int = 3, *, retry_missing: bool = False
) -> FetchReport:
    """Complete `root` (audio/, metadata/, missing_files/)."""
    raise NotImplementedError
