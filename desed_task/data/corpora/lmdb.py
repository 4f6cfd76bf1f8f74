"""Recordings and their labels in an LMDB: GISE-51's layout, and what recipes/pack_lmdb.py writes.

    0, 1, 2 ...            msgpack of (FLAC file, labels joined by a delimiter), or (FLAC file, class number, fold)
    __keys__, __len__      the keys in their order, and how many

A file (or, as LMDB has it by default, a folder with data.mdb). AudioSet's labels are joined by `;`. Class numbers are
those of `label_map`, else of the file itself where we packed it, else of the conf's labels. Clips of published files
are called by the file's name and their key; ours keep the names of their recordings and, where these were known, the
times of their events: such a file also trains detectors (`supervision: strong`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from desed_task.clips import Clip, ClipSet, HeardFrom, Supervision, tags_of
from desed_task.data.corpora.class_tables import ClassTable, read_class_names
from desed_task.data.corpora.listed import split_labels
from desed_task.data.lmdb_records import KnownRecord, read_records, read_settings, require_data_file, stem_of
from desed_task.errors import CorpusError, EventTableError
from desed_task.events import Event
from desed_task.options import Options


class LmdbOptions(Options):
    """The clips of an LMDB."""

    name: Literal["lmdb"]
    path: Path = Field(description="The LMDB: a file, or a folder with data.mdb.")
    delimiter: str = Field(
        ",", min_length=1, description="Between the labels of a clip, in a file that does not say it; AudioSet: ';'."
    )
    folds: tuple[int, ...] | None = Field(
        None, description="Only the records of these folds, such as [1, 2]; all where not given."
    )
    label_map: Path | None = Field(
        None, description="Names of class numbers (lbl_map.json); by default the file's own, or the order of `labels`."
    )
    decode: Literal["heard", "once"] = Field(
        "heard", description="Decode a clip each time it is heard, or all once into the packed store."
    )
    in_memory: bool = Field(False, description="Copy the undecoded recordings into memory before the first batch.")

    @model_validator(mode="after")
    def _consistent(self) -> LmdbOptions:
        if self.in_memory and self.decode == "once":
            raise ValueError(
                "in_memory is for recordings that are decoded when they are heard; the packed store of `decode: once` "
                "is brought into memory by data.residence: resident"
            )
        return self


def read_lmdb(options: LmdbOptions, supervision: Supervision, labels: Collection[str] | None = None) -> ClipSet:
    """The clips of the file, of the classes in `labels` where they are given.

    CorpusError for a file that is missing, unfinished or damaged, a class that is not in `labels`, and where times are
    asked for that the file does not have.
    """
    path = require_data_file(options.path)
    known = [record for record in read_records(path) if _is_chosen(record, options.folds)]
    if not known:
        chosen = "" if options.folds is None else f" of fold {list(options.folds)}"
        raise CorpusError(f"{options.path}: holds no record{chosen}")
    names = _Names(options, labels, read_settings(path))
    name = _name_of(options, path)
    heard_from: HeardFrom = "store" if options.decode == "once" else "memory" if options.in_memory else "lmdb"
    clips = tuple(Clip(record.audio_id, path / record.key.decode(), record.seconds) for record in known)
    groups = {record.audio_id: record.group for record in known if record.group}
    if supervision == "strong":
        events = {record.audio_id: _events_of(record, options.path, labels) for record in known}
        return ClipSet(name, clips, supervision, events, tags_of(events), groups=groups, heard_from=heard_from)
    asked = labels if supervision == "weak" else None
    tags = {record.audio_id: names.of(record, asked) for record in known}
    return ClipSet(name, clips, supervision, tags=tags, groups=groups, heard_from=heard_from)


def _is_chosen(record: KnownRecord, folds: tuple[int, ...] | None) -> bool:
    return folds is None or record.fold in folds


class _Names:
    """Labels of records -> names of classes; equal labels are looked at once."""

    def __init__(self, options: LmdbOptions, labels: Collection[str] | None, settings: Mapping[str, Any]) -> None:
        """settings: what the file says of its labels."""
        self._path = options.path
        self._delimiter: str = settings.get("delimiter") or options.delimiter
        self._numbered: Sequence[str] = tuple(settings.get("class_names") or labels or ())
        if options.label_map is not None:
            self._numbered = read_class_names(options.label_map)
        self._table = ClassTable(tuple(labels)) if labels is not None else None
        self._known: dict[str | int, tuple[str, ...]] = {}

    def of(self, record: KnownRecord, labels: Collection[str] | None) -> tuple[str, ...]:
        """The classes of a record. CorpusError for one that is not in `labels`."""
        if record.label not in self._known:
            self._known[record.label] = self._split(record, labels)
        return self._known[record.label]

    def _split(self, record: KnownRecord, labels: Collection[str] | None) -> tuple[str, ...]:
        place = f"{self._path}, record {record.key.decode()}"
        if isinstance(record.label, int):
            return self._numbered_class(record.label, place, labels)
        if labels is None or self._table is None:
            return split_labels(record.label, self._delimiter)
        try:
            return self._table.split(record.label, self._delimiter)
        except KeyError as error:
            raise CorpusError(
                f"{place}: class {error.args[0]!r} is not in the label set; add it to `labels`, or correct `delimiter` "
                f"({self._delimiter!r})"
            ) from None

    def _numbered_class(self, number: int, place: str, labels: Collection[str] | None) -> tuple[str, ...]:
        if not 0 <= number < len(self._numbered):
            if labels is None and not self._numbered:
                return ()
            raise CorpusError(
                f"{place}: class {number} is none of {len(self._numbered)}; name its table of classes in `label_map`"
            )
        name = self._numbered[number]
        if labels is not None and name not in labels:
            raise CorpusError(f"{place}: class {name!r} is not in the label set; add it to `labels`")
        return (name,)


def _events_of(record: KnownRecord, path: Path, labels: Collection[str] | None) -> tuple[Event, ...]:
    if record.events is None:
        raise CorpusError(
            f"{path}: has classes per clip and no times; use it with `supervision: weak` or none, or pack the "
            f"recordings with their events"
        )
    unknown = next((label for _, _, label in record.events if labels is not None and label not in labels), None)
    if unknown is not None:
        raise CorpusError(f"{path}: class {unknown!r} of {record.audio_id} is not in the label set; add it to `labels`")
    try:
        return tuple(Event(*event) for event in record.events)
    except EventTableError as error:
        raise CorpusError(f"{path}: {record.audio_id}: {error}; pack it again") from None


def _name_of(options: LmdbOptions, path: Path) -> str:
    """A name for logs and for the store's files."""
    return "_".join([stem_of(path), *(["folds", *map(str, options.folds)] if options.folds else [])])
