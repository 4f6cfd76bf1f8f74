"""Preparing sets for training: checked, packed, verified, and what came of each as a row of a table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from desed_task.clips import ClipSet
from desed_task.data.checking import check_recordings
from desed_task.data.store import PackedStore, is_packed, open_store, remove_old_stores, remove_store
from desed_task.data.store_index import SAMPLE_BYTES
from desed_task.errors import CorpusError

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Packing:
    """Where sets are packed, and how."""

    store: Path
    sample_rate: int
    num_threads: int | None = None
    verify: bool = False
    clean: bool = False


@dataclass(frozen=True)
class Prepared:
    """One set in its store."""

    name: str
    files_present: int
    files_expected: int
    hours: float
    num_bytes: int
    was_packed: bool


def prepare(clip_sets: Sequence[ClipSet], packing: Packing) -> list[Prepared]:
    """Check all sets, then pack each that is not packed. AudioError names what cannot be used, before anything else."""
    if packing.clean:
        for clip_set in clip_sets:
            for path in remove_old_stores(clip_set, packing.store, packing.sample_rate):
                LOG.info("removed %s", path)
    check_recordings(clip_sets, packing.store, packing.sample_rate, packing.num_threads)
    return [_prepare(clip_set, packing) for clip_set in clip_sets]


def format_prepared(rows: Sequence[Prepared], not_there: Sequence[str]) -> str:
    """The rows as a table: part, files present of expected, hours, MB, whether it was packed before."""
    table = [("part", "files", "hours", "MB", "store")]
    table += [
        (
            row.name,
            f"{row.files_present} of {row.files_expected}",
            f"{row.hours:.2f}",
            f"{row.num_bytes / 1e6:.1f}",
            "was packed" if row.was_packed else "packed",
        )
        for row in rows
    ]
    table += [(name, "not there", "", "", "") for name in not_there]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if position in (0, 4) else cell.rjust(width)
            for position, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


def _prepare(clip_set: ClipSet, packing: Packing) -> Prepared:
    was_packed = is_packed(clip_set, packing.store, packing.sample_rate)
    store = open_store(clip_set, packing.store, packing.sample_rate, packing.num_threads)
    if packing.verify:
        store, was_packed = _verified(store, clip_set, packing, was_packed)
    num_samples = int(store.lengths.sum())
    return Prepared(
        clip_set.name,
        clip_set.files_present,
        clip_set.files_expected,
        num_samples / packing.sample_rate / 3600,
        num_samples * SAMPLE_BYTES,
        was_packed,
    )


def _verified(store: PackedStore, clip_set: ClipSet, packing: Packing, was_packed: bool) -> tuple[PackedStore, bool]:
    """The store, read from end to end; with `clean` one that is not as it was packed is packed anew."""
    try:
        store.verify()
    except CorpusError as error:
        if not packing.clean:
            raise
        LOG.warning("%s", error)
        remove_store(store.index_path)
        return open_store(clip_set, packing.store, packing.sample_rate, packing.num_threads), False
    return store, was_packed
