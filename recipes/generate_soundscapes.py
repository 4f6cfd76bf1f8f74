"""Generate soundscapes with known events: audio, strong annotation, durations and sources of every part of a conf.

    python recipes/generate_soundscapes.py --output_dir data/demo
    python recipes/generate_soundscapes.py --conf_file confs/soundscapes/esc10.yaml --output_dir data/esc10_scenes \
        --set soundbank.root=/where/esc10/is
    python recipes/generate_soundscapes.py --from_jams scaper --soundbank scaper --output_dir data/scaper/train

`--jams` also writes a JAMS file per scene, as Scaper does, into <part>/jams. `--from_jams` renders the scenes that JAMS
files describe, one file or all of a folder, from the recordings that they name; no conf is read then, and the output
folder is like that of one part.

A complete folder is left alone, an interrupted one is completed, one made by other options is refused. The layout is
described in desed_task/soundscapes/generate.py.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser, run_recipe, whole_number
from desed_task.errors import CorpusError, OptionsError
from desed_task.events import EventTable
from desed_task.formats.dcase import write_durations, write_strong
from desed_task.formats.jams import read_jams, write_jams
from desed_task.options import read_options
from desed_task.soundscapes.conf import SoundscapesOptions, check_soundbanks
from desed_task.soundscapes.generate import GeneratedScene, SceneRow, audio_ids, generate_part
from desed_task.soundscapes.output import Rendering, open_output_dir, open_rendering_dir
from desed_task.soundscapes.procedural.bank import ProceduralOptions
from desed_task.soundscapes.scaper import find_source, render_scaper_scenes
from desed_task.soundscapes.stretch import require_stretch

DEFAULT_CONF = Path(__file__).resolve().parent.parent / "confs" / "soundscapes" / "demo.yaml"
_log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> None:
    """Generate every part of a conf, or render scenes that JAMS files describe."""
    arguments = _parser().parse_args(argv)
    _refuse_contradictions(arguments)
    if arguments.from_jams is not None:
        _render_jams(arguments.from_jams, arguments.soundbank, arguments)
    else:
        _generate(arguments)


def _generate(arguments: argparse.Namespace) -> None:
    options = read_options(arguments.conf_file, SoundscapesOptions, arguments.set)
    output_dir: Path = arguments.output_dir
    unfinished = [
        part
        for part in options.parts
        if arguments.overwrite or not _is_complete(output_dir / part, _names(options, part), arguments.jams)
    ]
    if unfinished:
        check_soundbanks(options)
    open_output_dir(output_dir, options, arguments.overwrite)
    for part in unfinished:
        folder = output_dir / part
        scenes = generate_part(options, part, folder, arguments.num_jobs)
        if arguments.jams:
            _write_jams_files(folder, scenes, options)
        _write_tables(folder, scenes)
        _log.info("%s: %d scenes of part %r", folder, options.parts[part].num_scenes, part)
    if not unfinished:
        _log.info("%s: complete, made by the same options; nothing to do", output_dir)


def _render_jams(jams: Path, soundbank: Path, arguments: argparse.Namespace) -> None:
    paths = _jams_paths(jams)
    scenes = {path.stem: read_jams(path) for path in paths}
    for path in paths:
        for placed in scenes[path.stem].placed:
            find_source(placed, soundbank, str(path))
    if any(scene.stretches for scene in scenes.values()):
        require_stretch()
    output_dir: Path = arguments.output_dir
    rendering = Rendering(jams=jams.resolve(), soundbank=soundbank.resolve(), sha256=_digest(paths))
    open_rendering_dir(output_dir, rendering, arguments.overwrite)
    if _is_complete(output_dir, list(scenes), with_jams=False):
        _log.info("%s: complete, rendered from the same files; nothing to do", output_dir)
        return
    render_scaper_scenes(scenes, soundbank, output_dir / "audio", arguments.num_jobs)
    _write_tables(
        output_dir,
        [
            SceneRow(audio_id, scene.duration, tuple(scene.events()), tuple(scene.sources()))
            for audio_id, scene in scenes.items()
        ],
    )
    _log.info("%s: %d scenes of %s", output_dir, len(scenes), jams)


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Generate soundscapes with known events.")
    parser.add_argument("--conf_file", type=Path, default=DEFAULT_CONF, help="what to generate")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder that receives the parts")
    parser.add_argument("--num_jobs", type=whole_number(1), default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that was generated before")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace one key of the conf")
    parser.add_argument("--jams", action="store_true", help="also write a JAMS file per scene")
    parser.add_argument("--from_jams", type=Path, help="render the scenes of a JAMS file, or of a folder of them")
    parser.add_argument("--soundbank", type=Path, help="folder that the source files of --from_jams are relative to")
    return parser


def _refuse_contradictions(arguments: argparse.Namespace) -> None:
    if arguments.from_jams is None:
        if arguments.soundbank is not None:
            raise OptionsError("--soundbank belongs to --from_jams; with a conf, use --set soundbank.root=FOLDER")
        return
    if arguments.set or arguments.jams or arguments.conf_file != DEFAULT_CONF:
        raise OptionsError("--from_jams reads no conf and writes no JAMS; remove --conf_file, --set and --jams")
    if arguments.soundbank is None:
        raise OptionsError("--from_jams needs --soundbank FOLDER, to which the source files of the JAMS are relative")


def _names(options: SoundscapesOptions, part: str) -> list[str]:
    return audio_ids(part, options.parts[part].num_scenes)


def _is_complete(folder: Path, names: Sequence[str], with_jams: bool) -> bool:
    """Whether a part has its tables (the annotation is written last), all of its audio, and its JAMS if wanted."""
    if not (folder / "soundscapes.tsv").is_file():
        return False
    audio = {path.stem for path in folder.glob("audio/*.wav")}
    jams = {path.stem for path in folder.glob("jams/*.jams")}
    return set(names) <= audio and (not with_jams or set(names) <= jams)


def _write_jams_files(folder: Path, scenes: Sequence[GeneratedScene], options: SoundscapesOptions) -> None:
    root = None if isinstance(options.soundbank, ProceduralOptions) else options.soundbank.root
    (folder / "jams").mkdir(exist_ok=True)
    for generated in scenes:
        path = folder / "jams" / f"{generated.audio_id}.jams"
        write_jams(generated.scene, path, f"../audio/{generated.audio_id}.wav", root)


def _jams_paths(jams: Path) -> list[Path]:
    if not jams.is_dir():
        return [jams]
    paths = sorted(jams.glob("*.jams"))
    if not paths:
        raise CorpusError(f"{jams}: holds no .jams file; name the folder in which they lie")
    return paths


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _write_tables(folder: Path, scenes: Sequence[SceneRow]) -> None:
    write_durations({f"{scene.audio_id}.wav": scene.duration for scene in scenes}, folder / "durations.tsv")
    _write_sources(folder / "sources.tsv", scenes)
    write_strong(EventTable({f"{scene.audio_id}.wav": scene.events for scene in scenes}), folder / "soundscapes.tsv")


def _write_sources(path: Path, scenes: Sequence[SceneRow]) -> None:
    """What was heard in which clip, so that one can see that no source is in two splits."""
    unfinished = path.with_name(path.name + ".partial")
    with unfinished.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(("audio_id", "event_label", "source"))
        writer.writerows((scene.audio_id, label, source) for scene in scenes for label, source in scene.sources)
    unfinished.replace(path)


if __name__ == "__main__":
    run_recipe(main)
