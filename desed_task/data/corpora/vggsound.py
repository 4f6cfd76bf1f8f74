"""VGGSound (Chen et al. 2020): clips of 10 s of videos, each of one of 309 classes, in a training and a test part.

`vggsound.csv` has no header and a row per clip: YouTube id, start in seconds, class, train or test. The clip is looked
for in `root` as <id>_<start in six digits> (the authors' archives), <id>_<start> or <id>, in any container. What is not
on disk is missing, some percent more every year. The class is the whole cell: names such as "child speech, kid
speaking" hold commas.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from desed_task.clips import ClipSet, Supervision
from desed_task.data.corpora.listed import Listed, Shelves, build_listed_set, read_table_text, require_weak
from desed_task.errors import CorpusError
from desed_task.events import audio_id_of
from desed_task.options import Options

Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = ("train", "test")
# Nominal: some videos end before their clip does.
CLIP_SECONDS = 10.0


class VggSoundOptions(Options):
    """A part of VGGSound."""

    name: Literal["vggsound"]
    table: Path = Field(description="vggsound.csv: YouTube id, start, class and part of each clip.")
    root: Path = Field(description="The folder with the recordings.")
    part: Part = Field(description="train or test, by the table.")


def read_vggsound(options: VggSoundOptions, supervision: Supervision, labels: Collection[str] | None = None) -> ClipSet:
    """The clips of a part that are on disk, weakly labelled. CorpusError for what `build_listed_set` refuses."""
    name = f"vggsound_{options.part}"
    require_weak(name, supervision)
    rows = [row for part, row in _read_rows(options) if part == options.part]
    return build_listed_set(name, rows, options.table, supervision, labels, CLIP_SECONDS)


def _read_rows(options: VggSoundOptions) -> Iterator[tuple[str, Listed]]:
    """(part, clip) of every row; clips of one video are of one group."""
    folder, shelves = str(options.root), Shelves()
    reader = csv.reader(io.StringIO(read_table_text(options.table), newline=""))
    for number, cells in enumerate(reader, start=1):
        if not cells:
            continue
        video, start, label, part = _checked([cell.strip() for cell in cells], number, options.table)
        names = (f"{video}_{int(start):06d}", f"{video}_{start}", video)
        found = next((there for name in names if (there := shelves.find(folder, name)) is not None), None)
        file = found or f"{names[0]}.wav"
        yield part, Listed(audio_id_of(file), f"{folder}/{file}", (label,), found is not None, video)


def _checked(cells: list[str], number: int, table: Path) -> tuple[str, str, str, str]:
    if len(cells) != 4 or not cells[0] or not cells[1].isdecimal() or not cells[2] or cells[3] not in PARTS:
        raise CorpusError(
            f"{table}, row {number}: must hold a YouTube id, a start in whole seconds, a class and "
            f"{' or '.join(PARTS)}; fetch it again"
        )
    video, start, label, part = cells
    return video, start, label, part
