"""From the options of sampling to the order of each epoch, remembered until the next epoch is asked for.

A clip's weight is shared out evenly to its chunks, so that how often a clip is heard does not depend on its length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from desed_task.clips import ClipSet
from desed_task.data.clip_sampling import (
    Items,
    read_sampling_weights,
    round_robin_order,
    shuffled_order,
    weighted_order,
)
from desed_task.data.clip_tags import digest
from desed_task.data.source import Moment
from desed_task.data.tagging_options import RoundRobinOptions, Sampling, WeightedOptions
from desed_task.errors import CorpusError
from desed_task.labelling.class_balance import sampling_weights


@dataclass
class ItemOrder:
    """Items of an epoch in their order. num_draws: how many; cumulative: weights summed up, None where there are none.

    description: what decides orders beside the options.
    """

    num_draws: int
    make: Callable[[np.random.Generator], Items]
    cumulative: NDArray[np.float64] | None = None
    description: str | None = None
    _made: tuple[tuple[int, int, int], Items] | None = field(default=None, init=False)

    def of(self, moment: Moment) -> Items:
        """The order of the moment's epoch: (num_draws,) item numbers."""
        key = (moment.seed, moment.epoch, moment.source)
        if self._made is None or self._made[0] != key:
            self._made = key, self.make(np.random.default_rng(key))
        return self._made[1]


def build_item_order(
    options: Sampling,
    clip_set: ClipSet,
    classes_of_clips: Callable[[], Sequence[Sequence[int]]],
    item_clip: NDArray[np.int64],
) -> ItemOrder:
    """item_clip: the clip of each item. CorpusError where no clip can be drawn, or a weight file does not fit."""
    if isinstance(options, WeightedOptions):
        return _weighted(options, clip_set, classes_of_clips, item_clip)
    if isinstance(options, RoundRobinOptions):
        return _round_robin(options, clip_set, classes_of_clips(), item_clip)
    return ItemOrder(len(item_clip), partial(shuffled_order, len(item_clip)))


def _weighted(
    options: WeightedOptions,
    clip_set: ClipSet,
    classes_of_clips: Callable[[], Sequence[Sequence[int]]],
    item_clip: NDArray[np.int64],
) -> ItemOrder:
    if options.weights is not None:
        of_clips = read_sampling_weights(options.weights, clip_set)
    else:
        classes = classes_of_clips()
        of_clips = sampling_weights(classes, 1 + _last_class(classes, clip_set), options.offset)
    weights = of_clips[item_clip] / np.bincount(item_clip, minlength=len(of_clips))[item_clip]
    drawn = options.epoch_clips or len(item_clip)
    if not options.replacement:
        drawn = min(drawn, int((weights > 0).sum()))
    # weights of a list may be another machine's: the last bits of a sum must not make another training of it
    return ItemOrder(
        drawn,
        lambda rng: weighted_order(weights, drawn, options.replacement, rng),
        np.cumsum(weights),
        digest(of_clips.round(9)),
    )


def _round_robin(
    options: RoundRobinOptions,
    clip_set: ClipSet,
    classes_of_clips: Sequence[Sequence[int]],
    item_clip: NDArray[np.int64],
) -> ItemOrder:
    members: list[list[int]] = [[] for _ in range(1 + _last_class(classes_of_clips, clip_set))]
    for item, clip in enumerate(item_clip.tolist()):
        for label in classes_of_clips[clip]:
            members[label].append(item)
    of_class = [np.array(items, dtype=np.int64) for items in members]
    drawn = options.epoch_clips or len(item_clip)
    return ItemOrder(drawn, lambda rng: round_robin_order(of_class, drawn, rng))


def _last_class(classes_of_clips: Sequence[Sequence[int]], clip_set: ClipSet) -> int:
    last = max((label for classes in classes_of_clips for label in classes), default=-1)
    if last < 0:
        raise CorpusError(f"{clip_set.name}: no clip has a class, so none can be drawn by classes; take shuffled")
    return last
