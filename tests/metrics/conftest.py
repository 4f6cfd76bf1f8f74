"""Scoring tests need the published scorers."""

from __future__ import annotations

import warnings

import pytest


@pytest.fixture(scope="session")
def scorers() -> None:
    """The packages behind `desed_task.metrics.reference` are there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sed_eval imports pkg_resources, which says that it is deprecated
        for package in ("pandas", "psds_eval", "sed_eval"):
            pytest.importorskip(package)
