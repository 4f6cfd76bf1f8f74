"""Chunk folders of fsd50k-pytorch: one-second pieces of recordings as files of their own, and their manifests.

    tr.csv, val.csv, eval.csv   files,labels,ext    path of the chunk, names joined by commas, the recording's name
    lbl_map.json                {name: number}

A chunk is called <recording>_<%04d>.wav and bears all labels of its recording. Existing folders are read; new ones need
no chunks on disk, a tagging source cuts its own. A chunk's recording is `recording_of` its name: scores of the chunks
of one recording are averaged to its own.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import Field

from desed_task.clips import ClipSet, Supervision
from desed_task.data.corpora.listed import (
    Listed,
    ListedPaths,
    build_listed_set,
    read_cells,
    require_weak,
    split_labels,
)
from desed_task.errors import CorpusError
from desed_task.events import audio_id_of
from desed_task.options import Options

COLUMNS = ("files", "labels", "ext")
LABEL_MAP = "lbl_map.json"


class ChunksOptions(Options):
    """The chunks of a manifest."""

    name: Literal["chunks"]
    table: Path = Field(description="tr.csv, val.csv or eval.csv with the columns files, labels, ext.")
    root: Path | None = Field(
        None, description="The folder with the chunks, where the manifest has relative paths or those of elsewhere."
    )
    title: str | None = Field(None, description="What the set is called; by default chunks and the manifest's name.")


def read_chunks(options: ChunksOptions, supervision: Supervision, labels: Collection[str] | None = None) -> ClipSet:
    """The chunks that are on disk, weakly labelled. CorpusError for what `build_listed_set` refuses."""
    name = options.title or f"chunks_{options.table.stem}"
    require_weak(name, supervision)
    paths = ListedPaths(options.root, options.table.parent)
    tags_of: dict[str, tuple[str, ...]] = {}
    rows = []
    for number, (written, text, recording) in read_cells(options.table, COLUMNS):
        if not written or not text:
            raise CorpusError(f"{options.table}, row {number}: files and labels must be given; write it again")
        if text not in tags_of:
            tags_of[text] = split_labels(text)
        path, is_there = paths.find(written)
        name_of_chunk = audio_id_of(path)
        rows.append(Listed(name_of_chunk, path, tags_of[text], is_there, recording or recording_of(name_of_chunk)))
    return build_listed_set(name, rows, options.table, supervision, labels)


def recording_of(chunk: str) -> str:
    """The recording of which a chunk is: 1234_0007 -> 1234."""
    recording, underscore, number = chunk.rpartition("_")
    return recording if underscore and number.isdecimal() else chunk


def write_label_map(names: Collection[str], path: Path) -> None:
    """Write {name: number}, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps({name: number for number, name in enumerate(names)}), encoding="utf-8")
    partial.replace(path)
