"""Orders of an epoch: who is heard how often, and that an epoch can be made again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from desed_task.clips import Clip, ClipSet, join_clip_sets
from desed_task.data.clip_sampling import (
    read_sampling_weights,
    round_robin_order,
    shuffled_order,
    weighted_items,
    weighted_order,
)
from desed_task.errors import CorpusError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_shuffled_is_every_item_once() -> None:
    assert sorted(shuffled_order(100, rng())) == list(range(100))
    assert (shuffled_order(100, rng(1)) == shuffled_order(100, rng(1))).all()
    assert (shuffled_order(100, rng(1)) != shuffled_order(100, rng(2))).any()


def test_with_replacement_items_come_as_often_as_they_weigh() -> None:
    order = weighted_order(np.array([1.0, 0.0, 2.0, 5.0, 0.0]), 80_000, True, rng())
    counts = np.bincount(order, minlength=5)
    # of 80,000 draws 10,000, 20,000 and 50,000; three standard deviations of the first are 281
    np.testing.assert_allclose(counts, [10_000, 0, 20_000, 50_000, 0], atol=400)


def test_items_of_no_weight_are_never_drawn_also_at_the_edges_of_the_sum() -> None:
    class Extreme:
        """As rng.random may at most, and at least, give."""

        def random(self, num: int) -> np.ndarray:
            return np.array([0.0, 1.0 - 2.0**-53])

    cumulative = np.cumsum([0.0, 0.1, 0.2, 0.0, 0.7, 0.0, 0.0])
    assert weighted_items(cumulative, 2, Extreme()).tolist() == [1, 4]  # type: ignore[arg-type]


def test_without_replacement_is_each_at_most_once_and_the_heavy_ones_first() -> None:
    weights = np.array([1.0, 3.0, 0.0, 4.0])
    orders = [weighted_order(weights, 2, False, rng(seed)).tolist() for seed in range(20_000)]
    assert all(len(set(order)) == 2 for order in orders)
    first, pairs = Counter(order[0] for order in orders), Counter(map(tuple, orders))
    # P(1 first) = 3/8; P(3 first, then 0) = 4/8 * 1/4
    assert first[1] / 20_000 == pytest.approx(3 / 8, abs=0.01)
    assert pairs[3, 0] / 20_000 == pytest.approx(1 / 8, abs=0.008)
    assert 2 not in first
    assert len(weighted_order(weights, 10, False, rng())) == 3


# class   0        1    2
# items   0 1 2 3  2 4  none
ROUND_ROBIN = [np.array([0, 1, 2, 3]), np.array([2, 4]), np.zeros(0, dtype=np.int64)]


def test_classes_take_turns() -> None:
    order = round_robin_order(ROUND_ROBIN, 16, rng())
    assert len(order) == 16
    for first in range(0, 16, 2):
        pair = set(order[first : first + 2].tolist())
        assert pair & {0, 1, 2, 3}
        assert pair & {2, 4}
    # 8 rounds: class 0 goes twice through its 4 items, class 1 four times through its 2
    assert Counter(order.tolist()) == {0: 2, 1: 2, 2: 2 + 4, 3: 2, 4: 4}


def test_the_order_of_turns_changes_and_an_epoch_may_end_within_a_round() -> None:
    starts = {int(round_robin_order(ROUND_ROBIN, 7, rng(seed))[0]) for seed in range(40)}
    assert starts == {0, 1, 2, 3, 4}
    assert len(round_robin_order(ROUND_ROBIN, 7, rng())) == 7


def clip_set(name: str, present: list[int], rows: int) -> ClipSet:
    """`rows` recordings are listed, those of `present` are there."""
    clips = tuple(Clip(f"{name}{row}", Path(f"{name}{row}.wav"), 0.0) for row in present)
    missing = tuple(Path(f"{name}{row}.wav") for row in range(rows) if row not in present)
    return ClipSet(name, clips, "weak", missing=missing, listed_at=tuple(present))


def test_a_weight_file_has_a_line_for_every_row_of_the_list(tmp_path: Path) -> None:
    path = tmp_path / "weight.csv"
    np.savetxt(path, [10.0, 11.0, 12.0, 13.0], delimiter=",")
    assert read_sampling_weights(path, clip_set("a", [0, 2, 3], 4)).tolist() == [10.0, 12.0, 13.0]
    assert read_sampling_weights(path, clip_set("a", [0, 1, 2, 3], 4)).tolist() == [10.0, 11.0, 12.0, 13.0]
    # written for the recordings that are there
    assert read_sampling_weights(path, clip_set("a", [0, 2, 3, 5], 6)).tolist() == [10.0, 11.0, 12.0, 13.0]
    # the first clips alone, as a fast development run takes
    assert read_sampling_weights(path, clip_set("a", [0, 2, 3], 4).select([0, 1])).tolist() == [10.0, 12.0]
    assert read_sampling_weights(path, clip_set("a", [0, 1, 2, 3], 4).select([0, 1])).tolist() == [10.0, 11.0]


def test_a_weight_file_of_joined_lists_goes_on_with_the_next_list(tmp_path: Path) -> None:
    path = tmp_path / "weight.csv"
    np.savetxt(path, np.arange(5.0))
    joined = join_clip_sets([clip_set("a", [1], 2), clip_set("b", [0, 2], 3)])
    assert read_sampling_weights(path, joined).tolist() == [1.0, 2.0, 4.0]


def test_a_weight_file_of_joined_lists_serves_a_part_of_each(tmp_path: Path) -> None:
    path = tmp_path / "weight.csv"
    np.savetxt(path, np.arange(5.0))
    part = join_clip_sets([clip_set("a", [0, 1], 2).select([1]), clip_set("b", [0, 2], 3).select([1])])
    assert read_sampling_weights(path, part).tolist() == [1.0, 4.0]


def test_a_longer_weight_file_is_refused_also_where_clips_are_missing_or_left_out(tmp_path: Path) -> None:
    path = tmp_path / "weight.csv"
    np.savetxt(path, np.arange(5.0))
    for clips in (clip_set("a", [0, 2, 3], 4), clip_set("a", [0, 1, 2, 3], 4).select([0, 1])):
        with pytest.raises(CorpusError, match="5 weights for 4 rows of a; it belongs to another list"):
            read_sampling_weights(path, clips)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n2\n", "2 weights for 4 rows of a; it belongs to another list"),
        ("1\n2\nnan\n4\n", "row 3: nan is no weight"),
        ("1\n2\n3\n-4\n", r"row 4: -4\.0 is no weight"),
        ("1\n2\n3\nfour\n", "not one number per line"),
        ("0\n0\n0\n0\n", "every weight is 0"),
    ],
)
def test_another_weight_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "weight.csv"
    path.write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_sampling_weights(path, clip_set("a", [0, 1, 2, 3], 4))
    with pytest.raises(CorpusError, match=r"nowhere\.csv: cannot be read"):
        read_sampling_weights(tmp_path / "nowhere.csv", clip_set("a", [0], 1))
