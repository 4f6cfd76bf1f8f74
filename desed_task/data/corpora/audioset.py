"""AudioSet (Gemmeke et al. 2017) and every set in its list format: clips of 10 s, 527 classes, tags per clip.

Two kinds of list are read:

    *.json          {"data": [{"wav": path, "labels": "/m/09x0r,/t/dd00088"}]}   PSLA, AST, AudioTagging Done Right
    *_segments.csv  YTID, start, end, "mid,mid" after three lines of comment     as AudioSet publishes them

Labels are mids, or names, of the class table (`class_labels_indices.csv`); a label may also be a list of them. A path
of a json is absolute, or relative to `root` (without one to the list's folder); an absolute path that leads nowhere is
looked for by its name in `root`. The clip of a segment is looked for in `root` as <YTID>, Y<YTID> (PANNs) or
Y<YTID>_<start>_<end> (DESED), in any container. What is not on disk is missing: of AudioSet that are some percent more
every year, so figures on it are comparable only with the number of clips beside them.

A file of ids narrows a list to the clips of an experiment: one per line, <YTID> or <YTID>_<start> (GISE-51's
balanced_train.txt and evaluation.txt). AudioSet has one segment of a video, so the eleven characters of its id decide.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from desed_task.clips import ClipSet, Supervision
from desed_task.data.corpora.class_tables import ClassTable, read_class_table
from desed_task.data.corpora.listed import (
    Listed,
    ListedPaths,
    Shelves,
    build_listed_set,
    read_table_text,
    require_weak,
)
from desed_task.errors import CorpusError
from desed_task.events import audio_id_of
from desed_task.options import Options

# Nominal: some videos end before their clip does.
CLIP_SECONDS = 10.0
CLASS_TABLE = "class_labels_indices.csv"
_COMMENT_LINES = 3
_ID_LENGTH = 11
_ID_LINE = re.compile(r"[\w-]{11}(_\d+(\.\d+)?)?")


class AudioSetOptions(Options):
    """The clips of a list of AudioSet, or of another set in its format."""

    name: Literal["audioset"]
    table: Path = Field(description="The list: a json with wav and labels, or a *_segments.csv of AudioSet.")
    root: Path | None = Field(None, description="The folder with the recordings; not needed where a json has paths.")
    classes: Path | None = Field(
        None, description="class_labels_indices.csv; by default the one beside the list or in its parent folder."
    )
    ids: Path | None = Field(None, description="A file of the clips that are taken, an id per line; null: all of them.")
    title: str | None = Field(None, description="What the set is called; by default audioset and the list's name.")


def read_audioset(options: AudioSetOptions, supervision: Supervision, labels: Collection[str] | None = None) -> ClipSet:
    """The clips of the list that are on disk, weakly labelled. CorpusError for what `build_listed_set` refuses."""
    name = options.title or _name_of(options.table, options.ids)
    require_weak(name, supervision)
    tags = _Tags(find_class_table(options), options.table)
    read = _read_segments if options.table.suffix.lower() == ".csv" else _read_json
    rows = list(read(options, tags))
    if options.ids is not None:
        rows = _with_ids(rows, options.ids, options.table)
    return build_listed_set(name, rows, options.table, supervision, labels, CLIP_SECONDS)


def find_class_table(options: AudioSetOptions) -> ClassTable:
    """The table of the list's classes; CorpusError where there is none."""
    beside = options.table.parent
    places = [options.classes] if options.classes else [beside / CLASS_TABLE, beside.parent / CLASS_TABLE]
    for place in places:
        if place.is_file():
            return read_class_table(place)
    raise CorpusError(f"{places[0]}: no such table of classes; name {CLASS_TABLE} in `classes`")


class _Tags:
    """Labels of rows -> names; equal texts are looked at once."""

    def __init__(self, table: ClassTable, list_path: Path) -> None:
        self._table, self._list_path = table, list_path
        self._known: dict[str, tuple[str, ...]] = {}

    def of(self, labels: Any, row: int) -> tuple[str, ...]:
        """The names; CorpusError for a label that is no class."""
        parts = labels if isinstance(labels, list) else [labels]
        found: dict[str, None] = {}
        for part in parts:
            if not isinstance(part, str):
                raise CorpusError(f"{self._list_path}, row {row}: labels {labels!r} are not text")
            if part not in self._known:
                self._known[part] = self._split(part, row)
            if len(parts) == 1:
                return self._known[part]
            found |= dict.fromkeys(self._known[part])
        return tuple(found)

    def _split(self, text: str, row: int) -> tuple[str, ...]:
        try:
            return self._table.split(text)
        except KeyError as error:
            raise CorpusError(
                f"{self._list_path}, row {row}: label {error.args[0]!r} is neither mid nor name of the class table; "
                f"name the right table in `classes`"
            ) from None


def _read_json(options: AudioSetOptions, tags: _Tags) -> Iterator[Listed]:
    paths = ListedPaths(options.root, options.table.parent)
    for number, row in enumerate(_rows_of_json(options.table), start=1):
        if not isinstance(row, dict) or not isinstance(row.get("wav"), str) or not row["wav"] or "labels" not in row:
            raise CorpusError(f"{options.table}, row {number}: no object with wav and labels")
        path, is_there = paths.find(row["wav"])
        yield Listed(audio_id_of(path), path, tags.of(row["labels"], number), is_there)


def _rows_of_json(path: Path) -> list[Any]:
    try:
        tree = json.loads(read_table_text(path))
    except ValueError as error:
        raise CorpusError(f"{path}: not valid JSON ({error})") from None
    rows = tree.get("data") if isinstance(tree, dict) else tree
    if not isinstance(rows, list):
        raise CorpusError(f'{path}: no list of clips; write {{"data": [{{"wav": ..., "labels": ...}}, ...]}}')
    return rows


def _read_segments(options: AudioSetOptions, tags: _Tags) -> Iterator[Listed]:
    if options.root is None:
        raise CorpusError(f"{options.table}: a list of segments has no paths; name the folder of clips in `root`")
    folder, shelves = str(options.root), Shelves()
    for number, (video_id, start, end, labels) in read_segments(options.table):
        names = (video_id, f"Y{video_id}", f"Y{video_id}_{start}_{end}")
        found = next((there for name in names if (there := shelves.find(folder, name)) is not None), None)
        name = found or f"{video_id}.wav"
        yield Listed(audio_id_of(name), f"{folder}/{name}", tags.of(labels, number), found is not None)


def read_segments(table: Path) -> Iterator[tuple[int, tuple[str, str, str, str]]]:
    """(row number, (YTID, start, end, mids)) of a *_segments.csv, as text. CorpusError for a row that is cut off."""
    reader = csv.reader(io.StringIO(read_table_text(table), newline=""), skipinitialspace=True)
    for number, row in enumerate(reader, start=1):
        if not row or (number <= _COMMENT_LINES and row[0].startswith("#")):
            continue
        if len(row) != 4:
            raise CorpusError(f"{table}, row {number}: {len(row)} cells instead of 4 (YTID, start, end, labels)")
        yield number, (row[0].strip(), row[1].strip(), row[2].strip(), row[3])


def _with_ids(rows: Sequence[Listed], ids: Path, table: Path) -> list[Listed]:
    """The rows of videos in a file of ids. CorpusError for a line that is none, and where no row is left."""
    wanted = set()
    for number, line in enumerate(read_table_text(ids).splitlines(), start=1):
        if line.strip():
            if _ID_LINE.fullmatch(line.strip()) is None:
                raise CorpusError(f"{ids}, row {number}: {line.strip()!r} is neither <YTID> nor <YTID>_<start>")
            wanted.add(line.strip()[:_ID_LENGTH])
    kept = [row for row in rows if not wanted.isdisjoint(_videos_of(row.audio_id))]
    if not kept:
        raise CorpusError(f"{ids}: none of its {len(wanted)} ids is in {table}; name the list that they belong to")
    return kept


def _videos_of(audio_id: str) -> tuple[str, str]:
    """The ids that a clip's name may begin with: YTID, or YTID behind a Y."""
    return audio_id[:_ID_LENGTH], audio_id.removeprefix("Y")[:_ID_LENGTH]


def _name_of(table: Path, ids: Path | None) -> str:
    """A name for the store's files: audioset and that of the list, and of the ids."""
    stems = [re.sub(r"[^\w-]+", "_", path.stem).strip("_") for path in (table, ids) if path is not None]
    stem = "_".join(stems)
    return stem if stem.startswith("audioset") else f"audioset_{stem}"
