"""One file of stored embeddings: what it says of itself beside its layout, written whole or not at all.

Attributes of the file: `format`, `output` (which embedding `frame_embeddings` or `embeddings` is), `is_timed`,
`first_seconds` and `step_seconds` (middle of the first embedding frame, and from one to the next), and those of its
origin. The dataset `recordings` (clips,) has bytes, time of change and SHA-256 of each. Published files have none of
these.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from desed_task.embeddings.layouts import LAYOUTS, Block, Layout, LayoutName
from desed_task.embeddings.origin import Origin, Recording
from desed_task.errors import CorpusError

FORMAT = "desed_task embeddings 1"
# HDF5 1.8 and later read it; in older files ten thousand attributes (layout 2022) take half a minute to write.
_VERSION = ("v108", "v108")
_RECORDINGS = np.dtype([("num_bytes", "<i8"), ("mtime_ns", "<i8"), ("sha256", "S64")])


class Clock(NamedTuple):
    """Seconds of the middle of the first embedding frame, and from one to the next."""

    first: float
    step: float


class Contents(NamedTuple):
    """What a file says of its embeddings. clock: None where they do not follow the clip's time."""

    output: str
    clock: Clock | None
    origin: Origin


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An h5py.File for reading. CorpusError when it is not there, or when it or what is read of it is broken."""
    if not path.is_file():
        raise CorpusError(f"{path}: no such file of embeddings")
    try:
        # Many processes read, and nobody writes to a file that is there: no locks, which some file systems lack.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, LookupError, AttributeError, ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).strip("'\"").split())[:160]
        raise CorpusError(
            f"{path}: not readable as stored embeddings ({reason}); extract it with --overwrite, or fetch it again"
        ) from None


def read_contents(file: Any) -> Contents | None:
    """What an open file says; None for one that was not written here."""
    attributes = {name: file.attrs[name] for name in file.attrs}
    origin = Origin.from_attributes(attributes)
    if origin is None:
        return None
    if attributes["format"] != FORMAT:
        raise ValueError(f"format {attributes['format']}, this program reads {FORMAT}")
    timed = bool(attributes["is_timed"])
    clock = Clock(float(attributes["first_seconds"]), float(attributes["step_seconds"])) if timed else None
    return Contents(str(attributes["output"]), clock, origin)


def read_recordings(file: Any, rows: Sequence[int]) -> list[Recording] | None:
    """The recordings of some rows as they were; None for a file that does not say."""
    if "recordings" not in file:
        return None
    of_all = file["recordings"][:]
    return [
        Recording(int(of_all[row]["num_bytes"]), int(of_all[row]["mtime_ns"]), of_all[row]["sha256"].decode())
        for row in rows
    ]


def write_store(
    path: Path,
    layout: LayoutName,
    contents: Contents,
    recordings: dict[str, Recording],
    blocks: Iterable[Block],
) -> None:
    """Write a file. CorpusError when that cannot be.

    recordings: by audio_id, in the order of the clips that the blocks hold.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with h5py.File(partial, "w", libver=_VERSION, locking=False) as file:
            LAYOUTS[layout].write(file, list(recordings), blocks)
            file.create_dataset("recordings", data=np.array(list(recordings.values()), dtype=_RECORDINGS))
            clock = contents.clock or Clock(0.0, 0.0)
            said = {"format": FORMAT, "output": contents.output, "is_timed": contents.clock is not None}
            said |= {"first_seconds": clock.first, "step_seconds": clock.step, **contents.origin.as_attributes()}
            for name, value in said.items():
                file.attrs[name] = value
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be written ({error.strerror or error}); make room or name another") from None


def layout_named(name: LayoutName) -> Layout:
    """The layout of that name."""
    return LAYOUTS[name]
