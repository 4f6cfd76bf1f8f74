"""The index of a packed store: which recordings it holds, where each begins, and what each looked like when packed.

`<name>-<fingerprint>.json` beside `<name>-<fingerprint>.int16`. The fingerprint is of the sources (path, size and
modification time of every recording), the sample rate and this format, so a store is never found for sources that have
changed. Lengths and offsets are in samples; `sha256` is of a clip's little-endian int16 samples.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from desed_task.audio.records import status_of
from desed_task.clips import ClipSet
from desed_task.errors import AudioError, CorpusError

FORMAT = 2
SAMPLE_BYTES = 2
_INDEX_NAME = re.compile(r"(?P<name>.+)-[0-9a-f]{12}\.json")


class Source(NamedTuple):
    """A recording as it was: absolute path, bytes, time of its last change in nanoseconds."""

    path: str
    size: int
    mtime_ns: int


class PackedClip(NamedTuple):
    """One clip of a store: its samples and the hash of their bytes."""

    num_samples: int
    sha256: str


@dataclass(frozen=True)
class StoreIndex:
    """What a store holds; every tuple has one entry per clip."""

    name: str
    sample_rate: int
    audio_ids: tuple[str, ...]
    sources: tuple[Source, ...]
    lengths: tuple[int, ...]
    sha256: tuple[str, ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        """The first sample of each clip."""
        return tuple(accumulate(self.lengths, initial=0))[:-1]

    @property
    def num_bytes(self) -> int:
        """Size of the samples' file."""
        return SAMPLE_BYTES * sum(self.lengths)


def samples_path(index_path: Path) -> Path:
    """Where the samples of the store of this index lie."""
    return index_path.with_suffix(".int16")


def sources_of(clip_set: ClipSet) -> tuple[Source, ...]:
    """The recordings of a set as they now are on disk. AudioError names one that is not there."""
    folders: dict[Path, Path] = {}
    sources = []
    for clip in clip_set.clips:
        # The folder is resolved once and not for each of its ten thousand files.
        folder = folders.setdefault(clip.path.parent, clip.path.parent.resolve())
        try:
            status = status_of(clip.path)
        except OSError as error:
            raise AudioError(f"{clip.path}: cannot be read ({error.strerror}); fetch it again") from None
        sources.append(Source(str(folder / clip.path.name), *status))
    return tuple(sources)


def index_path_of(name: str, sources: Sequence[Source], folder: Path, sample_rate: int) -> Path:
    """Where the index of these sources lies, or would."""
    digest = hashlib.sha256(f"{FORMAT} {sample_rate}\n".encode())
    for source in sources:
        digest.update(f"{source.path} {source.size} {source.mtime_ns}\n".encode())
    return folder / f"{name}-{digest.hexdigest()[:12]}.json"


def name_of(index_path: Path) -> str | None:
    """The name of the set that an index is of, None for another file."""
    matched = _INDEX_NAME.fullmatch(index_path.name)
    return matched["name"] if matched else None


def write_index(index: StoreIndex, path: Path) -> None:
    """Write an index, whole or not at all."""
    columns = {
        "format": FORMAT,
        "name": index.name,
        "sample_rate": index.sample_rate,
        "audio_ids": index.audio_ids,
        "offsets": index.offsets,
        "lengths": index.lengths,
        "sha256": index.sha256,
        "sources": index.sources,
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(columns), encoding="utf-8")
    partial.replace(path)


def read_index(path: Path) -> StoreIndex:
    """Read an index and hold it against the size of its samples; CorpusError when they are no whole store."""
    remedy = "remove it and its other half, or let `recipes/prepare_data.py --clean` do so, and it is packed anew"
    columns = _read_json(path, remedy)
    if columns.get("format") != FORMAT:
        raise CorpusError(f"{path}: not a packed store of format {FORMAT} ({columns.get('format')!r}); {remedy}")
    try:
        index = StoreIndex(
            str(columns["name"]),
            int(columns["sample_rate"]),
            tuple(map(str, columns["audio_ids"])),
            tuple(Source(*source) for source in columns["sources"]),
            tuple(map(int, columns["lengths"])),
            tuple(map(str, columns["sha256"])),
        )
    except (KeyError, TypeError, ValueError):
        raise CorpusError(f"{path}: not the index of a packed store; {remedy}") from None
    if len({len(index.audio_ids), len(index.sources), len(index.lengths), len(index.sha256)}) != 1:
        raise CorpusError(f"{path}: its columns are not of one length; {remedy}")
    _require_size(samples_path(path), index.num_bytes, remedy)
    return index


def _read_json(path: Path, remedy: str) -> dict[str, Any]:
    try:
        columns = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except ValueError:
        raise CorpusError(f"{path}: not the index of a packed store, or cut off; {remedy}") from None
    if not isinstance(columns, dict):
        raise CorpusError(f"{path}: not the index of a packed store; {remedy}")
    return columns


def _require_size(path: Path, num_bytes: int, remedy: str) -> None:
    size = path.stat().st_size if path.is_file() else 0
    if size != num_bytes:
        raise CorpusError(f"{path}: {size} bytes, where its index promises {num_bytes}; {remedy}")
