"""Files of sampling weights: one number per line, in the order of the list beside which they lie (PSLA, AST).

The file of `list.json` is `list_weight.csv`. Weights follow from the labels, so training computes them anew; the files
are for the published trainers, where one that was left over from another list costs accuracy without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def weight_path(list_path: Path) -> Path:
    """The name of a list's file of weights."""
    return list_path.with_name(f"{list_path.stem}_weight.csv")


def write_weights(weights: Sequence[float] | NDArray[np.float64], path: Path) -> None:
    """Write them whole or not at all, with as many digits as a float has."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(f"{weight:.18e}\n" for weight in weights), encoding="utf-8")
    partial.replace(path)
