"""How far down the thresholds matter to a score that looks no further than so many false alarms.

Wherever a clip does not hold a class, its highest score of the class is a false alarm from that threshold down: runs
grow and join below it, but one at least is left. So when n clips without a class have scores of `limit` or more, the
class has at least n false alarms at every threshold up to `limit`, and what lies there need not be matched or sorted.
This is exact for the clips as they are, each counted once, and for nothing else: samples of clips need every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.truth import Truth
from desed_task.scores import ScoreTable

# Clips whose scores are copied at a time.
_CLIPS_AT_ONCE = 128


class Limits:
    """The limit of each class, from the clips seen so far; it can only rise with more of them.

    max_false_alarms: what has more is not looked at.
    """

    def __init__(self, truth: Truth, max_false_alarms: int) -> None:
        self._truth, self._absent = truth, truth.num_events() == 0
        self._wanted = max_false_alarms + 1
        self._position = {audio_id: clip for clip, audio_id in enumerate(truth.audio_ids)}
        self._highest = np.full((self._wanted, len(truth.labels)), -np.inf)
        self._waiting: list[NDArray[np.float64]] = []
        self._risen = False
        self.values = np.full(len(truth.labels), -np.inf)

    def watch(
        self, scores: Mapping[str, ScoreTable] | Iterable[tuple[str, ScoreTable]]
    ) -> Mapping[str, ScoreTable] | Iterator[tuple[str, ScoreTable]]:
        """The same scores, looked at: all before the first where they are all there, else each as it passes."""
        if not isinstance(scores, dict):  # other mappings may read each clip when asked for it
            return self._passing(scores.items() if isinstance(scores, Mapping) else scores)
        waiting = iter(scores.items())
        while clips := list(islice(waiting, _CLIPS_AT_ONCE)):
            self._add(clips)
        self.settle()
        self._risen = False
        return scores

    def settle(self) -> NDArray[np.float64]:
        """(classes,) the limits by all clips seen; -inf where there are not enough of them."""
        if self._waiting:
            every = np.concatenate((self._highest, np.stack(self._waiting)))
            self._highest = -np.partition(-every, self._wanted - 1, axis=0)[: self._wanted]
            self._waiting = []
            limits = self._highest.min(axis=0)
            self._risen = self._risen or bool((limits > self.values).any())
            self.values = limits
        return self.values

    def below(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """(classes,) the limits, or where scores of this precision cannot say them, the next number below."""
        rounded = self.values.astype(dtype)
        return np.where(rounded > self.values, np.nextafter(rounded, -np.inf, dtype=dtype), rounded).astype(dtype)

    def have_risen(self) -> bool:
        """Whether they have since this was asked last."""
        risen, self._risen = self._risen, False
        return risen

    def _passing(self, scores: Iterable[tuple[str, ScoreTable]]) -> Iterator[tuple[str, ScoreTable]]:
        for audio_id, table in scores:
            self._add([(audio_id, table)])
            # in batches: each costs as much as all clips that are kept
            if len(self._waiting) >= max(1, self._wanted // 8):
                self.settle()
            yield audio_id, table

    def _add(self, scores: Sequence[tuple[str, ScoreTable]]) -> None:
        clips = [
            (self._position[name], table) for name, table in scores if name in self._position and table.values.size
        ]
        if not clips:
            return
        first_frame = np.cumsum([0, *(len(table.values) for _, table in clips)])
        peaks = np.maximum.reduceat(np.concatenate([table.values for _, table in clips]), first_frame[:-1])
        # a window of no length is no detection; where there is one, the clip is simply not counted
        lengths = np.diff(self._truth.ticks(np.concatenate([table.edges for _, table in clips])))
        first_edge = first_frame[:-1] + np.arange(len(clips))
        lengths[first_edge[1:] - 1] = 1  # from one clip to the next
        counted = np.minimum.reduceat(lengths, first_edge) > 0
        absent = self._absent[[clip for clip, _ in clips]]
        self._waiting += list(np.where(absent & counted[:, None], peaks, -np.inf))
