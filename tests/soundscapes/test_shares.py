from __future__ import annotations

import pytest

from desed_task.errors import CorpusError
from desed_task.soundscapes.shares import share_sources

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def test_each_split_gets_its_share_of_every_class() -> None:
    split_of = share_sources({"Dog": [f"d{n}" for n in range(10)], "Cat": [f"c{n}" for n in range(5)]}, SHARES, seed=1)
    counts = {
        (label, split): sum(split_of[source] == split for source in split_of if source.startswith(label))
        for label in "dc"
        for split in SHARES
    }
    assert counts == {
        ("d", "train"): 6, ("d", "validation"): 2, ("d", "test"): 2,
        ("c", "train"): 3, ("c", "validation"): 1, ("c", "test"): 1,
    }  # fmt: skip


def test_a_source_of_two_classes_stays_in_one_split_and_all_splits_are_served() -> None:
    shared = [f"s{n}" for n in range(6)]
    split_of = share_sources({"Dog": shared, "Cat": [*shared, "c0"]}, SHARES, seed=4)
    assert set(split_of) == {*shared, "c0"}
    assert set(split_of.values()) == set(SHARES)


def test_the_seed_decides() -> None:
    sources = {"Dog": [f"d{n}" for n in range(30)]}
    assert share_sources(sources, SHARES, 1) == share_sources(sources, SHARES, 1) != share_sources(sources, SHARES, 2)


def test_a_class_with_too_few_sources_is_refused() -> None:
    with pytest.raises(CorpusError, match=r"class 'Dog' has 2 source recordings, too few for split"):
        share_sources({"Dog": ["a", "b"]}, SHARES, 0)
