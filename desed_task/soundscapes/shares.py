"""Shares: which source recordings belong to which split.

A soundbank of folders has no folds, so its sources are shared out by seed: for each class every split gets its share of
the class's sources, at least one. A source that occurs in several classes (one recording with a dog and a voice, cut in
two) stays in one split for all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from desed_task.errors import CorpusError
from desed_task.soundscapes.soundbank import seeded


def share_sources(sources: Mapping[str, Collection[str]], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Class -> its sources, and split -> weight of its share: source -> split.

    CorpusError when a class has too few sources for every split to get one.
    """
    split_of: dict[str, str] = {}
    for event_label in sorted(sources):
        of_class = sorted(sources[event_label])
        order = seeded(seed, "shares", event_label).permutation(len(of_class))
        missing = _quotas(len(of_class), shares)
        for source in of_class:
            if source in split_of:
                missing[split_of[source]] -= 1
        for source in (of_class[position] for position in order):
            if source not in split_of:
                neediest = max(missing, key=lambda split: missing[split])
                split_of[source] = neediest
                missing[neediest] -= 1
        _require_all_splits(event_label, {split_of[source] for source in of_class}, shares, len(of_class))
    return split_of


def _quotas(num_sources: int, shares: Mapping[str, float]) -> dict[str, int]:
    """How many sources each split should get: at least one each, the rest by largest remainder."""
    total = sum(shares.values())
    exact = {split: num_sources * weight / total for split, weight in shares.items()}
    quotas = {split: max(1, int(value)) for split, value in exact.items()}
    while sum(quotas.values()) < num_sources:
        largest = max(shares, key=lambda split: exact[split] - quotas[split])
        quotas[largest] += 1
    while sum(quotas.values()) > num_sources and max(quotas.values()) > 1:
        largest = max(shares, key=lambda split: (quotas[split] > 1, quotas[split] - exact[split]))
        quotas[largest] -= 1
    return quotas


def _require_all_splits(event_label: str, served: set[str], shares: Mapping[str, float], num_sources: int) -> None:
    for split in shares:
        if split not in served:
            raise CorpusError(
                f"class {event_label!r} has {num_sources} source recordings, too few for split {split!r} to get one "
                f"of its own; add recordings or drop the split from soundbank.shares"
            )
