"""Generation: the parts of a conf (train, validation, test ...) written to disk.

    <output_dir>/soundscapes.yaml                     the resolved options, written first
    <output_dir>/<part>/audio/<part>_00012.wav        16-bit PCM; rate, container and name are the conf's
    <output_dir>/<part>/durations.tsv, sources.tsv    and last of all
    <output_dir>/<part>/soundscapes.tsv               the strong annotation: a part that has it is complete

Scene i of a part is seeded with (seed, part, i) alone, so any number of processes writes the same files, and an
interrupted part is completed with the same scenes.

This file stands below `formats`, so the recipe writes the tables: `generate_part` returns what they hold.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from tqdm import tqdm

from desed_task.audio.reading import write_waveform
from desed_task.events import Event
from desed_task.soundscapes.conf import SoundscapesOptions
from desed_task.soundscapes.processes import mapping_over
from desed_task.soundscapes.render import render_scene
from desed_task.soundscapes.scene import Scene, draw_scene
from desed_task.soundscapes.soundbank import Soundbank, seeded

# Files that are still being written; whatever an interruption leaves there is removed.
_UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class SceneRow:
    """What the tables say about one scene. filename: of its clip; sources: (class or "background", source)."""

    audio_id: str
    filename: str
    duration: float
    events: tuple[Event, ...]
    sources: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class GeneratedScene(SceneRow):
    """What the tables say about one scene, and the scene itself."""

    scene: Scene


def generate_part(options: SoundscapesOptions, part: str, folder: Path, num_jobs: int) -> list[GeneratedScene]:
    """Write the audio of one part that is not there yet; what the tables hold, in order of `audio_id`."""
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    num_scenes = options.parts[part].num_scenes
    with mapping_over(min(num_jobs, num_scenes)) as map_in_order:
        generate = partial(_generate_scene, options.model_dump_json(), part, folder)
        scenes = map_in_order(generate, range(num_scenes))
        generated = list(tqdm(scenes, total=num_scenes, desc=part, unit="scene", disable=None))
    shutil.rmtree(folder / _UNFINISHED, ignore_errors=True)
    return generated


def _generate_scene(options_json: str, part: str, folder: Path, index: int) -> GeneratedScene:
    options = _parsed(options_json)
    soundbank = _soundbank_of(options_json, options.split_of(part))
    scene = draw_scene(seeded(options.seed, part, index), options.scene_of(part), soundbank)
    audio_id = options.files.name_of(part, index)
    path = folder / "audio" / f"{audio_id}.{options.files.format}"
    if not path.is_file():
        unfinished = folder / _UNFINISHED / path.name
        unfinished.parent.mkdir(exist_ok=True)
        write_waveform(unfinished, render_scene(scene, soundbank)[0], scene.sample_rate)
        unfinished.replace(path)
    return GeneratedScene(audio_id, path.name, scene.duration, tuple(scene.events()), tuple(scene.sources()), scene)


# Options and soundbank are built once per process and conf, not once per scene.
@cache
def _parsed(options_json: str) -> SoundscapesOptions:
    return SoundscapesOptions.model_validate_json(options_json)


@cache
def _soundbank_of(options_json: str, split: str) -> Soundbank:
    return _parsed(options_json).build_soundbank(split)
