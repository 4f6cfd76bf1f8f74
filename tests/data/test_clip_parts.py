"""Sets divided into parts: nobody is lost, nobody is twice, and what belongs together stays together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from desed_task.clips import Clip, ClipSet, join_clip_sets
from desed_task.data.clip_parts import choose_part, divide
from desed_task.data.tagging_options import PartOptions
from desed_task.errors import CorpusError


def set_of(names: str, groups: Mapping[str, str] | None = None, name: str = "s") -> ClipSet:
    """One clip per letter."""
    clips = tuple(Clip(letter, Path(f"{letter}.wav"), 1.0) for letter in names)
    return ClipSet(name, clips, "weak", tags=dict.fromkeys(names, ("dog",)), groups=groups or {})


def names_of(clip_set: ClipSet) -> str:
    return "".join(clip.audio_id for clip in clip_set.clips)


def test_parts_are_of_equal_size_and_hold_every_clip_once() -> None:
    parts = divide(set_of("abcdefghij"), 3)
    assert sorted(len(part) for part in parts) == [3, 3, 4]
    assert sorted(position for part in parts for position in part) == list(range(10))
    assert parts != [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9]]  # not as they stand in the list


def test_a_division_depends_on_nothing_but_the_clips() -> None:
    forwards, backwards = set_of("abcdefgh"), set_of("hgfedcba")
    of_both = [
        {frozenset(clip_set.clips[position].audio_id for position in part) for part in divide(clip_set, 3)}
        for clip_set in (forwards, backwards)
    ]
    assert of_both[0] == of_both[1]


def test_a_group_lies_in_one_part() -> None:
    # |aaaa|bb|cc|: four and two and two make halves of four only in this way; d and e go where they like
    groups = dict.fromkeys("pqrs", "a") | dict.fromkeys("tu", "b") | dict.fromkeys("vw", "c")
    parts = divide(set_of("ptvqurws", groups), 2)
    assert sorted("".join(sorted("ptvqurws"[position] for position in part)) for part in parts) == ["pqrs", "tuvw"]


def test_a_clip_called_as_a_group_is_none_of_it() -> None:
    parts = divide(set_of("abc", {"a": "c", "b": "c"}), 2)
    assert sorted(parts, key=len) == [[2], [0, 1]]


def test_clips_keep_their_rows_where_nothing_is_left_of_a_list() -> None:
    whole = join_clip_sets([set_of("a", name="one"), set_of("bcdef", name="two")])
    for number in (1, 2):
        part = choose_part(whole, PartOptions(number=number, of=2, heard="part"))
        assert part.rows_of_list == 6
        assert ["abcdef"[row] for row in part.rows_in_list] == list(names_of(part))


def test_the_parts_and_the_others_are_the_whole() -> None:
    whole = set_of("abcdefg")
    for number in (1, 2, 3):
        part, others = (
            choose_part(whole, PartOptions(number=number, of=3, heard=heard)) for heard in ("part", "others")
        )
        assert sorted(names_of(part) + names_of(others)) == sorted("abcdefg")
        assert (part.name, others.name) == (f"s_part_{number}_of_3", f"s_without_{number}_of_3")
        assert part.tags.keys() == set(names_of(part))
        assert [whole.clips[row].audio_id for row in part.rows_in_list] == list(names_of(part))  # for weight files


def test_joined_sets_stay_sets_of_their_own_stores() -> None:
    whole = join_clip_sets([set_of("abcd", name="x"), set_of("efgh", {"e": "g1", "f": "g1"}, name="y")])
    chosen = [choose_part(whole, PartOptions(number=number, of=2, heard="part")) for number in (1, 2)]
    assert sorted(names_of(chosen[0]) + names_of(chosen[1])) == sorted("abcdefgh")
    assert any({"e", "f"} <= set(names_of(part)) for part in chosen)
    for part in chosen:
        assert [one.name for one in part.parts] == [f"{name}_part_{chosen.index(part) + 1}_of_2" for name in "xy"]


def test_more_parts_than_groups_are_refused() -> None:
    with pytest.raises(CorpusError, match="s: 3 clips of 2 sources cannot be divided into 3 parts; take fewer"):
        divide(set_of("abc", {"a": "g", "b": "g"}), 3)
    with pytest.raises(ValueError, match="number 3 of 2 parts does not exist"):
        PartOptions(number=3, of=2)
