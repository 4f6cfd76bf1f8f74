"""Generate soundscapes with known events: audio, strong annotation, durations and sources of every part of a conf.

    python recipes/generate_soundscapes.py --output_dir data/demo
    python recipes/generate_soundscapes.py --conf_file confs/soundscapes/esc10.yaml --output_dir data/esc10_scenes \
        --set soundbank.root=/where/esc10/is

A complete folder is left alone, an interrupted one is completed, one made by other options is refused. The layout is
described in desed_task/soundscapes/generate.py.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser, run_recipe
from desed_task.events import EventTable
from desed_task.formats.dcase import write_durations, write_strong
from desed_task.options import read_options
from desed_task.soundscapes.conf import SoundscapesOptions, check_soundbanks
from desed_task.soundscapes.generate import GeneratedScene, audio_ids, generate_part
from desed_task.soundscapes.output import open_output_dir

DEFAULT_CONF = Path(__file__).resolve().parent.parent / "confs" / "soundscapes" / "demo.yaml"
_log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> None:
    """Generate every part of a conf."""
    arguments = _parser().parse_args(argv)
    options = read_options(arguments.conf_file, SoundscapesOptions, arguments.set)
    output_dir: Path = arguments.output_dir
    unfinished = [part for part in options.parts if arguments.overwrite or not _is_complete(output_dir, options, part)]
    if unfinished:
        check_soundbanks(options)
    open_output_dir(output_dir, options, arguments.overwrite)
    for part in unfinished:
        folder = output_dir / part
        _write_tables(folder, generate_part(options, part, folder, arguments.num_jobs))
        _log.info("%s: %d scenes of part %r", folder, options.parts[part].num_scenes, part)
    if not unfinished:
        _log.info("%s: complete, made by the same options; nothing to do", output_dir)


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Generate soundscapes with known events.")
    parser.add_argument("--conf_file", type=Path, default=DEFAULT_CONF, help="what to generate")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder that receives the parts")
    parser.add_argument("--num_jobs", type=_positive, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that was generated before")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace one key of the conf")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _is_complete(output_dir: Path, options: SoundscapesOptions, part: str) -> bool:
    """Whether a part has its tables (the annotation is written last) and all of its audio."""
    folder = output_dir / part
    wanted = {f"{audio_id}.wav" for audio_id in audio_ids(part, options.parts[part].num_scenes)}
    return (folder / "soundscapes.tsv").is_file() and wanted <= {path.name for path in folder.glob("audio/*.wav")}


def _write_tables(folder: Path, scenes: Sequence[GeneratedScene]) -> None:
    write_durations({f"{scene.audio_id}.wav": scene.duration for scene in scenes}, folder / "durations.tsv")
    _write_sources(folder / "sources.tsv", scenes)
    write_strong(EventTable({f"{scene.audio_id}.wav": scene.events for scene in scenes}), folder / "soundscapes.tsv")


def _write_sources(path: Path, scenes: Sequence[GeneratedScene]) -> None:
    """What was heard in which clip, so that one can see that no source is in two splits."""
    unfinished = path.with_name(path.name + ".partial")
    with unfinished.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(("audio_id", "event_label", "source"))
        writer.writerows((scene.audio_id, label, source) for scene in scenes for label, source in scene.sources)
    unfinished.replace(path)


if __name__ == "__main__":
    run_recipe(main)
