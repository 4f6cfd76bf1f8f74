"""Generated soundscapes: the folders that `recipes/generate_soundscapes.py` writes.

<root>/<part>/audio/<audio_id>.wav   <root>/<part>/soundscapes.tsv (strong)   <root>/<part>/durations.tsv
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from desed_task.clips import Clip, ClipSet, Supervision
from desed_task.errors import CorpusError
from desed_task.events import audio_id_of
from desed_task.formats.dcase import read_durations, read_strong
from desed_task.options import Options


class SoundscapesOptions(Options):
    """One part of a generated folder."""

    name: Literal["soundscapes"]
    root: Path = Field(description="The folder that generate_soundscapes.py wrote.")
    part: str = Field(description="The part of it: train, validation, test ...")


def read_soundscapes(options: SoundscapesOptions, supervision: Supervision) -> ClipSet:
    """The part's clips; CorpusError when the folder, a table or a listed recording is missing."""
    folder = options.root / options.part
    table_path = folder / "soundscapes.tsv"
    if not table_path.is_file():
        raise CorpusError(
            f"{folder}: no soundscapes here (soundscapes.tsv is missing); make them with "
            f"`python recipes/generate_soundscapes.py --conf_file CONF --output_dir {options.root}`"
        )
    durations = read_durations(folder / "durations.tsv")
    table = read_strong(table_path)
    clips = tuple(Clip(audio_id_of(name), folder / "audio" / name, seconds) for name, seconds in durations.items())
    missing = [clip.path for clip in clips if not clip.path.is_file()]
    if missing:
        raise CorpusError(f"{missing[0]}: missing ({len(missing)} of {len(clips)} recordings); generate the part again")
    events = {audio_id_of(name): of_clip for name, of_clip in table.items()}
    events = {clip.audio_id: events.get(clip.audio_id, ()) for clip in clips}
    tags = {audio_id: tuple(sorted({event.event_label for event in of_clip})) for audio_id, of_clip in events.items()}
    return ClipSet(f"{options.root.name}_{options.part}", clips, supervision, events, tags)
