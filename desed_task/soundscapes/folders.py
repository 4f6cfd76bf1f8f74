"""Soundbank of folders: `root/foreground/<label>/*` and `root/background/*`, in any format soundfile reads.

Each split gets a disjoint share of the source recordings of every class and of the backgrounds (see shares.py), decided
by the seed. Where several files stem from one recording, `source_pattern` names the part of the file name that they
have in common; `^(\\d+)` keeps 1234_dog_1.wav and 1234_dog_2.wav together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from desed_task.errors import CorpusError
from desed_task.options import Options
from desed_task.soundscapes.isolation import AnyIsolationOptions
from desed_task.soundscapes.procedural.backgrounds import ProceduralBackgrounds
from desed_task.soundscapes.recorded import (
    RecordedBackgrounds,
    RecordedSoundbank,
    Sources,
    check_source_pattern,
    group_by_source,
    list_recordings,
    require_root,
)
from desed_task.soundscapes.shares import share_sources
from desed_task.soundscapes.silence import IsolationOptions
from desed_task.soundscapes.soundbank import BACKGROUND, SAMPLE_RATE, Backgrounds


class FoldersOptions(Options):
    """A soundbank of folders."""

    name: Literal["folders"]
    root: Path | None = Field(default=None, description="Folder with foreground/<label>/* and background/*.")
    shares: dict[str, float] = Field(
        default={"train": 0.7, "validation": 0.15, "test": 0.15},
        description="Weight of each split's share of the source recordings.",
    )
    source_pattern: Annotated[str | None, AfterValidator(check_source_pattern)] = Field(
        default=None, description="Regular expression at the beginning of a file name whose first group is the source."
    )
    procedural_backgrounds: bool = Field(
        default=False, description="Synthesise backgrounds and leave background/ alone."
    )
    isolation: AnyIsolationOptions = Field(
        default=IsolationOptions(), description="How recordings are cut into events."
    )

    @field_validator("shares")
    @classmethod
    def _shares_are_positive(cls, shares: dict[str, float]) -> dict[str, float]:
        if not shares or min(shares.values()) <= 0:
            raise ValueError(f"name at least one split, each with a positive weight, got {shares}")
        return shares


def build_folders_soundbank(
    options: FoldersOptions, split: str, seed: int, sample_rate: int = SAMPLE_RATE
) -> RecordedSoundbank:
    """The soundbank of one split. CorpusError on a missing folder, an empty class or an unknown split."""
    root = require_root(options.root)
    if split not in options.shares:
        raise CorpusError(f"split {split!r} has no share of {root}; add it to soundbank.shares")
    sources: dict[str, Sources] = {
        folder.name: group_by_source(list_recordings(folder), options.source_pattern)
        for folder in _class_folders(root / "foreground")
    }
    if not options.procedural_backgrounds:
        sources[BACKGROUND] = group_by_source(_background_recordings(root), options.source_pattern)
    split_of = share_sources(sources, options.shares, seed)
    own = {
        label: {source: paths for source, paths in of_class.items() if split_of[source] == split}
        for label, of_class in sources.items()
    }
    backgrounds: Backgrounds = (
        ProceduralBackgrounds(split, seed, sample_rate)
        if options.procedural_backgrounds
        else RecordedBackgrounds(own.pop(BACKGROUND), sample_rate)
    )
    return RecordedSoundbank(own, backgrounds, options.isolation, sample_rate)


def _class_folders(foreground: Path) -> list[Path]:
    if not foreground.is_dir():
        raise CorpusError(f"{foreground}: no such folder; a soundbank has foreground/<label>/* and background/*")
    folders = sorted(path for path in foreground.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise CorpusError(f"{foreground}: holds no class folder; put recordings into foreground/<label>/")
    return folders


def _background_recordings(root: Path) -> list[Path]:
    try:
        return list_recordings(root / "background")
    except CorpusError as error:
        raise CorpusError(f"{error} (or use --set soundbank.procedural_backgrounds=true)") from None
