"""Soundbank of folders per split: `<foreground of the split>/<label>/*` and `<background of the split>`.

For recordings that were divided by whoever published them, as those of GISE-51. `{split}` in a path stands for the
folder of the split in `folders`, or for its name where that does not list it. Backgrounds lie in their folder or in
folders within it, as Scaper has them. No source may be in the foreground of two splits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from desed_task.errors import CorpusError
from desed_task.options import Options
from desed_task.soundscapes.isolation import AnyIsolationOptions, WholeOptions
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
from desed_task.soundscapes.soundbank import SAMPLE_RATE, Backgrounds

_SPLIT = "{split}"


class SplitFoldersOptions(Options):
    """A soundbank of folders per split."""

    name: Literal["split_folders"]
    root: Path | None = Field(default=None, description="Folder that the other paths are relative to.")
    foreground: str = Field(
        default="foreground/{split}", description="Folder of a split's class folders, with {split} in it."
    )
    background: str | None = Field(
        default="background/{split}", description="Folder of a split's backgrounds; null: they are synthesised."
    )
    folders: dict[str, str] = Field(
        default={}, description="What {split} stands for, of splits that have folders of another name."
    )
    source_pattern: Annotated[str | None, AfterValidator(check_source_pattern)] = Field(
        default=None, description="Regular expression at the beginning of a file name whose first group is the source."
    )
    isolation: AnyIsolationOptions = Field(
        default=WholeOptions(name="whole"), description="How recordings are cut into events."
    )

    @field_validator("foreground")
    @classmethod
    def _names_the_split(cls, foreground: str) -> str:
        if _SPLIT not in foreground:
            raise ValueError(f"foreground {foreground!r} is the same for every split; put {_SPLIT} where they differ")
        return foreground

    def folder_of(self, root: Path, pattern: str, split: str) -> Path:
        """The folder that a pattern names for a split."""
        return root / pattern.replace(_SPLIT, self.folders.get(split, split))


def build_split_folders_soundbank(
    options: SplitFoldersOptions, split: str, seed: int, sample_rate: int = SAMPLE_RATE
) -> RecordedSoundbank:
    """The soundbank of one split. CorpusError on a missing folder, an empty class, a source in two splits."""
    root = require_root(options.root)
    events = _read_events(options, options.folder_of(root, options.foreground, split))
    own = {source for sources in events.values() for source in sources}
    for other in (name for name in options.folders if name != split):
        folder = options.folder_of(root, options.foreground, other)
        if not folder.is_dir():
            continue
        sources = {source for of_class in _read_events(options, folder).values() for source in of_class}
        if own & sources:
            raise CorpusError(
                f"{folder}: source {min(own & sources)!r} is in splits {split!r} and {other!r}; move its recordings to "
                f"one of them"
            )
    backgrounds: Backgrounds = ProceduralBackgrounds(split, seed, sample_rate)
    if options.background is not None:
        folder = options.folder_of(root, options.background, split)
        backgrounds = RecordedBackgrounds(group_by_source(_list_within(folder), options.source_pattern), sample_rate)
    return RecordedSoundbank(events, backgrounds, options.isolation, sample_rate)


def _read_events(options: SplitFoldersOptions, foreground: Path) -> dict[str, Sources]:
    if not foreground.is_dir():
        raise CorpusError(f"{foreground}: no such folder; correct soundbank.root, soundbank.foreground or the split")
    folders = sorted(path for path in foreground.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise CorpusError(f"{foreground}: holds no class folder; put recordings into <label>/ there")
    return {folder.name: group_by_source(list_recordings(folder), options.source_pattern) for folder in folders}


def _list_within(folder: Path) -> list[Path]:
    """The recordings of a folder and of those within it."""
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder; correct soundbank.background (null: they are synthesised)")
    inner = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    within = [path for each in (folder, *inner) for path in each.iterdir()]
    recordings = sorted(path for path in within if path.is_file() and not path.name.startswith("."))
    return recordings or list_recordings(folder)
