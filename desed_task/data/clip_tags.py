"""The tags of a weak set as targets: 0 and 1, or blended with what a teacher said about the clips.

Binary cross-entropy is linear in its target, so w * loss(labels) + (1 - w) * loss(teacher) is, gradient and all, the
loss of the target w * labels + (1 - w) * teacher: knowledge distillation needs no loss of its own.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.clips import ClipSet
from desed_task.data.known_labels import KnownLabels
from desed_task.data.tagging_options import TeacherOptions
from desed_task.errors import CorpusError, EventTableError
from desed_task.formats.clip_scores import read_clip_scores
from desed_task.labels import LabelSet

LOG = logging.getLogger(__name__)


class ClipTags:
    """Targets of the clips of a set, by their numbers."""

    def __init__(self, clip_set: ClipSet, labels: LabelSet, teacher: TeacherOptions | None) -> None:
        """CorpusError for a teacher who knows none of the clips; EventTableError for scores that lack a class."""
        self._known = KnownLabels(clip_set, labels)
        self._num_clips, self._num_classes = len(clip_set.clips), len(labels)
        self._teacher = _Teacher(clip_set, labels, teacher) if teacher is not None else None

    @property
    def is_graded(self) -> bool:
        """Whether targets are other than 0 and 1."""
        return self._teacher is not None

    def classes_of_clips(self) -> list[list[int]]:
        """The class numbers of every clip."""
        classes: list[list[int]] = [[] for _ in range(self._num_clips)]
        for clip, label in self._known.weak_rows(range(self._num_clips)).tolist():
            classes[clip].append(label)
        return classes

    def rows(self, clips: NDArray[np.int64]) -> NDArray[np.int64]:
        """The labels of `clips`, as `Draw.weak`."""
        return self._known.weak_rows(clips.tolist())

    def values(self, clips: NDArray[np.int64]) -> NDArray[np.float32]:
        """The targets of `clips`: (clips, classes) in [0, 1]."""
        rows = self.rows(clips)
        values = np.zeros((len(clips), self._num_classes), dtype=np.float32)
        values[rows[:, 0], rows[:, 1]] = 1.0
        if self._teacher is not None:
            self._teacher.blend_into(values, clips)
        return values

    def describe(self) -> Any:
        """Labels and teacher, in short."""
        return [digest(self._known.describe()), self._teacher.description if self._teacher is not None else None]


class _Teacher:
    """Scores of another model, of as many of the clips as it knows."""

    def __init__(self, clip_set: ClipSet, labels: LabelSet, options: TeacherOptions) -> None:
        try:
            scores = read_clip_scores(options.scores)
            scores = scores if scores.labels == labels else scores.with_labels(labels)
        except EventTableError as error:
            where = "" if str(options.scores) in str(error) else f"{options.scores}: "
            raise EventTableError(f"{where}{error}") from None
        place = {audio_id: row for row, audio_id in enumerate(scores.audio_ids)}
        self._rows = np.array([place.get(clip.audio_id, -1) for clip in clip_set.clips], dtype=np.int64)
        self._probs, self._label_weight = scores.probs, np.float32(options.label_weight)
        lacking = int((self._rows < 0).sum())
        if lacking == len(self._rows):
            raise CorpusError(
                f"{options.scores}: has scores of none of the {lacking} clips of {clip_set.name}, such as "
                f"{clip_set.clips[0].audio_id}; name the scores of these clips in teacher.scores"
            )
        if lacking:
            LOG.warning(
                "%s: %d of %d clips have no teacher and keep their labels", clip_set.name, lacking, len(self._rows)
            )
        self.description = [digest(self._rows), digest(self._probs)]

    def blend_into(self, values: NDArray[np.float32], clips: NDArray[np.int64]) -> None:
        """Targets of `clips`, which hold their labels, in place."""
        rows = self._rows[clips]
        known = rows >= 0
        values[known] *= self._label_weight
        values[known] += (1 - self._label_weight) * self._probs[rows[known]]


def digest(value: NDArray[Any] | Sequence[Any]) -> str:
    """A short name of an array's, or of plain values', content."""
    content = np.ascontiguousarray(value).tobytes() if isinstance(value, np.ndarray) else json.dumps(value).encode()
    return hashlib.sha256(content).hexdigest()[:32]
