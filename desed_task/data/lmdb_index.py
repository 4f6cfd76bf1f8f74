"""What our LMDBs say beside the published records; readers of the published layout ask for `__keys__` and no more.

    0, 1, 2 ...      records as audio/record_layout.py has them, keys as decimal numbers
    __keys__         the keys in their order     __len__   how many; both are written last, in one transaction
    __desed_task__   format, settings of the packing, number of parts; at the end the sha256 of all parts
    __part__0 ...    rows of the records of one transaction each: what a training must know without reading records

All are msgpack. A file without `__keys__` is unfinished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from desed_task.audio.records import KEYS, LENGTH, Lookup
from desed_task.errors import CorpusError

FORMAT = 1
HEADER = b"__desed_task__"
UNFINISHED = "unfinished (it has no __keys__ and __len__); run the command that packed it again"


class Row(NamedTuple):
    """One record.

    source: name of the file it is of, its bytes, time of change in nanoseconds, and sha256; sha256: of the record;
    num_samples at sample_rate; label and fold as in the record; events: (onset, offset, label), None where nobody knows
    their times; group: as ClipSet.groups, empty for a clip that stands alone.
    """

    audio_id: str
    source: str
    source_size: int
    source_mtime_ns: int
    source_sha256: bytes
    sha256: bytes
    sample_rate: int
    num_samples: int
    label: str | int
    fold: int | None
    events: tuple[tuple[float, float, str], ...] | None
    group: str


@dataclass(frozen=True)
class Index:
    """Settings of a packing, the rows of its parts, and the sha256 that the finished file says they have."""

    settings: Mapping[str, Any]
    parts: tuple[bytes, ...]
    sha256: bytes | None

    def rows(self) -> list[Row]:
        """One per record, in the order of the keys."""
        from msgpack import unpackb

        return [_row(columns) for part in self.parts for columns in unpackb(part)]


def part_key(number: int) -> bytes:
    """Where the rows of a transaction lie."""
    return f"__part__{number}".encode()


def build_header(settings: Mapping[str, Any], num_parts: int, sha256: bytes | None = None) -> bytes:
    """The value of `__desed_task__`."""
    from msgpack import packb

    header: bytes = packb({"format": FORMAT, "settings": dict(settings), "parts": num_parts, "sha256": sha256})
    return header


def build_part(rows: Sequence[Row]) -> bytes:
    """The value of a `__part__`."""
    from msgpack import packb

    part: bytes = packb(rows)
    return part


def digest_of(parts: Sequence[bytes]) -> bytes:
    """SHA-256 of all parts, one after another."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def read_keys(value_of: Lookup, path: Path) -> list[bytes]:
    """The keys in their order. CorpusError for a file that is unfinished or whose keys are none."""
    from msgpack import unpackb

    keys, length = value_of(KEYS), value_of(LENGTH)
    if keys is None or length is None:
        raise CorpusError(f"{path}: {UNFINISHED}")
    try:
        names, number = unpackb(keys, raw=True), unpackb(length)
        plain = [name if isinstance(name, bytes) else str(name).encode() for name in names]
    except (ValueError, TypeError) as error:
        raise CorpusError(f"{path}: __keys__ and __len__ are not as published ({error}); pack it again") from None
    if number != len(plain):
        raise CorpusError(f"{path}: __len__ is {number!r}, where __keys__ lists {len(plain)} records; pack it again")
    return plain


def read_index(value_of: Lookup, path: Path) -> Index | None:
    """What the packing left; None in a file of somebody else. CorpusError for one that is damaged or newer."""
    from msgpack import unpackb

    value = value_of(HEADER)
    if value is None:
        return None
    damaged = f"{path}: its index is damaged; pack it again"
    try:
        header = unpackb(value)
        if header["format"] != FORMAT:
            raise CorpusError(f"{path}: its index is of format {header['format']!r}, not {FORMAT}; pack it again")
        parts = [value_of(part_key(number)) for number in range(header["parts"])]
        settings, sha256 = dict(header["settings"]), header["sha256"]
    except (ValueError, TypeError, KeyError):
        raise CorpusError(damaged) from None
    whole = tuple(bytes(part) for part in parts if part is not None)
    if len(whole) != len(parts) or (sha256 is not None and digest_of(whole) != sha256):
        raise CorpusError(damaged)
    return Index(settings, whole, sha256)


def _row(columns: Sequence[Any]) -> Row:
    row = Row(*columns)
    return row if row.events is None else row._replace(events=tuple((on, off, label) for on, off, label in row.events))
