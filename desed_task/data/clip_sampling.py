"""Which items (clips, or chunks of them) an epoch hears, in which order: arrays of item numbers.

    shuffled     each once
    weighted     by weights, with replacement (PSLA's sampler), or without (EfficientAT's)
    round robin  classes in turn, in a new order every round; each class goes through its items in shuffled order and
                 shuffles them again when they are used up (PANNs' balanced sampler, which goes on with a class's list
                 in the next epoch, where ours begins it anew)

An order depends on the generator it is given alone, which belongs to (seed, epoch, source): any batch of any epoch can
be made again. Two million items take about a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from desed_task.clips import ClipSet
from desed_task.errors import CorpusError

Items = NDArray[np.int64]


def shuffled_order(num_items: int, rng: np.random.Generator) -> Items:
    """Each item once."""
    return rng.permutation(num_items)


def weighted_order(weights: NDArray[np.float64], num_draws: int, replacement: bool, rng: np.random.Generator) -> Items:
    """`num_draws` items, an item of weight 0 never; without replacement at most as many as have a weight."""
    if replacement:
        return weighted_items(np.cumsum(weights), num_draws, rng)
    # The items whose exponential clocks ring first, in their order (Efraimidis & Spirakis 2006): the very distribution
    # of drawing one after another, the weights of those drawn left out.
    drawable = np.flatnonzero(weights > 0)
    rings = rng.exponential(size=len(drawable)) / weights[drawable]
    first = min(num_draws, len(drawable))
    earliest = np.argpartition(rings, first - 1)[:first] if first else np.zeros(0, dtype=np.int64)
    items: Items = drawable[earliest[np.argsort(rings[earliest])]]
    return items


def weighted_items(cumulative: NDArray[np.float64], num_draws: int, rng: np.random.Generator) -> Items:
    """`num_draws` items, independent of one another, by weights that are summed up."""
    # Below the sum, whatever the rounding, and beyond every item that weighs nothing.
    places = np.searchsorted(cumulative, rng.random(num_draws) * cumulative[-1], side="right")
    last = np.searchsorted(cumulative, cumulative[-1], side="left")
    items: Items = np.minimum(places, last)
    return items


def round_robin_order(items_of_class: Sequence[Items], num_draws: int, rng: np.random.Generator) -> Items:
    """`num_draws` items, classes in turn; a class without items is passed over."""
    with_items = [items for items in items_of_class if len(items)]
    rounds = -(-num_draws // len(with_items))
    # columns: what each class gives in its rounds
    given = np.stack([_again_and_again(items, rounds, rng) for items in with_items], axis=1)
    turns = rng.permuted(np.tile(np.arange(len(with_items)), (rounds, 1)), axis=1)
    items = np.take_along_axis(given, turns, axis=1).ravel()
    return items[:num_draws]


def _again_and_again(items: Items, num: int, rng: np.random.Generator) -> Items:
    """`num` of the items in a shuffled order, which is shuffled anew each time they are used up."""
    times = -(-num // len(items))
    shuffled = np.concatenate([rng.permutation(items) for _ in range(times)])
    return np.asarray(shuffled[:num], dtype=np.int64)


def read_sampling_weights(path: Path, clip_set: ClipSet) -> NDArray[np.float64]:
    """The published weight file of a list -> the weights of the clips that are there: (clips,).

    One number per line, a line for every row of the corpus's list, or for every clip that is on disk. CorpusError for
    another number of lines, and for what is no weight.
    """
    try:
        weights = np.array(path.read_text(encoding="utf-8").split(), dtype=np.float64)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); name another weight file") from None
    except ValueError as error:
        raise CorpusError(f"{path}: not one number per line ({error}); write it with sampling_weights.py") from None
    faulty = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(faulty):
        raise CorpusError(f"{path}, row {faulty[0] + 1}: {weights[faulty[0]]} is no weight; write the file again")
    if len(weights) == len(clip_set.clips):
        chosen = weights
    elif len(weights) == clip_set.rows_of_list:
        chosen = weights[np.array(clip_set.rows_in_list, dtype=np.int64)]
    else:
        raise CorpusError(
            f"{path}: {len(weights)} weights for {clip_set.rows_of_list} rows of {clip_set.name}; it belongs to "
            f"another list, write it again with recipes/sampling_weights.py"
        )
    if not chosen.any():
        raise CorpusError(f"{path}: every weight is 0; write the file again")
    return chosen
