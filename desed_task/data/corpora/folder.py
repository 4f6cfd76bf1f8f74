"""Any folder of recordings, nothing known about them: unlabeled training data, and what a detector shall listen to."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import Field

from desed_task.clips import Clip, ClipSet, Supervision
from desed_task.data.checking import read_true_durations
from desed_task.data.corpora.listing import walk_recordings
from desed_task.errors import CorpusError
from desed_task.events import audio_id_of
from desed_task.options import Options


class FolderOptions(Options):
    """Every recording of a folder and its subfolders."""

    name: Literal["folder"]
    root: Path = Field(description="The folder with the recordings; names without extension must differ.")


def read_folder(
    options: FolderOptions,
    supervision: Supervision,
    labels: Collection[str] | None = None,  # noqa: ARG001 (every corpus is called alike)
) -> ClipSet:
    """The recordings below the root, with the durations of their headers; CorpusError without any, or for labels."""
    root = options.root
    if supervision != "none":
        raise CorpusError(
            f"{root}: a folder of recordings has no {supervision} labels; use it with `supervision: none`"
        )
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder of recordings; correct `root`")
    paths = walk_recordings(root)
    if not paths:
        raise CorpusError(f"{root}: no recordings here (wav, flac, ogg, mp3 ...); correct `root`")
    name = root.resolve().name
    clips = read_true_durations([Clip(audio_id_of(path.name), path, 0.0) for path in paths], name)
    return ClipSet(name, tuple(clips), supervision)
