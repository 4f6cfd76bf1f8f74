"""Which clips are cut from one source, and that a source is never torn apart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from desed_task.errors import DesedTaskError, EventTableError, OptionsError
from desed_task.postprocessing.folds import assign_folds, group_by_column, group_by_pattern, source_of


@pytest.mark.parametrize(
    ("audio_id", "source"),
    [
        ("Y-0DLPzsiXXE_30.000_40.000", "-0DLPzsiXXE"),
        ("-0DLPzsiXXE_30.000_40.000", "-0DLPzsiXXE"),
        ("YY5J88_Yoy_Y_0.000_10.000", "Y5J88_Yoy_Y"),
        ("Y5J88_Yoy_Y_100_110", "Y5J88_Yoy_Y"),
        ("scene_00012", "scene_00012"),
        ("Y-0DLPzsiXXE_30.000", "Y-0DLPzsiXXE_30.000"),
    ],
)
def test_clips_of_one_video_have_one_source(audio_id: str, source: str) -> None:
    assert source_of(audio_id) == source


def test_a_source_is_never_torn_apart_and_folds_are_balanced() -> None:
    # five sources of 4 clips, ten of 1: 30 clips in 5 folds
    group_of_clip = {f"{s}_{k}": str(s) for s in range(5) for k in range(4)} | {f"x{s}": f"x{s}" for s in range(10)}
    folds = assign_folds(group_of_clip, 5, seed=0)
    assert all(
        len({folds[clip] for clip in group_of_clip if group_of_clip[clip] == g}) == 1 for g in map(str, range(5))
    )
    assert Counter(folds.values()) == dict.fromkeys(range(5), 6)
    assert assign_folds(group_of_clip, 5, seed=0) == folds
    assert assign_folds(group_of_clip, 5, seed=1) != folds


def test_fewer_sources_than_folds_are_refused() -> None:
    with pytest.raises(DesedTaskError, match="3 clips of 2 sources cannot be cut into 3 folds"):
        assign_folds({"a1": "a", "a2": "a", "b": "b"}, 3, seed=0)


def test_a_pattern_groups_by_what_its_parentheses_hold() -> None:
    assert group_by_pattern(["home_3_take1", "home_3_take2", "home_4_take1"], r"^(home_\d+)_") == {
        "home_3_take1": "home_3",
        "home_3_take2": "home_3",
        "home_4_take1": "home_4",
    }


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("[", "not a regular expression"),
        ("home", "has 0 groups in parentheses"),
        ("(a)(b)", "has 2 groups"),
        (r"(street_\d)", "finds nothing in home_1"),
    ],
)
def test_a_pattern_that_groups_nothing_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        group_by_pattern(["home_1"], pattern)


def test_a_column_groups_clips(tmp_path: Path) -> None:
    table = tmp_path / "places.tsv"
    table.write_text("filename\tplace\na.wav\tkitchen\nb.wav\tkitchen\nc.wav\tstreet\na.wav\tkitchen\n")
    assert group_by_column(["a", "c"], table, "place") == {"a": "kitchen", "c": "street"}
    with pytest.raises(EventTableError, match=r"no place of d \(1 clips in all\)"):
        group_by_column(["a", "d"], table, "place")
    with pytest.raises(EventTableError, match="no column 'room'"):
        group_by_column(["a"], table, "room")
    table.write_text("filename\tplace\na.wav\tkitchen\na.wav\tstreet\n")
    with pytest.raises(EventTableError, match="row 3: a stands twice with different place"):
        group_by_column(["a"], table, "place")
