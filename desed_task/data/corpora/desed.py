"""DESED in its published layout (DCASE Task 4, 2021-2023): folders of 16 kHz recordings, their tables, one root.

Files that a table lists and that are not on disk are left out and counted (`files_present` of `files_expected`): about
200 of the 1168 validation clips can no longer be downloaded, and figures on fewer clips are not comparable. The weak
set is split 90 : 10 into training and validation as the baseline does (pandas' `sample(frac=.9, random_state=42)`).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from desed_task.clips import Clip, ClipSet, Supervision, tags_of
from desed_task.errors import CorpusError
from desed_task.events import Event, audio_id_of
from desed_task.formats.dcase import read_durations, read_filenames, read_strong, read_weak
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
]
# part -> (folder of recordings, table), relative to the root; names as published in confs/default.yaml, 2022.
_LAYOUT: dict[str, tuple[str, str]] = {
    "synthetic_train": (
        "audio/train/synthetic21_train/soundscapes_16k",
        "metadata/train/synthetic21_train/soundscapes.tsv",
    ),
    "strong_real": ("audio/train/strong_label_real_16k", "metadata/train/audioset_strong.tsv"),
    "weak_train": ("audio/train/weak_16k", "metadata/train/weak.tsv"),
    "weak_validation": ("audio/train/weak_16k", "metadata/train/weak.tsv"),
    "unlabeled": ("audio/train/unlabel_in_domain_16k", "metadata/train/unlabel_in_domain.tsv"),
    "synthetic_validation": (
        "audio/validation/synthetic21_validation/soundscapes_16k",
        "metadata/validation/synthetic21_validation/soundscapes.tsv",
    ),
    "validation": ("audio/validation/validation_16k", "metadata/validation/validation.tsv"),
    "public_eval": ("audio/eval21_16k", "metadata/eval/public.tsv"),
}
_DURATIONS = {
    "synthetic_validation": "metadata/validation/synthetic21_validation/durations.tsv",
    "validation": "metadata/validation/validation_durations.tsv",
}
CLIP_SECONDS = 10.0
WEAK_TRAIN_SHARE = 0.9
WEAK_SPLIT_SEED = 42


class DesedOptions(Options):
    """One part of DESED."""

    name: Literal["desed"]
    root: Path = Field(description="The folder that holds audio/ and metadata/.")
    part: Part = Field(description="Which part of it.")


def read_desed(options: DesedOptions, supervision: Supervision, labels: Collection[str] | None = None) -> ClipSet:
    """The part's clips that are on disk, of the classes in `labels` where they are given.

    CorpusError when its table, its folder or every recording is missing.
    """
    audio_folder, table = (options.root / path for path in _LAYOUT[options.part])
    for path in (table, audio_folder):
        if not path.exists():
            raise CorpusError(
                f"{os.path.normpath(path)}: not there; fetch it with `python recipes/prepare_data.py --corpus desed`, "
                f"set its root in confs/corpora/desed.yaml, or try the whole system without data: `make demo`, whose "
                f"conf is confs/sed/demo.yaml"
            )
    events, tags = _read_labels(options.part, table, labels)
    durations = read_durations(options.root / _DURATIONS[options.part]) if options.part in _DURATIONS else {}
    listed = {name: Clip(audio_id_of(name), audio_folder / name, durations.get(name, CLIP_SECONDS)) for name in tags}
    present = {name: clip for name, clip in listed.items() if clip.path.is_file()}
    if not present:
        raise CorpusError(f"{audio_folder}: none of the {len(listed)} recordings of {table} is there")
    return ClipSet(
        f"desed_{options.part}",
        tuple(present.values()),
        supervision,
        {clip.audio_id: events.get(name, ()) for name, clip in present.items()},
        {clip.audio_id: tags[name] for name, clip in present.items()},
        num_expected=len(listed),
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
