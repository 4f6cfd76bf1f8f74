"""A folder of soundscapes: what stands in it beside the audio, and whether it is complete.

    durations.tsv, sources.tsv, soundscapes.tsv   of all clips; the last is the annotation, and is written last
    audio/<audio_id>.txt, .jams                   of one clip, where they are asked for
    jams/<audio_id>.jams                          the same, in a folder of their own

A .txt has what Scaper writes there, which GISE-51's script packs: a line `onset<TAB>offset<TAB>label` per event, in
seconds, and no header.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from desed_task.events import Event, EventTable
from desed_task.formats.dcase import write_durations, write_strong
from desed_task.formats.jams import write_jams
from desed_task.formats.whole_files import write_text
from desed_task.soundscapes.files import AudioFormat
from desed_task.soundscapes.generate import GeneratedScene, SceneRow

AUDIO, JAMS = "audio", "jams"
ANNOTATION = "soundscapes.tsv"


def lacks_nothing(folder: Path, audio_ids: Iterable[str], audio_format: AudioFormat, further: Collection[str]) -> bool:
    """Whether a folder has its tables, all of its audio, and every file of `further`: "audio/txt", "jams/jams" ..."""
    if not (folder / ANNOTATION).is_file():
        return False
    wanted, kinds = set(audio_ids), (f"{AUDIO}/{audio_format}", *further)
    return all(wanted <= {path.stem for path in _files_of(folder, kind)} for kind in kinds)


def write_tables(folder: Path, scenes: Sequence[SceneRow]) -> None:
    """The three tables."""
    write_durations({scene.filename: scene.duration for scene in scenes}, folder / "durations.tsv")
    write_text(_sources_of(scenes), folder / "sources.tsv")
    write_strong(EventTable({scene.filename: scene.events for scene in scenes}), folder / ANNOTATION)


def write_event_lists(folder: Path, scenes: Iterable[SceneRow]) -> None:
    """A .txt beside each clip."""
    for scene in scenes:
        write_text("".join(map(_line_of, scene.events)), folder / AUDIO / f"{scene.audio_id}.txt")


def write_jams_files(folder: Path, below: str, scenes: Iterable[GeneratedScene], root: Path | None) -> None:
    """A .jams per scene in the folder `below`. root: of the soundbank, which source files are then relative to."""
    (folder / below).mkdir(exist_ok=True)
    for generated in scenes:
        audio = generated.filename if below == AUDIO else f"../{AUDIO}/{generated.filename}"
        write_jams(generated.scene, folder / below / f"{generated.audio_id}.jams", audio, root)


def write_label_numbers(labels: Sequence[str], path: Path) -> None:
    """{label: number}, as GISE-51 and others have it."""
    write_text(json.dumps({label: number for number, label in enumerate(labels)}) + "\n", path)


def _files_of(folder: Path, kind: str) -> Iterable[Path]:
    below, _, suffix = kind.partition("/")
    return (folder / below).glob(f"*.{suffix}")


def _line_of(event: Event) -> str:
    return f"{event.onset!r}\t{event.offset!r}\t{event.event_label}\n"


def _sources_of(scenes: Sequence[SceneRow]) -> str:
    """What was heard in which clip, so that one can see that no source is in two splits."""
    with io.StringIO(newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(("audio_id", "event_label", "source"))
        writer.writerows((scene.audio_id, label, source) for scene in scenes for label, source in scene.sources)
        return stream.getvalue()
