"""The list of clips that are on disk, and what reads it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from desed_task.audio.reading import write_waveform
from desed_task.data.corpora.audioset import AudioSetOptions, read_audioset
from desed_task.errors import OptionsError
from desed_task.labelling.label_lists import read_label_list
from recipes.write_list import main

CLASSES = 'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/05zppz,"Male speech, man speaking"\n'
SEGMENTS = '# 1\n# 2\n# 3\naa, 0.0, 10.0, "/m/09x0r,/m/05zppz"\nbb, 0.0, 10.0, "/m/09x0r"\ncc, 5.0, 15.0, "/m/05zppz"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three segments, the second of which could not be had."""
    (tmp_path / "class_labels_indices.csv").write_text(CLASSES, encoding="utf-8")
    (tmp_path / "segments.csv").write_text(SEGMENTS, encoding="utf-8")
    (tmp_path / "audio").mkdir()
    for name in ("aa", "Ycc"):
        write_waveform(tmp_path / "audio" / f"{name}.wav", np.zeros(160, dtype=np.float32), 16_000)
    return tmp_path


def flags(root: Path) -> list[str]:
    return ["--table", f"{root}/segments.csv", "--root", f"{root}/audio", "--output", f"{root}/list.json"]


def test_clips_on_disk_are_listed_with_their_mids(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags(root)) == 0
    rows = json.loads((root / "list.json").read_text(encoding="utf-8"))["data"]
    assert [(Path(row["wav"]).name, row["labels"]) for row in rows] == [
        ("aa.wav", "/m/09x0r,/m/05zppz"),
        ("Ycc.wav", "/m/05zppz"),
    ]
    assert "2 clips, 1 are not on disk" in capsys.readouterr().out


def test_the_folder_of_the_list_is_made(root: Path) -> None:
    assert main([*flags(root)[:-1], f"{root}/new/list.json"]) == 0
    assert (root / "new" / "list.json").is_file()


def test_the_list_is_read_back_and_can_be_enhanced(root: Path) -> None:
    main(flags(root))
    clips = read_audioset(AudioSetOptions(name="audioset", table=root / "list.json"), "weak")
    assert clips.tags == {"aa": ("Speech", "Male speech, man speaking"), "Ycc": ("Male speech, man speaking",)}
    assert read_label_list(root / "list.json", ("/m/09x0r", "/m/05zppz")).labels == ((0, 1), (1,))


def test_two_tables_are_one_list_in_their_order(root: Path) -> None:
    twice = ["--table", *[f"{root}/segments.csv"] * 2, "--root", *[f"{root}/audio"] * 2, "--output", f"{root}/l.json"]
    assert main(twice) == 0
    rows = json.loads((root / "l.json").read_text(encoding="utf-8"))["data"]
    assert len(rows) == 4
    assert rows[:2] == rows[2:]


def test_a_folder_is_needed_for_each_table(root: Path) -> None:
    with pytest.raises(OptionsError, match="name one per --table"):
        main([*flags(root), "--root", f"{root}/audio", f"{root}/audio"])
