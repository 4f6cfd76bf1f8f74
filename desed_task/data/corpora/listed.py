"""Clips that a table lists: those that are on disk become a weakly labelled set, the others are listed as missing.

Lists of tagging hold up to two million recordings. A folder is therefore listed once, however many of its files a table
names, and no recording is looked at by itself. A recording is also found under its name with another container's
suffix: many copies of AudioSet are FLAC or MP3 where the published lists say .wav.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from desed_task.clips import Clip, ClipSet, Supervision
from desed_task.data.corpora.listing import SUFFIXES
from desed_task.errors import CorpusError

# What a clip's duration is where nobody has read its header; nothing about tags depends on it.
UNKNOWN_SECONDS = 0.0


class Listed(NamedTuple):
    """A row of a list: the clip's name, where it lies or should lie, its classes, whether it is there, its group."""

    audio_id: str
    path: str
    tags: tuple[str, ...]
    is_there: bool
    group: str = ""


class Shelves:
    """What lies in which folder; each folder is listed when it is first asked for."""

    def __init__(self) -> None:
        self._names: dict[str, frozenset[str]] = {}
        self._by_stem: dict[str, Mapping[str, str]] = {}

    def find(self, folder: str, name: str) -> str | None:
        """The name under which a recording lies in `folder`, which may end in another suffix; None where it does not.

        A name without a suffix of audio is that of a recording of any container.
        """
        if name in self.names(folder):
            return name
        stem, _, suffix = name.rpartition(".")
        return self._stems(folder).get(stem if f".{suffix.lower()}" in SUFFIXES else name)

    def names(self, folder: str) -> frozenset[str]:
        """All names in a folder; none in one that is not there."""
        if folder not in self._names:
            try:
                with os.scandir(folder or "/") as entries:
                    self._names[folder] = frozenset(entry.name for entry in entries)
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]

    def _stems(self, folder: str) -> Mapping[str, str]:
        if folder not in self._by_stem:
            parts = ((name, *name.rpartition(".")) for name in sorted(self.names(folder), reverse=True))
            # Of several containers the alphabetically first, which puts flac before wav.
            self._by_stem[folder] = {
                stem: name for name, stem, _, suffix in parts if stem and f".{suffix.lower()}" in SUFFIXES
            }
        return self._by_stem[folder]


class ListedPaths:
    """Where the paths of a list lead.

    A relative path is one below `root`, or, without a root, below the list's folder `beside`. An absolute path that
    leads nowhere (the list was written on another machine) is looked for by its name in `root`.
    """

    def __init__(self, root: Path | None, beside: Path) -> None:
        self._shelves = Shelves()
        self._base, self._has_root = str(root if root is not None else beside), root is not None

    def find(self, written: str) -> tuple[str, bool]:
        """The path of a recording as the list has it -> where it lies or should lie, and whether it is there."""
        # By hand: path objects for two million rows take half a minute.
        is_absolute = written.startswith(("/", "\\")) or written[1:2] == ":"
        candidates = [written if is_absolute else f"{self._base}/{written}"]
        if is_absolute and self._has_root:
            candidates.append(f"{self._base}/{written.rpartition('/')[2]}")
        for candidate in candidates:
            folder, _, name = candidate.rpartition("/")
            found = self._shelves.find(folder, name)
            if found is not None:
                return f"{folder}/{found}", True
        return candidates[-1], False


def require_weak(name: str, supervision: Supervision) -> None:
    """CorpusError where times are asked for."""
    if supervision == "strong":
        raise CorpusError(f"{name}: has classes per clip and no times; use it with `supervision: weak` or none")


def build_listed_set(
    name: str,
    rows: Sequence[Listed],
    table: Path,
    supervision: Supervision,
    labels: Collection[str] | None,
    seconds: float = UNKNOWN_SECONDS,
) -> ClipSet:
    """The rows as a set. CorpusError when none of them is on disk, or a class is not in `labels`."""
    require_weak(name, supervision)
    if not rows:
        raise CorpusError(f"{table}: lists no recordings")
    if supervision == "weak" and labels is not None:
        _require_known(rows, table, labels)
    present = [row for row in rows if row.is_there]
    if not present:
        first = rows[0].path
        raise CorpusError(f"{table}: none of its {len(rows)} recordings is there (first {first}); correct `root`")
    return ClipSet(
        name,
        tuple(Clip(row.audio_id, Path(row.path), seconds) for row in present),
        supervision,
        tags={row.audio_id: row.tags for row in present},
        missing=tuple(Path(row.path) for row in rows if not row.is_there),
        listed_at=() if len(present) == len(rows) else tuple(n for n, row in enumerate(rows) if row.is_there),
        groups={row.audio_id: row.group for row in present if row.group},
    )


def read_table_text(table: Path) -> str:
    """A table's text; CorpusError where it cannot be read."""
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{table}: not a UTF-8 text table (byte {error.start}); fetch it again") from None
    except FileNotFoundError:
        raise CorpusError(f"{table}: no such table; correct the path, or fetch it") from None
    except OSError as error:
        raise CorpusError(f"{table}: cannot be read ({error.strerror})") from None


def read_cells(table: Path, columns: Sequence[str], delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """(row number, cells of `columns`) of a table with a header. CorpusError for a column or a cell that is not there.

    Spaces after a delimiter are no part of a cell.
    """
    reader = csv.reader(io.StringIO(read_table_text(table), newline=""), delimiter=delimiter, skipinitialspace=True)
    header = [cell.strip() for cell in next(reader, [])]
    absent = [column for column in columns if column not in header]
    if absent:
        here = ", ".join(header) or "none"
        raise CorpusError(f"{table}, row 1: no column {absent[0]!r} (columns here: {here}); it is another table")
    places = [header.index(column) for column in columns]
    for number, row in enumerate(reader, start=2):
        if not row:
            continue
        if len(row) <= max(places):
            raise CorpusError(f"{table}, row {number}: {len(row)} cells instead of {len(header)}; the row is cut off")
        yield number, [row[place] for place in places]


def split_labels(text: str, separator: str = ",") -> tuple[str, ...]:
    """Class names joined by a separator, each once, without outer spaces."""
    return tuple(dict.fromkeys(label for part in text.split(separator) if (label := part.strip())))


def _require_known(rows: Sequence[Listed], table: Path, labels: Collection[str]) -> None:
    accepted: set[tuple[str, ...]] = set()
    for row in rows:
        if row.tags in accepted:
            continue
        unknown = next((tag for tag in row.tags if tag not in labels), None)
        if unknown is not None:
            raise CorpusError(
                f"{table}: class {unknown!r} of {row.audio_id} is not in the label set; add it to `labels`, or correct "
                f"the table of classes"
            )
        accepted.add(row.tags)
