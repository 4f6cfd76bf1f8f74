"""ESC-50 and ESC-10 (Piczak 2015): recordings of five seconds, each of one class, in five folds.

Two layouts are read: the original (`meta/esc50.csv` and `audio/*.wav`), and `metadata.tsv` (filename, event_label,
fold) beside `audio/`. A clip's class is a weak label; the set has no times. Folds share no source recording: split by
them, never by clip. ESC-10 is the ten classes that `esc50.csv` marks, under the names that ESC-10 gave them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from desed_task.clips import Clip, ClipSet, Supervision
from desed_task.errors import CorpusError
from desed_task.events import audio_id_of
from desed_task.options import Options

CLIP_SECONDS = 5.0
FOLDS = (1, 2, 3, 4, 5)
# The category in esc50.csv -> the name of the class in ESC-10.
ESC10_NAMES = {
    "dog": "dog_bark",
    "rain": "rain",
    "sea_waves": "sea_waves",
    "crying_baby": "baby_cry",
    "clock_tick": "clock_tick",
    "sneezing": "person_sneeze",
    "helicopter": "helicopter",
    "chainsaw": "chainsaw",
    "rooster": "rooster",
    "crackling_fire": "fire_crackling",
}


class EscOptions(Options):
    """Some folds of ESC-10 or ESC-50."""

    name: Literal["esc10", "esc50"]
    root: Path = Field(description="The folder that holds audio/ and meta/esc50.csv (or metadata.tsv).")
    folds: tuple[int, ...] | None = Field(None, description="Only these folds, such as [1, 2]; all where not given.")

    @field_validator("folds")
    @classmethod
    def _known(cls, folds: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if folds is not None and (not folds or not set(folds) <= set(FOLDS) or len(set(folds)) < len(folds)):
            raise ValueError(f"{list(folds)} are not folds; name some of 1 to 5, each once, or leave the key out")
        return folds


@dataclass(frozen=True)
class _Row:
    filename: str
    event_label: str
    fold: int


def read_esc(options: EscOptions, supervision: Supervision, labels: Collection[str] | None = None) -> ClipSet:
    """The recordings of the folds that are on disk, weakly labelled, of the classes in `labels` where they are given.

    CorpusError when the table or every recording is missing, a class is not in `labels`, or times are asked for.
    """
    if supervision == "strong":
        raise CorpusError(
            f"{options.name}: has one class per clip and no times; use it with `supervision: weak` or none, or mix "
            f"soundscapes of it with recipes/generate_soundscapes.py"
        )
    table = _table_of(options)
    rows = _read_rows(table, options.name)
    folds = options.folds or FOLDS
    chosen = [row for row in rows if row.fold in folds]
    if not chosen:
        here = ", ".join(str(fold) for fold in sorted({row.fold for row in rows}))
        raise CorpusError(f"{table}: no recording of fold {list(folds)} (folds here: {here or 'none'})")
    unknown = next((row for row in chosen if labels is not None and row.event_label not in labels), None)
    if unknown is not None and supervision == "weak":
        raise CorpusError(
            f"{table}: class {unknown.event_label!r} of {unknown.filename} is not in the label set; add it to `labels`"
        )
    present = [row for row in chosen if (options.root / "audio" / row.filename).is_file()]
    if not present:
        raise CorpusError(f"{options.root / 'audio'}: none of the {len(chosen)} recordings of {table} is there")
    there = {row.filename for row in present}
    audio = options.root / "audio"
    return ClipSet(
        "_".join([options.name, *(["folds", *map(str, options.folds)] if options.folds else [])]),
        tuple(Clip(audio_id_of(row.filename), audio / row.filename, CLIP_SECONDS) for row in present),
        supervision,
        tags={audio_id_of(row.filename): (row.event_label,) for row in present},
        missing=tuple(audio / row.filename for row in chosen if row.filename not in there),
        groups={audio_id_of(row.filename): _source_of(audio_id_of(row.filename)) for row in present},
    )


def _source_of(audio_id: str) -> str:
    """The recording that a clip is cut from: 1-100032 of 1-100032-A-0."""
    return "-".join(audio_id.split("-")[:2])


def _table_of(options: EscOptions) -> Path:
    tables = [options.root / "meta" / "esc50.csv", options.root / "metadata.tsv"]
    for table in tables:
        if table.is_file():
            return table
    raise CorpusError(
        f"{options.root}: no meta/esc50.csv and no metadata.tsv here; set `root`, or fetch it with "
        f"`python recipes/prepare_data.py --corpus {options.name}`"
    )


def _read_rows(table: Path, name: str) -> list[_Row]:
    """The rows of either table, those of ESC-10 alone where that is asked for."""
    original = table.suffix == ".csv"
    label_column = "category" if original else "event_label"
    with io.StringIO(_read_text(table), newline="") as stream:
        reader = csv.DictReader(
            stream, delimiter="," if original else "\t", quoting=csv.QUOTE_MINIMAL if original else csv.QUOTE_NONE
        )
        absent = {"filename", label_column, "fold"} - set(reader.fieldnames or ())
        if absent:
            raise CorpusError(f"{table}, row 1: no column {min(absent)!r}; it is not the table of ESC-50")
        rows = []
        for number, cells in enumerate(reader, start=2):
            label = cells[label_column] or ""
            if original and name == "esc10":
                if label not in ESC10_NAMES:
                    continue
                label = ESC10_NAMES[label]
            if not (cells["filename"] and label and (cells["fold"] or "").isdecimal()):
                raise CorpusError(f"{table}, row {number}: filename, class and fold must be given; fetch it again")
            rows.append(_Row(cells["filename"], label, int(cells["fold"])))
    return rows


def _read_text(table: Path) -> str:
    try:
        return table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise CorpusError(f"{table}: not a UTF-8 text table; fetch it again") from None
    except OSError as error:
        raise CorpusError(f"{table}: cannot be read ({error.strerror})") from None
