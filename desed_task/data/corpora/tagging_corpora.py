"""Every corpus that a tagger can be trained or scored on: one line here and one file each."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Any

from pydantic import Field

from desed_task.clips import ClipSet, Supervision
from desed_task.data.corpora.audioset import AudioSetOptions, read_audioset
from desed_task.data.corpora.chunks import ChunksOptions, read_chunks
from desed_task.data.corpora.desed import DesedOptions, read_desed
from desed_task.data.corpora.esc import EscOptions, read_esc
from desed_task.data.corpora.folder import FolderOptions, read_folder
from desed_task.data.corpora.fsd50k import Fsd50kOptions, read_fsd50k
from desed_task.data.corpora.lmdb import LmdbOptions, read_lmdb
from desed_task.data.corpora.manifest import ManifestOptions, read_manifest
from desed_task.data.corpora.soundscapes import SoundscapesOptions, read_soundscapes
from desed_task.data.corpora.vggsound import VggSoundOptions, read_vggsound

TaggingCorpus = Annotated[
    AudioSetOptions
    | ChunksOptions
    | DesedOptions
    | EscOptions
    | FolderOptions
    | Fsd50kOptions
    | LmdbOptions
    | ManifestOptions
    | SoundscapesOptions
    | VggSoundOptions,
    Field(discriminator="name"),
]
TAGGING_CORPORA: dict[str, Callable[[Any, Supervision, Collection[str] | None], ClipSet]] = {
    "audioset": read_audioset,
    "chunks": read_chunks,
    "desed": read_desed,
    "esc10": read_esc,
    "esc50": read_esc,
    "folder": read_folder,
    "fsd50k": read_fsd50k,
    "lmdb": read_lmdb,
    "manifest": read_manifest,
    "soundscapes": read_soundscapes,
    "vggsound": read_vggsound,
}
