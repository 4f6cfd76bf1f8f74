"""Generated soundscapes: the folders that `recipes/generate_soundscapes.py` writes.

<root>/<part>/audio/<audio_id>.wav   <root>/<part>/soundscapes.tsv (strong)   <root>/<part>/durations.tsv
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import Field

from desed_task.clips import Clip, ClipSet, Supervision, tags_of
from desed_task.errors import CorpusError
from desed_task.events import audio_id_of
from desed_task.formats.dcase import read_durations, read_strong
from desed_task.options import Options


class SoundscapesOptions(Options):
    """One part of a generated folder."""

    name: Literal["soundscapes"]
    root: Path = Field(description="The folder that generate_soundscapes.py wrote.")
    part: str = Field(description="The part of it: train, validation, test ...")


def list_parts(root: Path) -> tuple[str, ...]:
    """The parts of a generated folder, by name. CorpusError when it has none."""
    parts = tuple(sorted(path.parent.name for path in root.glob("*/soundscapes.tsv")))
    if not parts:
        raise CorpusError(
            f"{root}: no soundscapes here (no PART/soundscapes.tsv); make them with "
            f"`python recipes/generate_soundscapes.py --conf_file CONF --output_dir {root}`"
        )
    return parts


def read_soundscapes(
    options: SoundscapesOptions, supervision: Supervision, labels: Collection[str] | None = None
) -> ClipSet:
    """The part's clips, of the classes in `labels` where they are given.

    CorpusError when the folder, a table or a listed recording is missing, or when the tables do not fit one another.
    """
    folder = options.root / options.part
    table_path, durations_path = folder / "soundscapes.tsv", folder / "durations.tsv"
    if not table_path.is_file():
        raise CorpusError(
            f"{folder}: no soundscapes here (soundscapes.tsv is missing); make them with "
            f"`python recipes/generate_soundscapes.py --conf_file CONF --output_dir {options.root}`"
        )
    durations = read_durations(durations_path)
    if not durations:
        raise CorpusError(f"{durations_path}: lists no recording; generate the part again")
    table = read_strong(table_path, labels)
    unlisted = [name for name in table.filenames if name not in durations]
    if unlisted:
        raise CorpusError(f"{table_path}: {unlisted[0]} is not in {durations_path.name}; generate the part again")
    clips = tuple(Clip(audio_id_of(name), folder / "audio" / name, seconds) for name, seconds in durations.items())
    missing = [clip.path for clip in clips if not clip.path.is_file()]
    if missing:
        raise CorpusError(f"{missing[0]}: missing ({len(missing)} of {len(clips)} recordings); generate the part again")
    listed = table.by_audio_id()
    events = {clip.audio_id: listed.get(clip.audio_id, ()) for clip in clips}
    # Resolved, so that a set has one name, and one store, wherever it is named from.
    name = f"{options.root.resolve().name}_{options.part}"
    return ClipSet(name, clips, supervision, events, tags_of(events), durations_table=durations_path)
