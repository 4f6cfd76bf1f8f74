"""Predictions and targets as PSLA writes them: text, a row per clip in the order of the list, a column per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import CorpusError
from desed_task.labelling.pairs import LabelPairs


def read_prediction_rows(path: Path, num_clips: int, num_classes: int) -> NDArray[np.float64]:
    """(clips, classes) finite numbers; CorpusError for another shape, which is that of another list."""
    try:
        rows = np.loadtxt(path, delimiter=",", ndmin=2, dtype=np.float64)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); name predictions.csv of the list") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: not a table of numbers ({' '.join(str(error).split())})") from None
    if rows.shape != (num_clips, num_classes):
        raise CorpusError(
            f"{path}: {rows.shape[0]} rows of {rows.shape[1]} numbers, where the list has {num_clips} clips and "
            f"{num_classes} classes; take the predictions of this list"
        )
    wrong = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(wrong):
        raise CorpusError(f"{path}, row {wrong[0] + 1}: has a value that is not a finite number; predict again")
    return rows


def require_targets(path: Path, labels: LabelPairs) -> None:
    """CorpusError unless the table at `path` (target.csv) holds 1 for these labels alone, in the list's order."""
    rows = read_prediction_rows(path, labels.num_clips, labels.num_classes)
    expected = np.zeros_like(rows)
    expected[labels.clips, labels.classes] = 1.0
    differing = np.flatnonzero((rows != expected).any(axis=1))
    if len(differing):
        raise CorpusError(
            f"{path}, row {differing[0] + 1}: other labels than in the list; the predictions beside it are of clips in "
            f"another order"
        )
