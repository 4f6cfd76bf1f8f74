"""Any folder of recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from desed_task.clips import ClipSet
from desed_task.data.corpora.folder import FolderOptions, read_folder
from desed_task.errors import CorpusError


def record(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(round(seconds * 16000)), 16000)


def read(root: Path) -> ClipSet:
    return read_folder(FolderOptions(name="folder", root=root), "none")


def test_every_recording_below_the_root_with_its_own_duration(tmp_path: Path) -> None:
    record(tmp_path / "site" / "b.flac", 1.5)
    record(tmp_path / "site" / "morning" / "a.wav", 2.25)
    record(tmp_path / "site" / ".trash" / "z.wav", 1.0)
    (tmp_path / "site" / "notes.txt").write_text("x")
    (tmp_path / "site" / "._b.wav").write_text("x")
    clips = read(tmp_path / "site")
    assert [(clip.audio_id, clip.duration) for clip in clips.clips] == [("b", 1.5), ("a", 2.25)]
    assert (clips.name, clips.supervision) == ("site", "none")


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nowhere: no such folder of recordings"):
        read(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="no recordings here"):
        read(tmp_path)
    record(tmp_path / "a.wav", 1.0)
    with pytest.raises(CorpusError, match="a folder of recordings has no weak labels; use it with `supervision: none`"):
        read_folder(FolderOptions(name="folder", root=tmp_path), "weak")
    record(tmp_path / "sub" / "a.flac", 1.0)
    with pytest.raises(CorpusError, match=r"a\.wav and .*a\.flac are both called a; rename one"):
        read(tmp_path)
