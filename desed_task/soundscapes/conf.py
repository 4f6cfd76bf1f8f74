"""The conf of a set of soundscapes: a soundbank, how scenes are drawn, and the parts (train, validation, test ...).

Each part draws from one split of the soundbank and inherits the section `scene`, of which it may replace keys. Splits
share no source; parts of one split (strong, weak and unlabeled training clips) share all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from desed_task.errors import OptionsError
from desed_task.options import Options, check_options
from desed_task.soundscapes.files import FilesOptions
from desed_task.soundscapes.folders import FoldersOptions, build_folders_soundbank
from desed_task.soundscapes.procedural.bank import ProceduralOptions, build_procedural_soundbank
from desed_task.soundscapes.scene import SceneOptions
from desed_task.soundscapes.soundbank import SAMPLE_RATE, Soundbank, require_labels
from desed_task.soundscapes.split_folders import SplitFoldersOptions, build_split_folders_soundbank
from desed_task.soundscapes.stretch import require_stretch
from desed_task.soundscapes.table import TableOptions, build_table_soundbank

_PART_NAME = re.compile(r"[A-Za-z0-9_-]+")

AnySoundbankOptions = Annotated[
    FoldersOptions | ProceduralOptions | SplitFoldersOptions | TableOptions, Field(discriminator="name")
]


class PartOptions(Options):
    """One part: how many scenes, from which split of the soundbank, and what it draws otherwise than the others."""

    num_scenes: int = Field(ge=1, description="Scenes in the part.")
    split: str | None = Field(
        default=None, description="Split of the soundbank, which parts may share; by default its name."
    )
    scene: dict[str, Any] = Field(
        default={}, description="Keys of the common section `scene` that differ in this part."
    )


class SoundscapesOptions(Options):
    """A set of soundscapes. Each part inherits the section `scene` and may replace some of its keys."""

    version: Literal[1] = Field(default=1, description="Raised when the same options begin to give other scenes.")
    seed: int = Field(ge=0, description="Seed of everything.")
    sample_rate: int = Field(
        default=SAMPLE_RATE, ge=8_000, le=192_000, description="Hz of scenes; recordings are resampled to it."
    )
    soundbank: AnySoundbankOptions = Field(description="Where the sounds come from.")
    scene: SceneOptions = Field(description="How scenes are drawn in every part.")
    files: FilesOptions = Field(default=FilesOptions(), description="What is written, and what it is called.")
    parts: dict[str, PartOptions] = Field(min_length=1, description="The parts by name.")

    @field_validator("parts")
    @classmethod
    def _parts_are_sound(cls, parts: dict[str, PartOptions], info: ValidationInfo) -> dict[str, PartOptions]:
        for name, part in parts.items():
            if not is_part_name(name):
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

    def names_of(self, part: str) -> list[str]:
        """The names of a part's clips, in order."""
        return self.files.names_of(part, self.parts[part].num_scenes)

    def build_soundbank(self, split: str) -> Soundbank:
        """The soundbank of one split. A DesedTaskError says what it lacks."""
        return build_soundbank(self.soundbank, split, self.seed, self.sample_rate)


def build_soundbank(options: AnySoundbankOptions, split: str, seed: int, sample_rate: int = SAMPLE_RATE) -> Soundbank:
    """The soundbank of one split. A DesedTaskError says what it lacks."""
    if isinstance(options, ProceduralOptions):
        return build_procedural_soundbank(options, split, seed, sample_rate)
    if isinstance(options, FoldersOptions):
        return build_folders_soundbank(options, split, seed, sample_rate)
    if isinstance(options, SplitFoldersOptions):
        return build_split_folders_soundbank(options, split, seed, sample_rate)
    return build_table_soundbank(options, split, seed, sample_rate)


def check_soundbanks(options: SoundscapesOptions) -> None:
    """Refuse what would stop the generation half-way: a missing folder or package, an unknown class or split."""
    for part in options.parts:
        check_part(options, part)


def check_part(options: SoundscapesOptions, part: str) -> None:
    """Refuse what would stop the generation of one part half-way."""
    split, scene = options.split_of(part), options.scene_of(part)
    if scene.variation.stretches:
        require_stretch()
    if scene.room is not None:
        scene.room.check_files()
    require_labels(options.build_soundbank(split), scene.labels, split)


def is_part_name(name: str) -> bool:
    """Whether a name may become a folder."""
    return _PART_NAME.fullmatch(name) is not None


def _inherited(common: SceneOptions, own: Mapping[str, Any], origin: str) -> SceneOptions:
    """The common section with a part's own keys; its subsections are merged too. OptionsError names the key."""
    tree: dict[str, Any] = json.loads(common.model_dump_json())
    for key, value in own.items():
        below = tree.get(key)
        tree[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return check_options(tree, SceneOptions, default_origin=origin)
