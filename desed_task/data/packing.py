"""Packing: every recording of a set decoded, resampled and averaged, its samples written one after another.

Beside the growing `.int16.partial` stands a journal, one line per finished clip (samples, hash). A packing that was
killed goes on after the last clip whose samples still have their hash, and ends with the very bytes of an uninterrupted
one. The index is written last: without it there is no store. A lock keeps a second packer of the same store waiting,
which then finds it complete.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.audio.reading import Waveform, read_waveform
from desed_task.clips import ClipSet
from desed_task.data.decoding import in_threads
from desed_task.data.store_index import (
    SAMPLE_BYTES,
    PackedClip,
    Source,
    StoreIndex,
    samples_path,
    sources_of,
    write_index,
)
from desed_task.data.waiting_lock import alone_with
from desed_task.errors import CorpusError, DesedTaskError

LOG = logging.getLogger(__name__)

FULL_SCALE = 32768.0
_BLOCK_BYTES = 1 << 20


def is_complete(index_path: Path) -> bool:
    """Whether both halves of a store are there."""
    return index_path.is_file() and samples_path(index_path).is_file()


def pack(
    clip_set: ClipSet,
    sources: Sequence[Source],
    index_path: Path,
    sample_rate: int,
    num_threads: int | None = None,
) -> None:
    """Make the store of `clip_set`, whose recordings are `sources`, or complete it. AudioError names a bad one."""
    if not clip_set.clips:
        raise CorpusError(f"{clip_set.name}: no recordings to pack")
    try:
        index_path.parent.mkdir(parents=True, exist_ok=True)
        with alone_with(lock_path(index_path), clip_set.name, "packs"):
            if not is_complete(index_path):
                _pack(clip_set, sources, index_path, sample_rate, num_threads)
    except OSError as error:
        raise CorpusError(f"{index_path.parent}: the store cannot be written ({error.strerror})") from None


def lock_path(index_path: Path) -> Path:
    """The file that a packer of this store holds."""
    return index_path.with_name(f".{index_path.stem}.lock")


def partial_paths(index_path: Path) -> tuple[Path, Path]:
    """The samples and the journal of a packing that goes on."""
    return index_path.with_suffix(".int16.partial"), index_path.with_suffix(".journal.partial")


def _pack(
    clip_set: ClipSet, sources: Sequence[Source], index_path: Path, sample_rate: int, num_threads: int | None
) -> None:
    samples, journal = partial_paths(index_path)
    try:
        packed = _write_samples(clip_set, index_path, sample_rate, num_threads)
        if sources_of(clip_set) != tuple(sources):
            raise CorpusError(f"{clip_set.name}: its recordings changed while they were packed; start again")
    except DesedTaskError:
        # Mending a recording changes the fingerprint, and nobody would come back for these.
        for path in (samples, journal):
            path.unlink(missing_ok=True)
        raise
    samples.replace(samples_path(index_path))
    audio_ids = tuple(clip.audio_id for clip in clip_set.clips)
    lengths, hashes = (tuple(column) for column in zip(*packed, strict=True))
    write_index(StoreIndex(clip_set.name, sample_rate, audio_ids, tuple(sources), lengths, hashes), index_path)
    journal.unlink()


def _write_samples(clip_set: ClipSet, index_path: Path, sample_rate: int, num_threads: int | None) -> list[PackedClip]:
    """All samples, one clip after another, those of an earlier packing kept."""
    samples, journal = partial_paths(index_path)
    packed = _recover(index_path)
    paths = [clip.path for clip in clip_set.clips][len(packed) :]
    decoded = in_threads(lambda path: _packed(path, sample_rate), paths, num_threads)
    with samples.open("ab") as stream, journal.open("a", encoding="ascii") as lines:
        # No bar where nobody watches (disable=None), so that a refusal stays one line in a log.
        progress = tqdm(total=len(clip_set.clips), initial=len(packed), unit="clip", disable=None)
        progress.set_description(f"packing {clip_set.name}")
        with progress:
            for clip, block in decoded:
                packed.append(clip)
                stream.write(block)
                stream.flush()
                # Only now: a line in the journal promises that the samples are in the file.
                lines.write(f"{clip.num_samples} {clip.sha256}\n")
                lines.flush()
                progress.update()
        os.fsync(stream.fileno())
    return packed


def _packed(path: Path, sample_rate: int) -> tuple[PackedClip, bytes]:
    block = to_int16(read_waveform(path, sample_rate)).tobytes()
    return PackedClip(len(block) // SAMPLE_BYTES, hashlib.sha256(block).hexdigest()), block


def _recover(index_path: Path) -> list[PackedClip]:
    """The clips an earlier packing finished, and its two files cut to them."""
    samples, journal = partial_paths(index_path)
    if not samples.exists() and samples_path(index_path).exists():
        # Killed between the two renames at its end, or its index was lost.
        samples_path(index_path).replace(samples)
    samples.touch()
    journal.touch()
    intact = []
    with samples.open("r+b") as stream:
        for clip in _read_journal(journal):
            if _hash_of(stream, clip.num_samples * SAMPLE_BYTES) != clip.sha256:
                break
            intact.append(clip)
        stream.truncate(SAMPLE_BYTES * sum(clip.num_samples for clip in intact))
    journal.write_text("".join(f"{clip.num_samples} {clip.sha256}\n" for clip in intact), encoding="ascii")
    if intact:
        LOG.info("%s: %d clips were packed before; going on", index_path.stem, len(intact))
    return intact


def _read_journal(path: Path) -> Iterator[PackedClip]:
    """Its whole lines; the last one may have been cut by whatever ended the packing."""
    for line in path.read_text(encoding="ascii", errors="replace").splitlines(keepends=True):
        num_samples, _, digest = line.partition(" ")
        if not (line.endswith("\n") and num_samples.isdecimal()):
            return
        yield PackedClip(int(num_samples), digest.strip())


def _hash_of(stream: BinaryIO, num_bytes: int) -> str:
    digest = hashlib.sha256()
    while num_bytes > 0:
        block = stream.read(min(num_bytes, _BLOCK_BYTES))
        if not block:
            return ""
        digest.update(block)
        num_bytes -= len(block)
    return digest.hexdigest()


def to_int16(waveform: Waveform) -> NDArray[np.int16]:
    """Round to 16 bits. Exact for 16-bit sources; resampling may overshoot full scale, which is clipped."""
    rounded: NDArray[np.int16] = np.rint(waveform * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1).astype("<i2")
    return rounded
