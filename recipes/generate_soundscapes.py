"""Generate soundscapes with known events: audio, strong annotation, durations and sources of every part of a conf.

    python recipes/generate_soundscapes.py --output_dir data/demo
    python recipes/generate_soundscapes.py --conf_file confs/soundscapes/esc10.yaml --output_dir data/esc10_scenes \
        --set soundbank.root=/where/esc10/is
    python recipes/generate_soundscapes.py --conf_file confs/soundscapes/gise51.yaml --output_dir data/gise51_mixtures \
        --set soundbank.root=data/gise51
    python recipes/generate_soundscapes.py --from_jams scaper --soundbank scaper --output_dir data/scaper/train
    python recipes/generate_soundscapes.py --from_jams data/gise51/jams/train --output_dir data/gise51_again/train \
        --soundbank data/gise51/isolated_events/train data/gise51/noises --format flac --txt

`--jams` also writes a JAMS file per scene, as Scaper does, into <part>/jams, `--txt` its events beside the audio.
`--from_jams` renders the scenes that JAMS files describe, one file or all of a folder, each at its own rate, from the
recordings that they name; no conf is read then, and the output folder is like that of one part.

A complete folder is left alone, an interrupted one is completed, one made by other options is refused. The layout is
described in desed_task/soundscapes/generate.py and desed_task/formats/soundscape_folder.py.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from desed_task.command_line import RecipeParser, run_recipe, whole_number
from desed_task.errors import CorpusError, OptionsError
from desed_task.formats.jams import read_jams
from desed_task.formats.soundscape_folder import (
    AUDIO,
    JAMS,
    lacks_nothing,
    write_event_lists,
    write_jams_files,
    write_label_numbers,
    write_tables,
)
from desed_task.options import read_options
from desed_task.soundscapes.conf import SoundscapesOptions, check_soundbanks
from desed_task.soundscapes.files import AudioFormat
from desed_task.soundscapes.generate import SceneRow, generate_part
from desed_task.soundscapes.output import Rendering, open_output_dir, open_rendering_dir
from desed_task.soundscapes.procedural.bank import ProceduralOptions
from desed_task.soundscapes.scaper import ScaperScene, find_source, render_scaper_scenes
from desed_task.soundscapes.stretch import require_stretch

DEFAULT_CONF = Path(__file__).resolve().parent.parent / "confs" / "soundscapes" / "demo.yaml"
LABEL_MAP = "lbl_map.json"
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
    replaced = [*arguments.set, *([f"files.format={arguments.format}"] if arguments.format else [])]
    options = read_options(arguments.conf_file, SoundscapesOptions, replaced)
    output_dir: Path = arguments.output_dir
    further = _further_files(options, arguments)
    unfinished = [
        part
        for part in options.parts
        if arguments.overwrite
        or not lacks_nothing(output_dir / part, options.names_of(part), options.files.format, further)
    ]
    if unfinished:
        check_soundbanks(options)
    open_output_dir(output_dir, options, arguments.overwrite)
    if options.files.lbl_map:
        write_label_numbers(options.scene.labels, output_dir / LABEL_MAP)
    for part in unfinished:
        _generate_part(options, part, output_dir / part, further, arguments.num_jobs)
    if not unfinished:
        _log.info("%s: complete, made by the same options; nothing to do", output_dir)


def _generate_part(options: SoundscapesOptions, part: str, folder: Path, further: set[str], num_jobs: int) -> None:
    scenes = generate_part(options, part, folder, num_jobs)
    root = None if isinstance(options.soundbank, ProceduralOptions) else options.soundbank.root
    if f"{AUDIO}/txt" in further:
        write_event_lists(folder, scenes)
    for below in (AUDIO, JAMS):
        if f"{below}/jams" in further:
            write_jams_files(folder, below, scenes, root)
    write_tables(folder, scenes)
    _log.info("%s: %d scenes of part %r", folder, len(scenes), part)


def _further_files(options: SoundscapesOptions, arguments: argparse.Namespace) -> set[str]:
    """What else is wanted of each clip: folder/suffix."""
    beside = {*options.files.beside, *(["txt"] if arguments.txt else [])}
    return {f"{AUDIO}/{suffix}" for suffix in beside} | ({f"{JAMS}/jams"} if arguments.jams else set())


def _render_jams(jams: Path, soundbank: Sequence[Path], arguments: argparse.Namespace) -> None:
    paths = _jams_paths(jams)
    scenes = _read_scenes(paths, soundbank)
    if any(scene.stretches for scene in scenes.values()):
        require_stretch()
    output_dir: Path = arguments.output_dir
    audio_format: AudioFormat = arguments.format or "wav"
    first, *others = (folder.resolve() for folder in soundbank)
    rendering = Rendering(
        jams=jams.resolve(),
        soundbank=first,
        further_soundbanks=tuple(others),
        format=audio_format,
        sha256=_digest(paths),
    )
    open_rendering_dir(output_dir, rendering, arguments.overwrite)
    if lacks_nothing(output_dir, scenes, audio_format, [f"{AUDIO}/txt"] if arguments.txt else []):
        _log.info("%s: complete, rendered from the same files; nothing to do", output_dir)
        return
    render_scaper_scenes(scenes, soundbank, output_dir / AUDIO, arguments.num_jobs, audio_format)
    rows = [
        SceneRow(name, f"{name}.{audio_format}", scene.duration, tuple(scene.events()), tuple(scene.sources()))
        for name, scene in scenes.items()
    ]
    if arguments.txt:
        write_event_lists(output_dir, rows)
    write_tables(output_dir, rows)
    _log.info("%s: %d scenes of %s", output_dir, len(scenes), jams)


def _read_scenes(paths: Sequence[Path], soundbank: Sequence[Path]) -> dict[str, ScaperScene]:
    """Name -> scene, all of whose recordings are there."""
    scenes = {}
    for path in tqdm(paths, desc="reading", unit="scene", disable=None):
        scenes[path.stem] = read_jams(path)
        for placed in scenes[path.stem].placed:
            find_source(placed, soundbank, str(path))
    return scenes


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Generate soundscapes with known events.")
    parser.add_argument("--conf_file", type=Path, default=DEFAULT_CONF, help="what to generate")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder that receives the parts")
    parser.add_argument("--num_jobs", type=whole_number(1), default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that was generated before")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace one key of the conf")
    parser.add_argument("--format", choices=("wav", "flac"), help="container of the audio (the conf's, or wav)")
    parser.add_argument("--jams", action="store_true", help="also write a JAMS file per scene")
    parser.add_argument("--txt", action="store_true", help="also write the events of each scene beside its audio")
    parser.add_argument("--from_jams", type=Path, help="render the scenes of a JAMS file, or of a folder of them")
    parser.add_argument(
        "--soundbank", type=Path, nargs="+", help="folders that the source files of --from_jams are looked for in"
    )
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


if __name__ == "__main__":
    run_recipe(main)
