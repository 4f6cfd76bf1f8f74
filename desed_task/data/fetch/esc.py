"""ESC-50 fetched from its repository's archive."""

from __future__ import annotations

from pathlib import Path


def fetch_esc50(root: Path) -> None:
    """Complete `root` (meta/esc50.csv, audio/*.wav)."""
    raise NotImplementedError
