"""Outside scorers: whether they are there, in which version, and how they are kept quiet.

They are optional (`[reference]`), so they are imported where they are called. The deprecations of pandas and numpy that
they raise are silenced: the versions are pinned.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import numpy as np

from desed_task.errors import DesedTaskError

PACKAGES = {
    "psds_eval": "psds-eval",
    "sed_eval": "sed-eval",
    "sed_scores_eval": "sed-scores-eval",
    "pandas": "pandas",
}


def scorer_versions() -> dict[str, str | None]:
    """Package -> installed version, None where it is not installed."""
    return {package: version_of(package) for package in PACKAGES.values()}


def version_of(package: str) -> str | None:
    """The installed version of a distribution, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def load(module: str) -> ModuleType:
    """The module, e.g. `sed_scores_eval.intersection_based`; DesedTaskError when its package is not installed."""
    try:
        with quiet():
            return importlib.import_module(module)
    except ImportError as error:
        package = PACKAGES[module.partition(".")[0]]
        raise DesedTaskError(
            f'scoring with {package} needs it installed ({error}): pip install "desed-task[reference]"'
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of outside scorers."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
