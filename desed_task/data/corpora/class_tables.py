"""Tables of classes: names in the order of the class axis, and the identifiers (mids) under which lists name them.

    class_labels_indices.csv  index,mid,display_name   AudioSet, PSLA, AST, PANNs; also FSD50K as PSLA has it
    vocabulary.csv            0,Accelerating,/m/07q    FSD50K, no header
    lbl_map.json              {"Accelerating": 0}      fsd50k-pytorch, GISE-51; or a list of names
    anything else             one name per line

Display names of AudioSet hold commas ("Male speech, man speaking"), which their lists also put between names; mids hold
none. GISE-51 numbers the classes of AudioSet alphabetically, the published AudioSet systems in the order of their
table: take the table that belongs to the weights.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from desed_task.data.corpora.listed import read_table_text
from desed_task.errors import CorpusError, DesedTaskError
from desed_task.labels import LabelSet

_HEADER = ("index", "mid", "display_name")


@dataclass(frozen=True)
class ClassTable:
    """Classes in their order. mids: one per class, or none at all."""

    names: tuple[str, ...]
    mids: tuple[str, ...] = ()

    @cached_property
    def name_of(self) -> Mapping[str, str]:
        """Mid or name -> name."""
        return dict(zip(self.names, self.names, strict=True)) | dict(zip(self.mids, self.names, strict=bool(self.mids)))

    def split(self, text: str, separator: str = ",") -> tuple[str, ...]:
        """Names or mids joined by a separator -> names, each once; the longest name wins where names hold it too.

        KeyError of the first piece that begins no class.
        """
        pieces = text.split(separator)
        found: dict[str, None] = {}
        first = 0
        while first < len(pieces):
            first, name = self._longest(pieces, first, separator)
            if name is not None:
                found[name] = None
        return tuple(found)

    def _longest(self, pieces: Sequence[str], first: int, separator: str) -> tuple[int, str | None]:
        """(where the next class begins, the class that begins at `first`; None where nothing stands there)."""
        for last in range(min(len(pieces), first + self._most_pieces(separator)), first, -1):
            name = self.name_of.get(separator.join(pieces[first:last]).strip())
            if name is not None:
                return last, name
        if not pieces[first].strip():
            return first + 1, None
        raise KeyError(pieces[first].strip())

    def _most_pieces(self, separator: str) -> int:
        if separator not in self._pieces:
            self._pieces[separator] = 1 + max(name.count(separator) for name in self.names)
        return self._pieces[separator]

    @cached_property
    def _pieces(self) -> dict[str, int]:
        return {}


def read_class_names(path: Path) -> tuple[str, ...]:
    """The names of a table of any of these kinds, in the order of the class axis; CorpusError for another."""
    return read_class_table(path).names


def read_class_table(path: Path) -> ClassTable:
    """A table of any of these kinds; CorpusError for another."""
    text = read_table_text(path)
    suffix = path.suffix.lower()
    if suffix == ".json":
        table = _of_json(text, path)
    elif suffix == ".csv":
        table = _of_csv(text, path)
    else:
        table = ClassTable(tuple(name for line in text.splitlines() if (name := line.strip())))
    try:
        LabelSet(table.names)
    except DesedTaskError as error:
        raise CorpusError(f"{path}: {error}") from None
    return table


def _of_csv(text: str, path: Path) -> ClassTable:
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), skipinitialspace=True) if row]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if set(_HEADER) <= set(header):
        places = [header.index(column) for column in _HEADER]
        rows, numbered = rows[1:], 2
    elif header and header[0].isdecimal():
        is_mid_second = len(rows[0]) > 1 and rows[0][1].startswith("/")
        places, numbered = ([0, 1, 2] if is_mid_second else [0, 2, 1]), 1
    else:
        raise CorpusError(
            f"{path}, row 1: neither the columns {', '.join(_HEADER)} nor a class number; a text file (.txt) holds one "
            f"name per line"
        )
    entries = []
    for number, row in enumerate(rows, start=numbered):
        if len(row) <= max(places) or not row[places[0]].strip().isdecimal():
            raise CorpusError(f"{path}, row {number}: must hold a class number, a mid and a name")
        index, mid, name = (row[place].strip() for place in places)
        entries.append((int(index), name, mid))
    entries = _in_order(entries, path)
    return ClassTable(tuple(name for _, name, _ in entries), tuple(mid for _, _, mid in entries))


def _of_json(text: str, path: Path) -> ClassTable:
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise CorpusError(f"{path}: not valid JSON ({error})") from None
    if isinstance(tree, list) and all(isinstance(name, str) for name in tree):
        return ClassTable(tuple(tree))
    if not isinstance(tree, dict) or not all(isinstance(index, int) for index in tree.values()):
        raise CorpusError(f'{path}: no map of classes; write {{"name": 0, ...}} or a list of names')
    return ClassTable(tuple(name for _, name in _in_order([(index, name) for name, index in tree.items()], path)))


def _in_order(entries: list[Any], path: Path) -> list[Any]:
    """Entries by their number; CorpusError unless these are 0, 1, 2 ..."""
    entries = sorted(entries, key=lambda entry: entry[0])
    wrong = next((place for place, entry in enumerate(entries) if entry[0] != place), None)
    if wrong is not None:
        raise CorpusError(f"{path}: class numbers must be 0 to {len(entries) - 1}, each once; {wrong} is not there")
    return entries
