"""Any table of recordings with their classes: CSV, TSV or JSON, with columns of your own naming.

    filename,labels,split            one column of joined labels      label_columns: [labels], label_separator: ","
    path;species;fold                one class per clip               delimiter: ";", label_columns: [species]
    file  first  second              several columns with a class     label_columns: [first, second]
    [{"audio": ..., "tags": [...]}]  JSON: a list of objects, or such a list under "data"

`where` keeps the rows of a fold or split. Classes are those of the conf's `labels`; `read_manifest_classes` lists those
that occur, sorted, for whoever has no list of them yet.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from desed_task.clips import ClipSet, Supervision
from desed_task.data.corpora.class_tables import ClassTable, read_class_table
from desed_task.data.corpora.listed import (
    Listed,
    ListedPaths,
    build_listed_set,
    read_table_text,
    require_weak,
    split_labels,
)
from desed_task.errors import CorpusError
from desed_task.events import audio_id_of
from desed_task.options import Options

PATH_COLUMNS = ("filename", "path", "file", "files", "wav", "audio", "fname")
LABEL_COLUMNS = ("labels", "label", "event_labels", "event_label", "tags", "category", "class")
Row = Mapping[str, Any]


class ManifestOptions(Options):
    """A table of recordings and their classes."""

    name: Literal["manifest"]
    table: Path = Field(description="The table: .csv, .tsv or .json.")
    root: Path | None = Field(None, description="The folder that relative paths start from; by default the table's.")
    title: str | None = Field(None, description="What the set is called; by default the table's name.")
    path_column: str | None = Field(None, description=f"The column of paths; by default one of {PATH_COLUMNS}.")
    label_columns: tuple[str, ...] = Field((), description=f"Columns of classes; by default one of {LABEL_COLUMNS}.")
    label_separator: str | None = Field(
        ",", min_length=1, description="Between the classes of a cell; null: the whole cell is one class."
    )
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="Between cells: tab in .tsv, else ','.")
    where: dict[str, tuple[str | int, ...]] = Field(
        {}, description="Column -> the values of the rows that are kept, such as {fold: [1, 2]}."
    )
    group_column: str | None = Field(
        None, description="A column that says what clips have in common, such as their source; null: nothing."
    )
    classes: Path | None = Field(None, description="A table of classes that turns mids into names; null: none.")
    audio_ids: Literal["name", "path"] = Field(
        "name", description="What clips are called: by the file's name, or by its path where names repeat in folders."
    )


def read_manifest(options: ManifestOptions, supervision: Supervision, labels: Collection[str] | None = None) -> ClipSet:
    """The recordings of the table that are on disk, weakly labelled; CorpusError as of `build_listed_set`."""
    name = options.title or options.table.stem
    require_weak(name, supervision)
    paths = ListedPaths(options.root, options.table.parent)
    path_column = ""
    label_columns: tuple[str, ...] = ()
    listed = []
    classes = read_class_table(options.classes) if options.classes else None
    for number, row in _kept_rows(options):
        if not path_column:
            path_column, label_columns = _columns_of(options, row, wants_labels=supervision == "weak")
        written = row.get(path_column)
        if not isinstance(written, str) or not written.strip():
            raise CorpusError(f"{options.table}, row {number}: no path in {path_column!r}")
        path, is_there = paths.find(written.strip())
        tags = _tags_of(row, label_columns, options, classes, number)
        listed.append(
            Listed(_audio_id(written.strip(), options), path, tags, is_there, _group_of(row, options, number))
        )
    return build_listed_set(name, listed, options.table, supervision, labels)


def read_manifest_tags(options: ManifestOptions) -> dict[str, tuple[str, ...]]:
    """audio_id -> classes of the kept rows, whether or not their recordings are on disk: the truth behind scores."""
    tags: dict[str, tuple[str, ...]] = {}
    classes = read_class_table(options.classes) if options.classes else None
    for number, row in _kept_rows(options):
        path_column, label_columns = _columns_of(options, row, wants_labels=True)
        audio_id = _audio_id(str(row[path_column]).strip(), options)
        if audio_id in tags:
            raise CorpusError(f"{options.table}, row {number}: {audio_id} stands twice; correct the table")
        tags[audio_id] = _tags_of(row, label_columns, options, classes, number)
    return tags


def read_manifest_classes(options: ManifestOptions) -> tuple[str, ...]:
    """The classes that occur in the kept rows, sorted: a first `labels` for a conf."""
    found: dict[str, None] = {}
    classes = read_class_table(options.classes) if options.classes else None
    label_columns: tuple[str, ...] = ()
    for number, row in _kept_rows(options):
        label_columns = label_columns or _columns_of(options, row, wants_labels=True)[1]
        found |= dict.fromkeys(_tags_of(row, label_columns, options, classes, number))
    return tuple(sorted(found))


def _kept_rows(options: ManifestOptions) -> Iterator[tuple[int, Row]]:
    kept = {column: {str(value) for value in values} for column, values in options.where.items()}
    rows = _rows_of_json(options.table) if options.table.suffix.lower() == ".json" else _rows_of_text(options)
    any_row = any_kept = False
    for number, row in rows:
        any_row = True
        for column in kept:
            if column not in row:
                raise CorpusError(f"{options.table}, row {number}: no column {column!r} of `where`; correct the name")
        if all(str(row[column]).strip() in values for column, values in kept.items()):
            any_kept = True
            yield number, row
    if any_row and not any_kept:
        raise CorpusError(f"{options.table}: no row has the values of `where` ({options.where}); correct them")


def _rows_of_text(options: ManifestOptions) -> Iterator[tuple[int, Row]]:
    table = options.table
    delimiter = options.delimiter or ("\t" if table.suffix.lower() == ".tsv" else ",")
    reader = csv.DictReader(io.StringIO(read_table_text(table), newline=""), delimiter=delimiter)
    for number, row in enumerate(reader, start=2):
        if None in row or None in row.values():
            raise CorpusError(
                f"{table}, row {number}: another number of cells than the header; correct the row, or `delimiter`"
            )
        yield number, row


def _rows_of_json(table: Path) -> Iterator[tuple[int, Row]]:
    try:
        tree = json.loads(read_table_text(table))
    except ValueError as error:
        raise CorpusError(f"{table}: not valid JSON ({error})") from None
    rows = tree.get("data") if isinstance(tree, dict) else tree
    if not isinstance(rows, list):
        raise CorpusError(f'{table}: no list of clips; write [{{"filename": ..., "labels": ...}}, ...]')
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise CorpusError(f"{table}, row {number}: not an object with keys; write {{...}}")
        yield number, row


def _columns_of(options: ManifestOptions, row: Row, wants_labels: bool) -> tuple[str, tuple[str, ...]]:
    """The columns of paths and of labels, as the options name them or as they are usually called."""
    paths = [options.path_column] if options.path_column else [name for name in PATH_COLUMNS if name in row]
    labels = options.label_columns or tuple(name for name in LABEL_COLUMNS if name in row)[:1]
    here = ", ".join(row)
    for wanted, key in ((paths[:1], "path_column"), (labels, "label_columns")):
        absent = [name for name in wanted if name not in row]
        if absent or not (wanted or (key == "label_columns" and not wants_labels)):
            what = f"no column {absent[0]!r}" if absent else f"none of its columns is known for `{key}`"
            raise CorpusError(f"{options.table}: {what} (columns here: {here}); correct `{key}`")
    return paths[0], labels


def _tags_of(
    row: Row, columns: tuple[str, ...], options: ManifestOptions, classes: ClassTable | None, number: int
) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for column in columns:
        value = row.get(column, "")
        for cell in value if isinstance(value, list) else [value]:
            found |= dict.fromkeys(_names_in(str(cell), options, classes, number))
    return tuple(found)


def _group_of(row: Row, options: ManifestOptions, number: int) -> str:
    column = options.group_column
    if column is not None and column not in row:
        raise CorpusError(f"{options.table}, row {number}: no column {column!r} of `group_column`; correct the name")
    return "" if column is None else str(row[column]).strip()


def _names_in(cell: str, options: ManifestOptions, classes: ClassTable | None, number: int) -> tuple[str, ...]:
    separator = options.label_separator
    if classes is None:
        whole = cell.strip()
        return split_labels(cell, separator) if separator is not None else (whole,) * bool(whole)
    try:
        return classes.split(cell, separator if separator is not None else "\n")
    except KeyError as error:
        raise CorpusError(
            f"{options.table}, row {number}: label {error.args[0]!r} is not in {options.classes}; correct one of them"
        ) from None


def _audio_id(written: str, options: ManifestOptions) -> str:
    if options.audio_ids == "name":
        return audio_id_of(written)
    folder, _, name = written.strip("/").rpartition("/")
    return "_".join([*folder.replace("..", "").split("/"), audio_id_of(name)]).strip("_")
