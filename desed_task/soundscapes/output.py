"""The folder that receives what is made, soundscapes or recordings, and whether what is in it may stay.

The options that made a folder are written into it first. A folder that was made by other options, or that holds
anything of somebody else, is refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from desed_task.errors import DesedTaskError, OptionsError
from desed_task.options import Options, check_options, write_options
from desed_task.soundscapes.conf import SoundscapesOptions, is_part_name
from desed_task.soundscapes.files import AudioFormat

OPTIONS_FILE = "soundscapes.yaml"
RENDERING_FILE = "from_jams.yaml"
STRIPPING_FILE = "strip_silence.yaml"


class Rendering(Options):
    """What a folder of scenes that JAMS files describe was rendered from."""

    jams: Path = Field(description="The JAMS file, or the folder of them.")
    soundbank: Path = Field(description="The folder that their source files were found in.")
    further_soundbanks: tuple[Path, ...] = Field(default=(), description="The folders that were searched after it.")
    format: AudioFormat = Field(default="wav", description="Container of the audio.")
    sha256: str = Field(description="Digest of the names and contents of all JAMS files.")


def open_output_dir(output_dir: Path, options: SoundscapesOptions, overwrite: bool) -> None:
    """Make the folder and write its options; DesedTaskError when it holds anything else and `overwrite` is not given.

    Only a folder that holds an options file of ours is ever overwritten, and in it only the parts that file lists.
    """

    def parts_of(made_by: Mapping[str, Any]) -> Iterable[str]:
        return filter(is_part_name, made_by.get("parts", {}))

    _open(_Folder(output_dir, OPTIONS_FILE, "made by other options", parts_of), options, overwrite)


def open_rendering_dir(output_dir: Path, rendering: Rendering, overwrite: bool) -> None:
    """Make the folder for scenes of JAMS files; DesedTaskError when it holds anything else and not `overwrite`."""

    def everything(_: Mapping[str, Any]) -> Iterable[str]:
        return ("audio", "soundscapes.tsv", "durations.tsv", "sources.tsv")

    _open(_Folder(output_dir, RENDERING_FILE, "rendered from other files", everything), rendering, overwrite)


def open_stripped_dir(output_dir: Path, stripping: Options) -> None:
    """Make the folder for recordings without silence; DesedTaskError when it holds anything else."""
    _open(_Folder(output_dir, STRIPPING_FILE, "made by other options", None), stripping, overwrite=False)


@dataclass(frozen=True)
class _Folder:
    """A folder, the file in it that says what it was made by, and what is removed to make it anew (None: it is not)."""

    path: Path
    options_file: str
    made_differently: str
    outdated: Callable[[Mapping[str, Any]], Iterable[str]] | None


def _open(folder: _Folder, options: Options, overwrite: bool) -> None:
    path = folder.path / folder.options_file
    if not path.is_file():
        if folder.path.exists() and (not folder.path.is_dir() or any(folder.path.iterdir())):
            raise DesedTaskError(
                f"{folder.path}: is not empty and has no {folder.options_file}, so it is not ours; choose another "
                f"folder for the output"
            )
        folder.path.mkdir(parents=True, exist_ok=True)
        _write_options(options, path)
        return
    made_by = _read_plain(path)
    if overwrite and folder.outdated is not None:
        for name in folder.outdated(made_by):
            _remove(folder.path / name)
        _write_options(options, path)
        return
    difference = _first_difference(_with_later_keys(made_by, type(options)), _plain(options))
    if difference is not None:
        replacing = ", or replace it with --overwrite" if folder.outdated is not None else ""
        raise DesedTaskError(
            f"{folder.path}: was {folder.made_differently} ({difference}); choose another folder for the output"
            f"{replacing}"
        )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _write_options(options: Options, path: Path) -> None:
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


def _with_later_keys(made_by: dict[str, Any], options_class: type[Options]) -> dict[str, Any]:
    """Stored options with the defaults of keys that have come since; as they are where they no longer pass."""
    try:
        return _plain(check_options(made_by, options_class))
    except OptionsError:
        return made_by


def _plain(options: Options) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(options.model_dump_json())
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
