"""Lists of labelled clips as the tagging systems publish them, read and written back with other labels.

    *.json   {"data": [{"wav": path, "labels": "mid1,mid2"}]}    PSLA, AST, AudioTagging Done Right; labels are mids
    *.csv    fname,labels,mids,split                             FSD50K; labels are names, both joined by commas

Everything but the labels is kept: the order of the clips, other keys and columns. Of a table with `split` the rows of
`train` are the list; the others are written back as they are.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desed_task.errors import CorpusError
from desed_task.events import audio_id_of

Row = Mapping[str, Any]
_TRAIN = "train"


@dataclass(frozen=True, eq=False)
class LabelList:
    """audio_ids and labels (class numbers, as they stand) of each clip of the list.

    rows: all rows of the file; chosen: which of them are the list.
    """

    path: Path
    audio_ids: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    rows: tuple[Row, ...]
    chosen: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.audio_ids)

    @property
    def stem(self) -> Path:
        """The path without its suffix, to which the names of files made from the list are added."""
        return self.path.with_suffix("")

    def text_with(self, labels: Sequence[Sequence[int]], mids: Sequence[str], names: Sequence[str]) -> str:
        """The file with other labels, sorted by mid. labels: the class numbers of each clip."""
        rows = [dict(row) for row in self.rows]
        for place, of_clip in zip(self.chosen, labels, strict=True):
            ordered = sorted(of_clip, key=lambda label: mids[label])
            rows[place].update(self._cells([mids[label] for label in ordered], [names[label] for label in ordered]))
        if self.path.suffix.lower() == ".json":
            return json.dumps({"data": rows}, indent=1) + "\n"
        with io.StringIO(newline="") as stream:
            writer = csv.DictWriter(stream, list(self.rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            return stream.getvalue()

    def _cells(self, mids: Sequence[str], names: Sequence[str]) -> dict[str, str]:
        if self.path.suffix.lower() == ".json":
            return {"labels": ",".join(mids)}
        return {"labels": ",".join(names), "mids": ",".join(mids)}


def read_label_list(path: Path, mids: Sequence[str]) -> LabelList:
    """Read a list of either kind; mids in the order of the class axis. CorpusError for a fault, with its row."""
    text = _read_text(path)
    index = {mid: position for position, mid in enumerate(mids)}
    if path.suffix.lower() == ".json":
        rows, chosen = _rows_of_json(text, path), None
        clip_of, labels_of, first_row = _clip_of_json, "labels", 1
    elif path.suffix.lower() == ".csv":
        rows = _rows_of_csv(text, path)
        chosen = [place for place, row in enumerate(rows) if row.get("split", _TRAIN) == _TRAIN]
        clip_of, labels_of, first_row = _clip_of_csv, "mids", 2
    else:
        raise CorpusError(f"{path}: neither .json (PSLA) nor .csv (FSD50K); name a list of clips")
    places = range(len(rows)) if chosen is None else chosen
    if not len(places):
        raise CorpusError(f"{path}: lists no clip" + ("" if chosen is None else " of the split train"))
    found = [_labelled(rows[place], clip_of, labels_of, index, f"{path}, row {place + first_row}") for place in places]
    return LabelList(
        path,
        tuple(audio_id for audio_id, _ in found),
        tuple(labels for _, labels in found),
        tuple(rows),
        tuple(places),
    )


def _labelled(
    row: Row, clip_of: Callable[[Row], Any], labels_of: str, index: Mapping[str, int], where: str
) -> tuple[str, tuple[int, ...]]:
    clip, text = clip_of(row), row.get(labels_of)
    if not isinstance(clip, str) or not clip or not isinstance(text, str):
        raise CorpusError(f"{where}: the clip's name and its {labels_of} must be given, as text")
    labels = [label.strip() for label in text.split(",")] if text.strip() else []
    unknown = next((label for label in labels if label not in index), None)
    if unknown is not None:
        raise CorpusError(f"{where}: label {unknown!r} is no mid of the class table; name the table of this list")
    return audio_id_of(clip), tuple(index[label] for label in labels)


def _clip_of_json(row: Row) -> Any:
    return row.get("wav")


def _clip_of_csv(row: Row) -> Any:
    return row.get("fname")


def _rows_of_json(text: str, path: Path) -> list[Row]:
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise CorpusError(f"{path}: not valid JSON ({error})") from None
    rows = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CorpusError(f'{path}: no list of clips; write {{"data": [{{"wav": ..., "labels": ...}}, ...]}}')
    return rows


def _rows_of_csv(text: str, path: Path) -> list[Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    absent = [column for column in ("fname", "labels", "mids") if column not in (reader.fieldnames or ())]
    if absent:
        raise CorpusError(f"{path}, row 1: no column {absent[0]!r}; it is not a table of FSD50K")
    rows: list[Row] = list(reader)
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise CorpusError(f"{path}, row {number}: more or fewer cells than the header; the row is damaged")
    return rows


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}); name a list of clips") from None
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text (byte {error.start}); write it again") from None
