"""Clip scores of many clips in one file: what a tagger said, kept for ensembles, label enhancement and later figures.

An .npz archive (numpy, not compressed, read without pickle) of

    audio_ids  (clips,) text             names of the clips, each once
    probs      (clips, classes) float32  scores in [0, 1]
    labels     (classes,) text           class names in the order of the class axis
    folds      (clips,) int, optional    the fold in whose held-out part a clip was scored (cross-fitted predictions)

A table of 20,000 clips and 527 classes takes 42 MB, and is read in a moment; as text it would be 200 MB.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError, EventTableError
from desed_task.labels import LabelSet

CLIP_SCORES_SUFFIX = ".npz"
_REQUIRED = ("audio_ids", "probs", "labels")


@dataclass(frozen=True, eq=False)
class ClipScores:
    """Scores of many clips by one system; EventTableError when the parts do not fit together.

    audio_ids: (clips,); probs: (clips, classes) float32 in [0, 1]; folds: (clips,) integers or None.
    """

    audio_ids: tuple[str, ...]
    probs: NDArray[np.float32]
    labels: LabelSet
    folds: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.probs.shape != (len(self.audio_ids), len(self.labels)):
            raise EventTableError(
                f"probs {self.probs.shape} do not fit {len(self.audio_ids)} clips and {len(self.labels)} classes"
            )
        if self.folds is not None and self.folds.shape != (len(self.audio_ids),):
            raise EventTableError(f"folds {self.folds.shape} do not fit {len(self.audio_ids)} clips")
        # not (0 <= x <= 1) also catches NaN
        if self.probs.size and not (float(self.probs.min()) >= 0.0 and float(self.probs.max()) <= 1.0):
            raise EventTableError("probs must lie in [0, 1]")
        if len(set(self.audio_ids)) != len(self.audio_ids):
            twice = Counter(self.audio_ids).most_common(1)[0][0]
            raise EventTableError(f"clip {twice!r} stands twice")

    def select(self, audio_ids: Sequence[str]) -> ClipScores:
        """The clips named, in that order; EventTableError when one has no scores."""
        rows = {audio_id: row for row, audio_id in enumerate(self.audio_ids)}
        missing = [audio_id for audio_id in audio_ids if audio_id not in rows]
        if missing:
            raise EventTableError(f"no scores of clip {missing[0]!r} ({len(missing)} clips lack them)")
        chosen = np.array([rows[audio_id] for audio_id in audio_ids], dtype=np.int64)
        folds = None if self.folds is None else self.folds[chosen]
        return ClipScores(tuple(audio_ids), self.probs[chosen], self.labels, folds)

    def with_labels(self, labels: LabelSet) -> ClipScores:
        """The classes of `labels`, in their order; EventTableError when one has no scores."""
        missing = [label for label in labels if label not in self.labels]
        if missing:
            raise EventTableError(f"no scores of class {missing[0]!r} ({len(missing)} classes lack them)")
        columns = [self.labels.index(label) for label in labels]
        return ClipScores(self.audio_ids, np.ascontiguousarray(self.probs[:, columns]), labels, self.folds)

    def by_audio_id(self) -> Mapping[str, NDArray[np.float32]]:
        """audio_id -> (classes,)."""
        return dict(zip(self.audio_ids, self.probs, strict=True))


def clip_scores_of(
    scores: Mapping[str, NDArray[np.float32] | NDArray[np.float64]],
    labels: LabelSet,
    folds: Iterable[int] | None = None,
) -> ClipScores:
    """audio_id -> (classes,) as one table, in the mapping's order."""
    probs = np.asarray(list(scores.values()), dtype=np.float32).reshape(len(scores), len(labels))
    return ClipScores(tuple(scores), probs, labels, None if folds is None else np.array(list(folds), dtype=np.int64))


def write_clip_scores(scores: ClipScores, path: Path) -> None:
    """Write the archive, whole or not at all."""
    arrays: dict[str, Any] = {
        "audio_ids": np.array(scores.audio_ids, dtype=np.str_),
        "probs": np.asarray(scores.probs, dtype=np.float32),
        "labels": np.array(scores.labels.names, dtype=np.str_),
    }
    if scores.folds is not None:
        arrays["folds"] = np.asarray(scores.folds, dtype=np.int64)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        np.savez(stream, **arrays)  # a path would be given another suffix
    partial.replace(path)


def read_clip_scores(path: Path) -> ClipScores:
    """Read an archive; EventTableError when it is none, or when its parts do not fit together."""
    arrays = _read_arrays(path)
    missing = [name for name in _REQUIRED if name not in arrays]
    if missing:
        raise EventTableError(f"{path}: no array {missing[0]!r} in it (it has {', '.join(arrays) or 'none'})")
    try:
        return ClipScores(
            tuple(_names(arrays["audio_ids"], "audio_ids")),
            _floats(arrays["probs"]),
            LabelSet(_names(arrays["labels"], "labels")),
            None if "folds" not in arrays else _integers(arrays["folds"]),
        )
    except DesedTaskError as error:
        raise EventTableError(f"{path}: {error}") from None


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise EventTableError(f"{path}: no such file of clip scores")
    if not zipfile.is_zipfile(path):
        raise EventTableError(f"{path}: not an .npz archive of clip scores, or cut short; write it again")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise EventTableError(f"{path}: not an .npz archive of clip scores ({' '.join(str(error).split())})") from None


def _names(array: NDArray[Any], name: str) -> list[str]:
    if array.ndim != 1 or array.dtype.kind != "U":
        raise EventTableError(f"{name} is a {array.dtype} {array.shape}, not a list of text")
    return [str(value) for value in array]


def _floats(array: NDArray[Any]) -> NDArray[np.float32]:
    if array.dtype.kind != "f":
        raise EventTableError(f"probs is {array.dtype}, not a table of floating-point numbers")
    return array.astype(np.float32, copy=False)


def _integers(array: NDArray[Any]) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        raise EventTableError(f"folds is {array.dtype}, not whole numbers")
    return array.astype(np.int64, copy=False)
