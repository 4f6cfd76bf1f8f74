"""Generation: the parts of a conf (train, validation, test ...) written to disk.

    <output_dir>/soundscapes.yaml                     the resolved options, written first
    <output_dir>/<part>/audio/<part>_00012.wav        16 kHz, 16-bit PCM
    <output_dir>/<part>/durations.tsv, sources.tsv    and last of all
    <output_dir>/<part>/soundscapes.tsv               the strong annotation: a part that has it is complete

Scene i of a part is seeded with (seed, part, i) alone, so any number of processes writes the same files, and an
interrupted part is completed with the same scenes. A folder that was made by other options is refused.

This file stands below `formats`, so the recipe writes the tables: `generate_part` returns what they hold.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationInfo, field_validator
from tqdm import tqdm

from desed_task.audio.reading import write_waveform
from desed_task.errors import DesedTaskError, OptionsError
from desed_task.events import Event
from desed_task.options import Options, check_options, write_options
from desed_task.soundscapes.folders import FoldersOptions, build_folders_soundbank
from desed_task.soundscapes.procedural.bank import ProceduralOptions, build_procedural_soundbank
from desed_task.soundscapes.render import render_scene
from desed_task.soundscapes.scene import SceneOptions, draw_scene
from desed_task.soundscapes.soundbank import SAMPLE_RATE, Soundbank, require_labels, seeded
from desed_task.soundscapes.table import TableOptions, build_table_soundbank

OPTIONS_FILE = "soundscapes.yaml"

AnySoundbankOptions = Annotated[FoldersOptions | ProceduralOptions | TableOptions, Field(discriminator="name")]


class PartOptions(Options):
    """One part: how many scenes, from which split of the soundbank, and what it draws otherwise than the others."""

    num_scenes: int = Field(ge=1, description="Scenes in the part.")
    split: str | None = Field(None, description="Split of the soundbank, which parts may share; by default its name.")
    scene: dict[str, Any] = Field({}, description="Keys of the common section `scene` that differ in this part.")


class SoundscapesOptions(Options):
    """A set of soundscapes. Each part inherits the section `scene` and may replace some of its keys."""

    version: Literal[1] = Field(1, description="Raised when the same options begin to give other scenes.")
    seed: int = Field(ge=0, description="Seed of everything.")
    soundbank: AnySoundbankOptions = Field(description="Where the sounds come from.")
    scene: SceneOptions = Field(description="How scenes are drawn in every part.")
    parts: dict[str, PartOptions] = Field(min_length=1, description="The parts by name.")

    @field_validator("parts")
    @classmethod
    def _parts_are_sound(cls, parts: dict[str, PartOptions], info: ValidationInfo) -> dict[str, PartOptions]:
        for name, part in parts.items():
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ValueError(f"part {name!r} becomes a folder; use letters, digits, _ and - in its name")
            if "scene" in info.data:
                try:
                    _inherited(info.data["scene"], part.scene, f"{name}.scene")
                except OptionsError as error:
                    raise ValueError(str(error)) from None
        return parts

    def split_of(self, part: str) -> str:
        """The split of the soundbank that a part draws from."""
        return self.parts[part].split or part

    def scene_of(self, part: str) -> SceneOptions:
        """How a part's scenes are drawn: the common section with the part's own keys."""
        return _inherited(self.scene, self.parts[part].scene, f"parts.{part}.scene")


@dataclass(frozen=True)
class GeneratedScene:
    """What the tables say about one scene. sources: (class or "background", source)."""

    audio_id: str
    duration: float
    events: tuple[Event, ...]
    sources: tuple[tuple[str, str], ...]


def build_soundbank(options: AnySoundbankOptions, split: str, seed: int) -> Soundbank:
    """The soundbank of one split. A DesedTaskError says what it lacks."""
    if isinstance(options, ProceduralOptions):
        return build_procedural_soundbank(options, split, seed)
    if isinstance(options, FoldersOptions):
        return build_folders_soundbank(options, split, seed)
    return build_table_soundbank(options, split, seed)


def check_soundbanks(options: SoundscapesOptions) -> None:
    """Refuse what would stop the generation half-way: a missing folder, an unknown class or split."""
    for part in options.parts:
        split = options.split_of(part)
        require_labels(build_soundbank(options.soundbank, split, options.seed), options.scene_of(part).labels, split)


def open_output_dir(output_dir: Path, options: SoundscapesOptions, overwrite: bool) -> None:
    """Make the folder and write its options; DesedTaskError when it holds anything else and `overwrite` is not given.

    Only a folder that holds an options file of ours is ever overwritten, and in it only the parts that file lists.
    """
    path = output_dir / OPTIONS_FILE
    if not path.is_file():
        if output_dir.exists() and (not output_dir.is_dir() or any(output_dir.iterdir())):
            raise DesedTaskError(
                f"{output_dir}: is not empty and has no {OPTIONS_FILE}, so it was not generated; choose another --output_dir"
            )
        output_dir.mkdir(parents=True, exist_ok=True)
        _write_options(options, path)
        return
    made_by = _read_plain(path)
    difference = _first_difference(made_by, json.loads(options.model_dump_json()))
    if overwrite:
        for part in made_by.get("parts", {}):
            shutil.rmtree(output_dir / Path(part).name, ignore_errors=True)
        _write_options(options, path)
    elif difference is not None:
        raise DesedTaskError(
            f"{output_dir}: was made by other options ({difference}); choose another --output_dir, or replace it with "
            f"--overwrite"
        )


def generate_part(options: SoundscapesOptions, part: str, folder: Path, num_jobs: int) -> list[GeneratedScene]:
    """Write the audio of one part that is not there yet; what the tables hold, in order of `audio_id`."""
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    num_scenes = options.parts[part].num_scenes
    with _mapping(min(num_jobs, num_scenes)) as map_in_order:
        generate = partial(_generate_scene, options.model_dump_json(), part, folder)
        progress = tqdm(map_in_order(generate, range(num_scenes)), total=num_scenes, desc=part, unit="scene")
        generated = list(progress)
    shutil.rmtree(folder / _UNFINISHED, ignore_errors=True)
    return generated


def audio_ids(part: str, num_scenes: int) -> list[str]:
    """The names of a part's clips."""
    return [f"{part}_{index:05d}" for index in range(num_scenes)]


# Files that are still being written; whatever an interruption leaves there is removed.
_UNFINISHED = ".unfinished"


def _generate_scene(options_json: str, part: str, folder: Path, index: int) -> GeneratedScene:
    options = _parsed(options_json)
    soundbank = _soundbank_of(options_json, options.split_of(part))
    scene = draw_scene(seeded(options.seed, part, index), options.scene_of(part), soundbank)
    audio_id = f"{part}_{index:05d}"
    path = folder / "audio" / f"{audio_id}.wav"
    if not path.is_file():
        unfinished = folder / _UNFINISHED / path.name
        unfinished.parent.mkdir(exist_ok=True)
        write_waveform(unfinished, render_scene(scene, soundbank)[0], SAMPLE_RATE)
        unfinished.replace(path)
    return GeneratedScene(audio_id, scene.duration, tuple(scene.events()), tuple(scene.sources()))


# Options and soundbank are built once per process and conf, not once per scene.
@cache
def _parsed(options_json: str) -> SoundscapesOptions:
    return SoundscapesOptions.model_validate_json(options_json)


@cache
def _soundbank_of(options_json: str, split: str) -> Soundbank:
    options = _parsed(options_json)
    return build_soundbank(options.soundbank, split, options.seed)


@contextmanager
def _mapping(num_jobs: int) -> Iterator[Any]:
    """`map` in this process, or over spawned ones; results in order either way."""
    if num_jobs <= 1:
        yield map
        return
    # Spawned, not forked: the caller may hold threads (a fork of those can deadlock).
    with multiprocessing.get_context("spawn").Pool(num_jobs, _ignore_interrupts) as pool:
        yield partial(pool.imap, chunksize=4)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches every process; only the one that reports it should."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _inherited(common: SceneOptions, own: Mapping[str, Any], origin: str) -> SceneOptions:
    """The common section with a part's own keys; its subsections are merged too. OptionsError names the key."""
    tree: dict[str, Any] = json.loads(common.model_dump_json())
    for key, value in own.items():
        below = tree.get(key)
        tree[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return check_options(tree, SceneOptions, default_origin=origin)


def _write_options(options: SoundscapesOptions, path: Path) -> None:
    unfinished = path.with_name(path.name + ".partial")
    write_options(options, unfinished)
    unfinished.replace(path)


def _read_plain(path: Path) -> dict[str, Any]:
    """The stored options as plain values: those of an older version need not pass today's checks."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        tree = None
    if not isinstance(tree, dict):
        raise DesedTaskError(f"{path}: is not the options of generated soundscapes; choose another --output_dir")
    return tree


def _first_difference(old: Any, new: Any, key: str = "") -> str | None:
    """The first key in which two trees differ, with both values; None when they are equal."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            below = f"{key}.{name}" if key else str(name)
            found = _first_difference(old.get(name), new.get(name), below)
            if found is not None:
                return found
        return None
    return None if old == new else f"{key} was {_short(old)}, now {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
