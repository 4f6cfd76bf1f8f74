"""What stored embeddings were made of: the embedder, its weights, and the recordings as they were.

An origin stands in the attributes of every file that is written here, in the published layouts too (readers of those do
not look at them). A store of another embedder, or of recordings that have changed since, is refused and never mixed in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from desed_task.audio.records import open_recording, status_of
from desed_task.errors import CorpusError


class Origin(NamedTuple):
    """What made embeddings.

    embedder: the options that decide its numbers, as plain values; weights: SHA-256 of their file, empty where it is
    not known; clip_seconds: length that every clip was padded to.
    """

    embedder: Mapping[str, Any]
    weights: str
    clip_seconds: float

    def difference(self, other: Origin) -> str | None:
        """The first thing in which two differ, in words; None for the same. What one does not know counts as equal."""
        if self.clip_seconds != other.clip_seconds:
            return f"clips of {self.clip_seconds:g} s for {other.clip_seconds:g} s"
        mine, theirs = dict(_leaves(self.embedder)), dict(_leaves(other.embedder))
        for key in mine.keys() & theirs.keys():
            if mine[key] != theirs[key]:
                return f"{key} {mine[key]} for {theirs[key]}"
        if self.weights and other.weights and self.weights != other.weights:
            return f"weights {self.weights[:12]} for {other.weights[:12]} (SHA-256)"
        return None

    def as_attributes(self) -> dict[str, Any]:
        """As attributes of a file."""
        embedder = json.dumps(self.embedder, sort_keys=True)
        return {"embedder": embedder, "weights_sha256": self.weights, "clip_seconds": self.clip_seconds}

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> Origin | None:
        """None for a file that does not say; ValueError or KeyError for one that says it in other words."""
        if "embedder" not in attributes:
            return None
        embedder = json.loads(str(attributes["embedder"]))
        return cls(embedder, str(attributes["weights_sha256"]), float(attributes["clip_seconds"]))


class Recording(NamedTuple):
    """A recording as it was: bytes, time of its last change in nanoseconds, SHA-256 of its bytes."""

    num_bytes: int
    mtime_ns: int
    sha256: str


def recording_of(path: Path) -> Recording:
    """A recording as it is now, read from end to end. CorpusError when it cannot be."""
    try:
        return Recording(*status_of(path), _sha256(path))
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); fetch it again") from None


def is_unchanged(path: Path, before: Recording) -> bool:
    """Whether a recording is what it was; it is read only where its time differs and its size does not."""
    try:
        size, mtime_ns = status_of(path)
        if size != before.num_bytes:
            return False
        return mtime_ns == before.mtime_ns or _sha256_at(path, mtime_ns) == before.sha256
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); fetch it again") from None


@cache  # several stores and readers ask of the same recordings
def _sha256_at(path: Path, _mtime_ns: int) -> str:
    return _sha256(path)


def _sha256(path: Path) -> str:
    with open_recording(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and value of everything in a tree; a list is one value."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", json.dumps(value)
