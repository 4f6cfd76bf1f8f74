"""DESED in its published layout (DCASE Task 4, 2021-2023): folders of recordings, their tables, one root.

Each part is looked for in its `_16k` folder and, file by file, in the folder without that suffix, where the originals
lie as they were published (44.1 kHz): nothing has to be resampled beforehand. Files that a table lists and that are on
disk nowhere are left out and counted (`files_present` of `files_expected`): about 200 of the 1168 validation clips can
no longer be downloaded, and figures on fewer clips are not comparable. The weak set is split 90 : 10 into training and
validation as the baseline does (pandas' `sample(frac=.9, random_state=42)`).

Durations: of the evaluation parts from their table, and from the recording where the table is absent or lacks it. Those
of the training parts are nominal (10 s); nothing depends on them.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from pydantic import Field

from desed_task.audio.reading import AudioInfo
from desed_task.clips import Clip, ClipSet, Supervision, tags_of
from desed_task.data.checking import read_headers, read_true_durations
from desed_task.data.corpora.listing import find_recordings
from desed_task.errors import CorpusError
from desed_task.events import Event, audio_id_of
from desed_task.formats.dcase import read_durations, read_filenames, read_strong, read_weak, write_durations
from desed_task.options import Options

Part = Literal[
    "synthetic_train",
    "strong_real",
    "weak_train",
    "weak_validation",
    "unlabeled",
    "synthetic_validation",
    "validation",
    "public_eval",
    "eval",
]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class _Place:
    """Where a part lies below the root: folders without `_16k`, the first that has a file wins; its tables."""

    folders: tuple[str, ...]
    table: str | None = None
    durations: str | None = None
    is_evaluation: bool = False


_WEAK = _Place(("audio/train/weak",), "metadata/train/weak.tsv")
# Names as published in confs/default.yaml, 2022; audio/eval/public is where the `desed` package puts the public set.
_PLACES: dict[Part, _Place] = {
    "synthetic_train": _Place(
        ("audio/train/synthetic21_train/soundscapes",), "metadata/train/synthetic21_train/soundscapes.tsv"
    ),
    "strong_real": _Place(("audio/train/strong_label_real",), "metadata/train/audioset_strong.tsv"),
    "weak_train": _WEAK,
    "weak_validation": _WEAK,
    "unlabeled": _Place(("audio/train/unlabel_in_domain",), "metadata/train/unlabel_in_domain.tsv"),
    "synthetic_validation": _Place(
        ("audio/validation/synthetic21_validation/soundscapes",),
        "metadata/validation/synthetic21_validation/soundscapes.tsv",
        "metadata/validation/synthetic21_validation/durations.tsv",
        is_evaluation=True,
    ),
    "validation": _Place(
        ("audio/validation/validation",),
        "metadata/validation/validation.tsv",
        "metadata/validation/validation_durations.tsv",
        is_evaluation=True,
    ),
    "public_eval": _Place(
        ("audio/eval21", "audio/eval/public"),
        "metadata/eval/public.tsv",
        "metadata/eval/public_durations.tsv",
        is_evaluation=True,
    ),
    "eval": _Place(("audio/eval21",), is_evaluation=True),
}
CLIP_SECONDS = 10.0
WEAK_TRAIN_SHARE = 0.9
WEAK_SPLIT_SEED = 42


class DesedOptions(Options):
    """One part of DESED."""

    name: Literal["desed"]
    root: Path = Field(description="The folder that holds audio/ and metadata/.")
    part: Part = Field(description="Which part of it; `eval` is a folder of recordings without any table.")


def read_desed(options: DesedOptions, supervision: Supervision, labels: Collection[str] | None = None) -> ClipSet:
    """The part's clips that are on disk, of the classes in `labels` where they are given.

    CorpusError when its table, its folder or every recording is missing, or for labels of a part that has none.
    """
    place = _PLACES[options.part]
    if supervision != "none" and place.table is None:
        raise CorpusError(f"desed part {options.part}: has no {supervision} labels; use it with `supervision: none`")
    if place.table is not None:
        _require(options.root / place.table)
    folders = audio_folders(options.root, options.part)
    if not any(folder.is_dir() for folder in folders):
        _require(folders[0])
    found = find_recordings(folders)
    events, tags = _read_labels(options.part, options.root / place.table, labels) if place.table else ({}, {})
    listed = list(tags) if place.table else list(found)
    present = [name for name in listed if name in found]
    if not present:
        listed_in = f" of the {len(listed)} that {options.root / place.table} lists" if place.table else ""
        raise CorpusError(f"{folders[0]}: no recording{listed_in} is there")
    durations = durations_path(options.root, options.part)
    clips = _clips({name: found[name] for name in present}, durations, place.is_evaluation)
    return ClipSet(
        f"desed_{options.part}",
        clips,
        supervision,
        {audio_id_of(name): events.get(name, ()) for name in present},
        {audio_id_of(name): tags.get(name, ()) for name in present},
        missing=tuple(folders[-1] / name for name in listed if name not in found),
        durations_table=durations if durations is not None and durations.is_file() else None,
    )


def complete_durations(root: Path, part: Part, num_threads: int | None = None) -> int:
    """Add the recordings that the part's table of durations lacks, or make it; how many. None for training parts.

    One decimal, as published. Recordings that cannot be read are left out; the check names them.
    """
    place, path = _PLACES[part], durations_path(root, part)
    if path is None or place.table is None or not (root / place.table).is_file():
        return 0
    known = read_durations(path) if path.is_file() else {}
    found = find_recordings(audio_folders(root, part))
    lacking = [name for name in read_strong(root / place.table).filenames if name in found and name not in known]
    headers = read_headers([found[name] for name in lacking], f"durations of {part}", num_threads)
    durations = {
        name: info.duration for name, info in zip(lacking, headers, strict=True) if isinstance(info, AudioInfo)
    }
    if durations:
        write_durations({**known, **durations}, path, decimals=1)
    return len(durations)


def audio_folders(root: Path, part: Part) -> list[Path]:
    """Where the part's recordings may lie, in the order in which they are looked for."""
    return [root / f"{folder}{suffix}" for folder in _PLACES[part].folders for suffix in ("_16k", "")]


def durations_path(root: Path, part: Part) -> Path | None:
    """The part's table of durations, whether it is there or not; None for parts that have none."""
    durations = _PLACES[part].durations
    return root / durations if durations is not None else None


def table_path(root: Path, part: Part) -> Path | None:
    """The part's table of labels or names, whether it is there or not; None for parts that have none."""
    table = _PLACES[part].table
    return root / table if table is not None else None


def _require(path: Path) -> None:
    if not path.exists():
        raise CorpusError(
            f"{os.path.normpath(path)}: not there; fetch it with `python recipes/prepare_data.py --corpus desed`, "
            f"set its root in confs/corpora/desed.yaml, or try the whole system without data: `make demo`, whose "
            f"conf is confs/sed/demo.yaml"
        )


def _clips(found: dict[str, Path], durations: Path | None, is_evaluation: bool) -> tuple[Clip, ...]:
    """file name -> path as clips. Durations from the table, else from the recordings of an evaluation part."""
    known = read_durations(durations) if durations is not None and durations.is_file() else {}
    unknown = [Clip(audio_id_of(name), path, CLIP_SECONDS) for name, path in found.items() if name not in known]
    if is_evaluation and unknown:
        unknown = read_true_durations(unknown, "durations")
    read = {clip.audio_id: clip for clip in unknown}
    return tuple(
        Clip(audio_id_of(name), path, known[name]) if name in known else read[audio_id_of(name)]
        for name, path in found.items()
    )


def _read_labels(
    part: Part, table: Path, labels: Collection[str] | None
) -> tuple[dict[str, tuple[Event, ...]], dict[str, tuple[str, ...]]]:
    """filename -> events, filename -> class names, of the files that belong to the part."""
    if part == "unlabeled":
        return {}, dict.fromkeys(read_filenames(table), ())
    if part in ("weak_train", "weak_validation"):
        tags = read_weak(table, labels)
        names = list(tags)
        return {}, {names[position]: tags[names[position]] for position in _weak_split(len(names), part)}
    events = dict(read_strong(table, labels).items())
    return events, tags_of(events)


def _weak_split(num_files: int, part: Part) -> list[int]:
    """Rows of the weak table that belong to the part; training rows in the order of the draw, as pandas gives them."""
    order = np.random.RandomState(WEAK_SPLIT_SEED).permutation(num_files)
    num_train = round(WEAK_TRAIN_SHARE * num_files)
    chosen = order[:num_train] if part == "weak_train" else np.sort(order[num_train:])
    return [int(position) for position in chosen]
