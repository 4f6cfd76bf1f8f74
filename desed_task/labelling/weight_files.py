"""Files of sampling weights: one number per line, in the order of the list beside which they lie (PSLA, AST).

The file of `list.json` is `list_weight.csv`. Weights follow from the labels, so training computes them anew; the files
are for the published trainers, where one that was left over from another list costs accuracy without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import CorpusError

_REMEDY = "write it with recipes/sampling_weights.py"


def weight_path(list_path: Path) -> Path:
    """The name of a list's file of weights."""
    return list_path.with_name(f"{list_path.stem}_weight.csv")


def write_weights(weights: Sequence[float] | NDArray[np.float64], path: Path) -> None:
    """Write them whole or not at all, with as many digits as a float has."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(f"{weight:.18e}\n" for weight in weights), encoding="utf-8")
    partial.replace(path)


def read_weights(path: Path, num_clips: int | None = None) -> NDArray[np.float64]:
    """(clips,); CorpusError for a line that is no number above or equal to 0, or for another number of clips."""
    try:
        lines = path.read_text(encoding="utf-8").split()
        weights = np.array(lines, dtype=np.float64)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); {_REMEDY}") from None
    except ValueError as error:  # a line that is no number, or bytes that are no text
        raise CorpusError(f"{path}: {error}; a file of weights has one number per line") from None
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise CorpusError(f"{path}, row {wrong[0] + 1}: {weights[wrong[0]]:g} is no weight; {_REMEDY}")
    if num_clips is not None and len(weights) != num_clips:
        raise CorpusError(f"{path}: {len(weights)} weights for a list of {num_clips} clips; {_REMEDY}")
    return weights
