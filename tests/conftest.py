"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SHARED_DATA = PROJECT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings and published answers, which live beside the project and are never part of it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder ../shared/data with real recordings is not there")
    return SHARED_DATA


@pytest.fixture(scope="session")
def project() -> Path:
    """The repository's root."""
    return PROJECT


def in_continuous_integration() -> bool:
    """Whether a missing oracle package is a failure and not a skip."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")
