"""What is known of the records of an LMDB: from its index, or, in a file of somebody else, from the records themselves.

Reading the records of 60,000 mixtures means reading their file once, from its beginning to its end; ours are known in
a second.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from desed_task.audio.reading import read_recording
from desed_task.audio.record_layout import parse_flac
from desed_task.audio.records import DATA_FILE, LmdbFile, Lookup, data_file_of, import_lmdb, open_lmdb, record_of
from desed_task.data.lmdb_index import UNFINISHED, Index, read_index, read_keys
from desed_task.errors import CorpusError

_ANY_RATE = 16_000


class KnownRecord(NamedTuple):
    """One record: num_samples at its own sample_rate; the other columns as those of lmdb_index.Row."""

    key: bytes
    audio_id: str
    sample_rate: int
    num_samples: int
    label: str | int
    fold: int | None
    events: tuple[tuple[float, float, str], ...] | None
    group: str

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.num_samples / self.sample_rate


def require_data_file(named: Path) -> Path:
    """The file of the LMDB that is named; CorpusError where there is none, or an unfinished one."""
    path = data_file_of(named)
    if path.is_file():
        return path
    if partial_path(named).is_file():
        raise CorpusError(f"{named}: {UNFINISHED}")
    raise CorpusError(f"{named}: no such LMDB; correct its path, or pack it with recipes/pack_lmdb.py")


def partial_path(named: Path) -> Path:
    """Where the LMDB that is named is while it is packed."""
    path = data_file_of(named)
    return path.with_name(f"{path.name}.partial")


def stem_of(path: Path) -> str:
    """What clips of a data file are called after: train of train.lmdb, train/data.mdb, train.lmdb/data.mdb."""
    resolved = path.resolve()
    name = resolved.parent.name if resolved.name == DATA_FILE else resolved.name
    return re.sub(r"[^\w-]+", "_", name.removesuffix(".lmdb")).strip("_") or "lmdb"


def read_records(path: Path) -> list[KnownRecord]:
    """Every record of a data file, in the order of its keys. CorpusError or AudioError for a file that is not whole."""
    import_lmdb(path)
    file = open_lmdb(path, anew=True)
    with file.reading() as value_of:
        keys = read_keys(value_of, path)
        index = read_index(value_of, path)
        if index is not None:
            return _from_index(index, keys, path)
        progress = tqdm(keys, desc=f"reading {path.name}", unit="clip", disable=None)
        return [_from_record(value_of, key, file) for key in progress]


def read_settings(path: Path) -> Mapping[str, Any]:
    """What a packing of ours says of its labels (delimiter, class_names); nothing in a file of somebody else."""
    with open_lmdb(path).reading() as value_of:
        index = read_index(value_of, path)
        return {} if index is None else index.settings


def _from_index(index: Index, keys: Sequence[bytes], path: Path) -> list[KnownRecord]:
    rows = index.rows()
    if len(rows) != len(keys):
        raise CorpusError(f"{path}: {len(keys)} records, of which its index knows {len(rows)}; pack it again")
    return [
        KnownRecord(key, row.audio_id, row.sample_rate, row.num_samples, row.label, row.fold, row.events, row.group)
        for key, row in zip(keys, rows, strict=True)
    ]


def _from_record(value_of: Lookup, key: bytes, file: LmdbFile) -> KnownRecord:
    place = file.path / key.decode()
    value = value_of(key)
    if value is None:
        raise CorpusError(f"{place}: listed in __keys__ and not there; pack the LMDB again")
    record = record_of(value, place)
    info = parse_flac(record.audio)
    if info is not None and info.sample_rate and info.num_samples:
        rate, num_samples = info.sample_rate, info.num_samples
    else:  # a container of another kind, or FLAC that does not state its length
        decoded = read_recording(bytes(record.audio), _ANY_RATE, name=str(place))[1]
        rate, num_samples = decoded.sample_rate, round(decoded.duration * decoded.sample_rate)
    audio_id = f"{stem_of(file.path)}_{key.decode()}"
    return KnownRecord(key, audio_id, rate, num_samples, record.label, record.fold, None, "")
