"""Packing recordings and their labels into an LMDB, in the layout of GISE-51.

Records are written in transactions of `write_frequency` into `<lmdb>.partial`, each with the rows of its records
(lmdb_index.py), so a packing that was killed at any moment goes on after its last transaction and writes the very
records of an uninterrupted one. The keys, their number and the checksum of all rows come last, in one transaction; then
the file takes its name. The map grows as it must. A lock keeps a second packer waiting, which then finds the file.

FLAC of one or more channels is taken as it is, once it is seen to decode; other recordings, and those that are to be
resampled or lengthened, become FLAC of one channel and 16 bits. The published script never uses its
--audio_min_duration; here shorter recordings are repeated up to it, and their events with them.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from desed_task.audio.reading import check_header, read_waveform
from desed_task.audio.record_layout import build_record, parse_flac
from desed_task.audio.records import close_lmdb, data_file_of, import_lmdb, open_lmdb, open_recording, status_of
from desed_task.data.decoding import in_threads
from desed_task.data.flac_files import encode_flac
from desed_task.data.lmdb_index import Row, read_index
from desed_task.data.lmdb_items import Item, TimedLabels
from desed_task.data.lmdb_records import partial_path
from desed_task.data.lmdb_writer import LmdbWriter
from desed_task.data.packing import to_int16
from desed_task.data.waiting_lock import alone_with
from desed_task.errors import CorpusError

LOG = logging.getLogger(__name__)

# A transaction ends earlier than asked for when it holds so much.
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class LmdbPacking:
    """Where an LMDB is packed, and how.

    sample_rate: Hz to resample to, None for each recording's own. min_seconds: shorter recordings are repeated.
    described: what the file says of its labels, such as their delimiter.
    """

    path: Path
    map_size: int
    write_frequency: int
    sample_rate: int | None = None
    min_seconds: float | None = None
    described: Mapping[str, Any] | None = None
    overwrite: bool = False
    num_threads: int | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the bytes of the records."""
        return {"sample_rate": self.sample_rate, "min_seconds": self.min_seconds, **(self.described or {})}


def pack_lmdb(items: Sequence[Item], packing: LmdbPacking) -> bool:
    """Make the LMDB of `items`, or complete it; False where it was complete.

    CorpusError for a file of other recordings, for recordings that changed since they were packed, and where nothing
    can be written; AudioError names a recording that does not decode.
    """
    if not items:
        raise CorpusError(f"{packing.path}: nothing to pack")
    target = data_file_of(packing.path)
    import_lmdb(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with alone_with(target.with_name(f".{target.name}.lock"), str(target), "packs"):
            if target.is_file() and not packing.overwrite:
                _require_same(items, packing, target)
                return False
            if target.is_file():  # an unfinished one may be what this very command began
                close_lmdb(target)
                target.unlink()
                partial_path(packing.path).unlink(missing_ok=True)
            _pack(items, packing, target)
            return True
    except OSError as error:
        raise CorpusError(f"{target}: cannot be written ({error.strerror}); make room, or name another place") from None


def _require_same(items: Sequence[Item], packing: LmdbPacking, target: Path) -> None:
    """CorpusError where a finished file is not that of `items`."""
    with open_lmdb(target, anew=True).reading() as value_of:
        index = read_index(value_of, target)
        if index is None:
            raise CorpusError(
                f"{target}: was not packed here; name another --lmdb_path, or replace it with --overwrite"
            )
        rows = index.rows()
    _require_settings(index.settings, packing, target)
    _require_rows(rows, items, target)
    if len(rows) != len(items):
        raise CorpusError(f"{target}: holds {len(rows)} of {len(items)} recordings; pack them anew with --overwrite")


def _pack(items: Sequence[Item], packing: LmdbPacking, target: Path) -> None:
    partial = partial_path(packing.path)
    lmdb = import_lmdb(partial)
    try:
        with _open_writer(items, packing, partial) as writer:
            if writer.rows:
                LOG.info("%s: %d recordings were packed before; going on", target, len(writer.rows))
            _write_items(items, packing, writer)
            writer.finish()
    except lmdb.Error as error:
        raise CorpusError(f"{partial}: cannot be written ({error}); make room and run the same command again") from None
    partial.replace(target)


def _open_writer(items: Sequence[Item], packing: LmdbPacking, partial: Path) -> LmdbWriter:
    """Where the recordings go; with `overwrite` a file that others began is begun anew."""
    writer = LmdbWriter(partial, packing.settings, packing.map_size)
    try:
        if writer.settings_before is not None:
            _require_settings(writer.settings_before, packing, partial)
        _require_rows(writer.rows, items, partial)
        return writer
    except CorpusError:
        writer.__exit__()
        if not packing.overwrite:
            raise
        partial.unlink()
        return LmdbWriter(partial, packing.settings, packing.map_size)


def _write_items(items: Sequence[Item], packing: LmdbPacking, writer: LmdbWriter) -> None:
    wanted = items[len(writer.rows) :]
    made = in_threads(lambda item: _make(item, packing), wanted, packing.num_threads)
    progress = tqdm(total=len(items), initial=len(writer.rows), unit="clip", disable=None)
    progress.set_description(f"packing {packing.path.name}")
    with progress:
        while batch := list(_batch(made, packing.write_frequency)):
            writer.write(batch)
            progress.update(len(batch))


def _batch(made: Iterator[tuple[Row, bytes]], most: int) -> Iterator[tuple[Row, bytes]]:
    """The records of one transaction."""
    num_bytes = 0
    for row, value in islice(made, most):
        yield row, value
        num_bytes += len(value)
        if num_bytes >= _MOST_BYTES:
            return


def _require_settings(before: Mapping[str, Any], packing: LmdbPacking, path: Path) -> None:
    for key in packing.settings.keys() | before.keys():
        if before.get(key) != packing.settings.get(key):
            raise CorpusError(
                f"{path}: was packed with {key} {before.get(key)!r}, not {packing.settings.get(key)!r}; take the same, "
                f"another --lmdb_path, or pack anew with --overwrite"
            )


def _require_rows(rows: Sequence[Row], items: Sequence[Item], path: Path) -> None:
    """CorpusError where what is packed is not the beginning of `items`, as they now are."""
    anew = "pack anew with --overwrite"
    if len(rows) > len(items):
        raise CorpusError(f"{path}: holds {len(rows)} recordings, of which {len(items)} are there; {anew}")
    for row, item in zip(rows, items, strict=False):
        if (row.audio_id, row.source) != (item.audio_id, item.source):
            raise CorpusError(f"{path}: holds {row.source} where now is {item.source}; {anew}")
        if (row.label, row.fold) != (item.label, item.fold) or not _has_events(row, item):
            raise CorpusError(f"{item.path}: its labels changed since it was packed; {anew}")
        size, mtime_ns = status_of(item.path)
        if size != row.source_size or (mtime_ns != row.source_mtime_ns and _sha256_of(item.path) != row.source_sha256):
            raise CorpusError(f"{item.path}: changed since it was packed; {anew}")


def _has_events(row: Row, item: Item) -> bool:
    """Whether a record's events are those of an item, or repeat them."""
    if row.events is None or item.events is None:
        return row.events is item.events
    return row.events[: len(item.events)] == item.events


def _make(item: Item, packing: LmdbPacking) -> tuple[Row, bytes]:
    """The row and the record of an item. AudioError when it does not decode."""
    status = status_of(item.path)
    with open_recording(item.path) as stream:
        content = stream.read()
    info = check_header(item.path)
    rate = packing.sample_rate or info.sample_rate
    samples = to_int16(read_waveform(content, rate, name=str(item.path)))
    flac = parse_flac(content)
    num_wanted = max(len(samples), int(rate * (packing.min_seconds or 0)))
    events = item.events
    if num_wanted > len(samples):
        events = _repeated(events, len(samples) / rate, num_wanted / rate)
        samples = np.resize(samples, num_wanted)  # numpy repeats to fill
        flac = None
    as_is = flac is not None and (flac.sample_rate, flac.num_samples) == (rate, len(samples))
    value = build_record(content if as_is else encode_flac(samples, rate), item.label, item.fold)
    row = Row(
        audio_id=item.audio_id,
        source=item.source,
        source_size=status.size,
        source_mtime_ns=status.mtime_ns,
        source_sha256=hashlib.sha256(content).digest(),
        sha256=hashlib.sha256(value).digest(),
        sample_rate=rate,
        num_samples=len(samples),
        label=item.label,
        fold=item.fold,
        events=events,
        group=item.group,
    )
    return row, value


def _repeated(events: TimedLabels | None, seconds: float, until: float) -> TimedLabels | None:
    """The events of a recording of `seconds` that is repeated until another time."""
    if events is None:
        return None
    starts = np.arange(0, until, seconds).tolist()
    times = [(start + on, min(start + off, until), label) for start in starts for on, off, label in events]
    return tuple(event for event in times if event[0] < event[1])


def _sha256_of(path: Path) -> bytes:
    with open_recording(path) as stream:
        return hashlib.file_digest(stream, "sha256").digest()
