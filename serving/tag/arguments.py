"""The flags of `desed-task tag`, and what is refused before the first recording is heard."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser, whole_number
from desed_task.errors import OptionsError
from desed_task.events import audio_id_of
from desed_task.hearing import DetectionOptions
from serving.tag.formats import FORMATS, TagFormat

# Stands for every class that is not named, as in a bundle.
OTHER_CLASSES = "default"


def parser() -> RecipeParser:
    """What reads the flags."""
    flags = RecipeParser(prog="desed-task tag", description="Say what recordings hold.")
    flags.add_argument("files", type=Path, nargs="+", metavar="FILE", help="recordings, or folders of them")
    flags.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    flags.add_argument("--top_k", type=whole_number(1), default=10, help="how many tags of a file are listed")
    flags.add_argument(
        *("--thresholds", "--threshold"),
        type=_threshold,
        nargs="+",
        action="extend",
        metavar="[CLASS=]SCORE",
        help="list only scores above this, and such events; of a class, or of all that are not named",
    )
    flags.add_argument("--labels", nargs="+", action="extend", metavar="CLASS", help="list only these classes")
    flags.add_argument("--min_duration", type=_seconds, default=0.0, help="leave out shorter events, in seconds")
    flags.add_argument(
        "--format", choices=sorted(FORMATS), default="table", help="json: one object per line; tsv: DCASE's tables"
    )
    flags.add_argument("--output", type=Path, help="file to write instead of the screen; an older one is replaced")
    flags.add_argument("--output_dir", type=Path, help="folder for a file per recording: audacity, raven, srt, vtt")
    flags.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    flags.add_argument("--num_threads", type=whole_number(1), help="threads on the CPU (all cores)")
    return flags


def detection_options(arguments: argparse.Namespace) -> DetectionOptions:
    """What is asked of each recording."""
    return DetectionOptions(
        thresholds=dict(arguments.thresholds) if arguments.thresholds else None,
        labels=tuple(arguments.labels) if arguments.labels else None,
        min_duration=arguments.min_duration,
    )


def require_places(arguments: argparse.Namespace, form: TagFormat, files: Sequence[Path], has_frames: bool) -> None:
    """OptionsError when the results have no place, or there would be none."""
    if form.suffix is None:
        if arguments.output_dir is not None:
            raise OptionsError(f"--output_dir: {arguments.format} is one file for all recordings; name it by --output")
        return
    if not has_frames:
        raise OptionsError(f"--format {arguments.format}: {arguments.bundle} gives no frame scores, so no events")
    if arguments.output is not None and arguments.output_dir is not None:
        raise OptionsError("--output, --output_dir: give one of them")
    if arguments.output_dir is None and len(files) > 1:
        raise OptionsError(f"--format {arguments.format} is a file per recording; name a folder by --output_dir")
    names: dict[Path, Path] = {}
    for file in files if arguments.output_dir is not None else ():
        other = names.setdefault(place_of(arguments.output_dir, file, form), file)
        if other is not file:
            raise OptionsError(f"--output_dir: {other} and {file} would be one file; tag them into two folders")


def place_of(folder: Path, file: Path, form: TagFormat) -> Path:
    """Where the results of one recording are written."""
    return folder / f"{audio_id_of(file.name)}{form.suffix}"


def _threshold(text: str) -> tuple[str, float]:
    """`0.3` or `dog=0.3` -> class and score."""
    name, equals, number = text.rpartition("=")
    try:
        score = float(number)
    except ValueError:
        score = -1.0
    if not 0.0 <= score <= 1.0 or (equals and not name):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number from 0 to 1 nor CLASS=number")
    return name or OTHER_CLASSES, score


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not (seconds >= 0.0 and math.isfinite(seconds)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0 or more")
    return seconds
