"""Names of clips."""

from __future__ import annotations

import pytest

from desed_task.errors import OptionsError
from desed_task.options import check_options
from desed_task.soundscapes.files import FilesOptions

PUBLISHED = "soundscape_unimodal{within}_proc_{block:02d}"


def test_names_are_the_part_and_a_number() -> None:
    assert FilesOptions().names_of("train", 3) == ["train_00000", "train_00001", "train_00002"]


def test_the_published_names_count_within_blocks() -> None:
    files = check_options({"clip_name": PUBLISHED, "scenes_per_block": 5000}, FilesOptions)
    names = [files.name_of("train", index) for index in (0, 4999, 5000, 59_999)]
    assert names == [
        f"soundscape_unimodal{name}" for name in ("0_proc_00", "4999_proc_00", "0_proc_01", "4999_proc_11")
    ]


@pytest.mark.parametrize(
    ("clip_name", "sentence"),
    [
        ("{part}", "gives two scenes one name"),
        ("{within}", "gives two scenes one name"),
        ("{part}_{number}", "cannot be filled in"),
        ("{part", "cannot be filled in"),
        ("{part.x}{index}", "cannot be filled in"),
        ("../{index}", "becomes a file"),
        ("{index}.a", "becomes a file"),
    ],
)
def test_names_that_cannot_be_are_refused(clip_name: str, sentence: str) -> None:
    with pytest.raises(OptionsError, match=sentence):
        check_options({"clip_name": clip_name, "scenes_per_block": 10}, FilesOptions)


def test_names_that_meet_only_later_are_refused_when_they_do() -> None:
    # Of blocks of 200: scene 11 of block 1 and scene 1 of block 11.
    files = check_options({"clip_name": "{block}{within}", "scenes_per_block": 200}, FilesOptions)
    assert len(files.names_of("train", 200)) == 200
    with pytest.raises(OptionsError, match=r"files.clip_name '{block}{within}' gives two scenes one name"):
        files.names_of("train", 2400)
