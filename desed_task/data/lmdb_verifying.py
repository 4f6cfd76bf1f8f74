"""Whether an LMDB is whole: its keys, every record's layout and checksum, and that each decodes to its last sample.

Files of somebody else have no checksums; of those everything but that is looked at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from tqdm import tqdm

from desed_task.audio.reading import read_recording
from desed_task.audio.records import LmdbFile, open_lmdb, record_of
from desed_task.data.decoding import in_threads
from desed_task.data.lmdb_index import Row, read_index, read_keys
from desed_task.data.lmdb_records import require_data_file
from desed_task.errors import AudioError, CorpusError


@dataclass(frozen=True)
class Verified:
    """What a file that is whole holds. has_checksums: whether its records were held against any."""

    num_records: int
    hours: float
    num_bytes: int
    has_checksums: bool


def verify_lmdb(named: Path, num_threads: int | None = None) -> Verified:
    """Read everything. CorpusError counts what is damaged and names the first of it."""
    path = require_data_file(named)
    file = open_lmdb(path, anew=True)
    with file.reading() as value_of:
        keys, index = read_keys(value_of, path), read_index(value_of, path)
    rows: Sequence[Row] = [] if index is None else index.rows()
    if len(set(keys)) != len(keys):
        raise CorpusError(f"{path}: __keys__ names a record twice; pack it again")
    if index is not None and (index.sha256 is None or len(rows) != len(keys)):
        raise CorpusError(f"{path}: {len(keys)} records, of which its index knows {len(rows)}; pack it again")
    checked = in_threads(_check(file), zip_longest(keys, rows), num_threads)
    results = list(tqdm(checked, total=len(keys), desc=f"verifying {path.name}", unit="clip", disable=None))
    faults = [result for result in results if isinstance(result, str)]
    if faults:
        raise CorpusError(
            f"{path}: {len(faults)} of {len(keys)} records are damaged, the first {faults[0]}; pack it again with "
            f"--overwrite"
        )
    seconds = sum(result for result in results if isinstance(result, float))
    return Verified(len(keys), seconds / 3600, path.stat().st_size, bool(rows))


def _check(file: LmdbFile) -> Callable[[tuple[bytes, Row | None]], float | str]:
    """A key and what its record should be -> its seconds, or its fault."""

    def check(expected: tuple[bytes, Row | None]) -> float | str:
        key, row = expected
        place = file.path / key.decode()
        with file.reading() as value_of:
            value = value_of(key)
            content = None if value is None else bytes(value)
        if content is None:
            return f"{place}: listed in __keys__ and not there"
        if row is not None and hashlib.sha256(content).digest() != row.sha256:
            return f"{place}: not as it was packed (SHA-256)"
        try:
            audio = bytes(record_of(memoryview(content), place).audio)
            info = read_recording(audio, row.sample_rate if row is not None else _OWN_RATE, name=str(place))[1]
        except AudioError as error:
            return str(error).partition(";")[0]
        return info.duration

    return check


# Any rate will do; decoding to the end is what is wanted.
_OWN_RATE = 16_000
