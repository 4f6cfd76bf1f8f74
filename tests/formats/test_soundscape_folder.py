"""What stands in a folder of soundscapes beside the audio."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from desed_task.events import Event
from desed_task.formats.dcase import read_durations, read_strong
from desed_task.formats.soundscape_folder import lacks_nothing, write_event_lists, write_label_numbers, write_tables
from desed_task.soundscapes.generate import SceneRow

ROWS = [
    SceneRow(
        "a", "a.flac", 5.0, (Event(0.5, 1.25, "Dog"), Event(1 / 3, 2.0, "Cat")), (("Dog", "d1"), ("background", "b"))
    ),
    SceneRow("b", "b.flac", 5.0, (), (("background", "b"),)),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    for row in ROWS:
        (tmp_path / "audio" / row.filename).touch()
    return tmp_path


def test_a_list_has_a_line_per_event_and_loses_no_digit(folder: Path) -> None:
    write_event_lists(folder, ROWS)
    assert (folder / "audio" / "a.txt").read_text() == f"0.5\t1.25\tDog\n{1 / 3!r}\t2.0\tCat\n"
    assert (folder / "audio" / "b.txt").read_text() == ""


def test_tables_name_the_files_in_their_container(folder: Path) -> None:
    write_tables(folder, ROWS)
    assert read_durations(folder / "durations.tsv") == {"a.flac": 5.0, "b.flac": 5.0}
    assert {event.event_label for event in read_strong(folder / "soundscapes.tsv").of("a.flac")} == {"Cat", "Dog"}
    assert (folder / "sources.tsv").read_text().splitlines()[1:] == [
        "a\tDog\td1",
        "a\tbackground\tb",
        "b\tbackground\tb",
    ]


def test_a_folder_is_complete_when_nothing_that_is_wanted_is_missing(folder: Path) -> None:
    assert not lacks_nothing(folder, "ab", "flac", ())
    write_tables(folder, ROWS)
    assert lacks_nothing(folder, "ab", "flac", ())
    assert not lacks_nothing(folder, "ab", "wav", ())
    assert not lacks_nothing(folder, "abc", "flac", ())
    assert not lacks_nothing(folder, "ab", "flac", ["audio/txt"])
    write_event_lists(folder, ROWS)
    assert lacks_nothing(folder, "ab", "flac", ["audio/txt"])
    assert not lacks_nothing(folder, "ab", "flac", ["audio/txt", "jams/jams"])


def test_labels_are_numbered_in_their_order(tmp_path: Path) -> None:
    write_label_numbers(("Dog", "Cat"), tmp_path / "lbl_map.json")
    assert json.loads((tmp_path / "lbl_map.json").read_text()) == {"Dog": 0, "Cat": 1}
