"""ClipSet: the clips of one source."""

from __future__ import annotations

from pathlib import Path

import pytest

from desed_task.clips import Clip, ClipSet, join_clip_sets
from desed_task.errors import CorpusError
from desed_task.events import Event

CLIPS = tuple(Clip(name, Path(f"{name}.wav"), 10.0) for name in ("a", "b", "c"))
STRONG = ClipSet(
    "synthetic",
    CLIPS,
    "strong",
    events={name: (Event(0.0, 1.0, "Dog"),) for name in ("a", "b")},
    tags={"a": ("Dog",), "b": ("Dog",)},
    missing=(Path("d.wav"), Path("e.wav")),
)


def test_a_set_says_how_many_of_the_listed_clips_are_there() -> None:
    assert (STRONG.files_present, STRONG.files_expected) == (3, 5)
    assert ClipSet("unlabeled", CLIPS, "none").files_expected == 3


def test_a_selection_knows_only_about_its_own_clips() -> None:
    selected = STRONG.select([2, 0], name="fold")
    assert (selected.name, [clip.audio_id for clip in selected.clips]) == ("fold", ["c", "a"])
    assert (list(selected.events), list(selected.tags)) == (["a"], ["a"])


def test_two_clips_of_one_name_are_refused() -> None:
    with pytest.raises(CorpusError, match=r"x: one/a.wav and two/a.wav are both called a"):
        ClipSet("x", (Clip("a", Path("one/a.wav"), 1.0), Clip("a", Path("two/a.wav"), 1.0)), "none")


def clip(name: str) -> Clip:
    return Clip(name, Path(f"{name}.wav"), 0.0)


def test_a_clip_keeps_its_row_of_the_list_when_sets_are_narrowed_and_joined() -> None:
    # of list a the rows 0 and 2 are on disk, of list b both rows
    a = ClipSet("a", (clip("a0"), clip("a2")), "weak", missing=(Path("a1.wav"),), listed_at=(0, 2))
    b = ClipSet("b", (clip("b0"), clip("b1")), "weak")
    assert (a.rows_in_list, b.rows_in_list) == ((0, 2), (0, 1))
    assert a.select([1]).listed_at == (2,)
    assert b.select([1]).listed_at == (1,)
    assert join_clip_sets([a, b]).listed_at == (0, 2, 3, 4)
    assert join_clip_sets([b, ClipSet("c", (clip("c0"),), "weak")]).listed_at == ()
