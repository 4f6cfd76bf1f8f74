"""Soundbank of a table: a TSV that gives class and fold of every recording, such as ESC-10's metadata.tsv.

Columns `filename` (relative to the audio folder), `event_label` and `fold`; others are ignored. Each split names its
folds; two splits may not share a fold, nor a source recording. `source_pattern` names the part of a file name that
recordings of one source have in common; `^(\\d+-\\d+)` for ESC, whose names are fold-recording-take.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from desed_task.errors import CorpusError, EventTableError
from desed_task.options import Options
from desed_task.soundscapes.isolation import AnyIsolationOptions
from desed_task.soundscapes.procedural.backgrounds import ProceduralBackgrounds
from desed_task.soundscapes.recorded import (
    RecordedBackgrounds,
    RecordedSoundbank,
    check_source_pattern,
    group_by_source,
    list_recordings,
    require_root,
    source_of,
)
from desed_task.soundscapes.shares import share_sources
from desed_task.soundscapes.silence import IsolationOptions
from desed_task.soundscapes.soundbank import BACKGROUND, SAMPLE_RATE, Backgrounds

_COLUMNS = ("filename", "event_label", "fold")


class TableOptions(Options):
    """A soundbank whose recordings are listed with class and fold."""

    name: Literal["table"]
    root: Path | None = Field(default=None, description="Folder in which the table stands.")
    table: str = Field(default="metadata.tsv", description="The table in `root`: filename, event_label, fold.")
    audio_folder: str = Field(default="audio", description="Folder in `root` that its filenames are relative to.")
    folds: dict[str, tuple[int, ...]] = Field(description="The folds of each split.")
    source_pattern: Annotated[str | None, AfterValidator(check_source_pattern)] = Field(
        default=None, description="Regular expression at the beginning of a file name whose first group is the source."
    )
    background_folder: Path | None = Field(default=None, description="Background recordings; else synthesised.")
    isolation: AnyIsolationOptions = Field(
        default=IsolationOptions(), description="How recordings are cut into events."
    )

    @field_validator("folds")
    @classmethod
    def _folds_are_disjoint(cls, folds: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        owner: dict[int, str] = {}
        for split, numbers in folds.items():
            if not numbers:
                raise ValueError(f"split {split!r} has no fold; name at least one")
            for number in numbers:
                if owner.setdefault(number, split) != split:
                    raise ValueError(
                        f"splits {owner[number]!r} and {split!r} share fold {number}, so recordings would leak from "
                        f"one to the other; give each its own folds (parts of one split may share them)"
                    )
        return folds


def build_table_soundbank(
    options: TableOptions, split: str, seed: int, sample_rate: int = SAMPLE_RATE
) -> RecordedSoundbank:
    """The soundbank of one split. CorpusError or EventTableError on a missing file, column, fold or class."""
    root = require_root(options.root)
    if split not in options.folds:
        raise CorpusError(f"split {split!r} has no folds of {root / options.table}; add it to soundbank.folds")
    split_of_fold = {fold: name for name, folds in options.folds.items() for fold in folds}
    recordings: dict[str, list[Path]] = {}
    split_of_source: dict[str, str] = {}
    for row, filename, event_label, fold in _read_rows(root / options.table):
        if fold not in split_of_fold:
            continue
        recording = root / options.audio_folder / filename
        source = source_of(recording, options.source_pattern)
        if split_of_source.setdefault(source, split_of_fold[fold]) != split_of_fold[fold]:
            raise CorpusError(
                f"{root / options.table}, row {row}: source {source!r} is in splits {split_of_source[source]!r} and "
                f"{split_of_fold[fold]!r}; move its recordings to folds of one split"
            )
        if split_of_fold[fold] == split:
            if not recording.is_file():
                raise CorpusError(f"{root / options.table}, row {row}: {recording} is not there; fetch the data again")
            recordings.setdefault(event_label, []).append(recording)
    events = {label: group_by_source(paths, options.source_pattern) for label, paths in sorted(recordings.items())}
    backgrounds = _build_backgrounds(options, split, seed, sample_rate)
    return RecordedSoundbank(events, backgrounds, options.isolation, sample_rate)


def _build_backgrounds(options: TableOptions, split: str, seed: int, sample_rate: int) -> Backgrounds:
    if options.background_folder is None:
        return ProceduralBackgrounds(split, seed, sample_rate)
    sources = group_by_source(list_recordings(options.background_folder), None)
    even_shares = dict.fromkeys(options.folds, 1.0)
    split_of = share_sources({BACKGROUND: list(sources)}, even_shares, seed)
    own = {source: paths for source, paths in sources.items() if split_of[source] == split}
    return RecordedBackgrounds(own, sample_rate)


def _read_rows(path: Path) -> list[tuple[int, str, str, int]]:
    """(row, filename, event_label, fold) of each row, the header being row 1."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            columns = reader.fieldnames or ()
            lines = list(reader)
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such table; soundbank.root must be the folder in which it stands") from None
    except UnicodeDecodeError:
        raise EventTableError(f"{path}: not a UTF-8 text table") from None
    for column in _COLUMNS:
        if column not in columns:
            raise EventTableError(f"{path}, row 1: no column {column!r} in {', '.join(columns) or 'it'}")
    rows = []
    for row, line in enumerate(lines, start=2):
        filename, event_label, fold = (line[column] or "" for column in _COLUMNS)
        if not filename or not event_label or not fold.isdecimal():
            raise EventTableError(f"{path}, row {row}: filename, event_label and a whole number as fold must be given")
        rows.append((row, filename, event_label, int(fold)))
    return rows
