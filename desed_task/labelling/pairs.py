"""LabelPairs: which clips hold which classes, as a sparse table.

AudioSet has two million clips with 2.6 labels each among 527 classes: 1.1 GB as a table of booleans, 42 MB as sorted
numbers. A pair is clip * num_classes + class, so unions and differences of tables are those of sorted arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError


@dataclass(frozen=True, eq=False)
class LabelPairs:
    """Each (clip, class) once: keys (pairs,) ascending, clip * num_classes + class."""

    keys: NDArray[np.int64]
    num_clips: int
    num_classes: int

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def clips(self) -> NDArray[np.int64]:
        """(pairs,) ascending."""
        return self.keys // self.num_classes

    @property
    def classes(self) -> NDArray[np.int64]:
        """(pairs,) ascending within a clip."""
        return self.keys % self.num_classes

    def class_counts(self) -> NDArray[np.int64]:
        """(classes,) how many clips hold each."""
        return np.bincount(self.classes, minlength=self.num_classes)

    def per_clip(self) -> list[list[int]]:
        """The class numbers of each clip, ascending."""
        ends = np.searchsorted(self.clips, np.arange(1, self.num_clips))
        return [part.tolist() for part in np.split(self.classes, ends)]

    def union(self, other: LabelPairs) -> LabelPairs:
        """The pairs of either."""
        return self.with_keys(np.union1d(self.keys, other.keys))

    def without(self, other: LabelPairs) -> LabelPairs:
        """The pairs that the other does not have."""
        return self.with_keys(np.setdiff1d(self.keys, other.keys, assume_unique=True))

    def with_keys(self, keys: NDArray[np.int64]) -> LabelPairs:
        """Other pairs of the same clips and classes; keys ascending, each once."""
        return LabelPairs(keys, self.num_clips, self.num_classes)


def pair_labels(labels_per_clip: Sequence[Sequence[int]], num_classes: int) -> LabelPairs:
    """The class numbers of each clip as pairs, each once; DesedTaskError for a number that is no class."""
    clips, classes = flat_labels(labels_per_clip, num_classes)
    return LabelPairs(np.unique(clips * num_classes + classes), len(labels_per_clip), num_classes)


def flat_labels(
    labels_per_clip: Sequence[Sequence[int]], num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(clip, class) of every label in the order in which they stand, as two columns; DesedTaskError as above."""
    lengths = [len(labels) for labels in labels_per_clip]
    clips = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    classes = np.fromiter((label for labels in labels_per_clip for label in labels), np.int64, count=sum(lengths))
    wrong = np.flatnonzero((classes < 0) | (classes >= num_classes))
    if len(wrong):
        raise DesedTaskError(
            f"clip {clips[wrong[0]]} (from 0): class {classes[wrong[0]]} is none of 0 to {num_classes - 1}"
        )
    return clips, classes
