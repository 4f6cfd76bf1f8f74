"""Outside scorers, for the tests that ask them."""

from __future__ import annotations

import shutil
import sysconfig
import warnings
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def scorers() -> None:
    """psds_eval, sed_eval and pandas are there."""
    _import("pandas", "psds_eval", "sed_eval")


@pytest.fixture(scope="session")
def exact_scorer() -> None:
    """sed_scores_eval is there. It is built at installation, so without a C compiler its tests skip everywhere."""
    try:
        _import("pandas", "sed_scores_eval.intersection_based")
    except pytest.skip.Exception:
        # the same question as in the Makefile
        if shutil.which("cc") is None or not Path(sysconfig.get_path("include"), "Python.h").exists():
            pytest.skip("sed_scores_eval is built at installation; there is no C compiler, or no Python.h")
        raise


def _import(*packages: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sed_eval imports pkg_resources, which says that it is deprecated
        for package in packages:
            pytest.importorskip(package)
