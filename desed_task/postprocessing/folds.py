"""Folds: which clips may choose, and which are kept for judging what was chosen.

A setting that was chosen on the very clips it is judged on flatters itself. So the clips are cut into folds, the
settings for each fold are chosen on the others, and every clip is judged with settings that never saw it. Recordings
cut from one source (two clips of one video) are not independent, so they go into one fold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from desed_task.errors import DesedTaskError, EventTableError, OptionsError
from desed_task.events import audio_id_of
from desed_task.formats.dcase import read_cells

# DESED and AudioSet: a video's 11 characters, with or without a Y in front, and where in it the clip lies.
_VIDEO_CLIP = re.compile(r"Y?([\w-]{11})_\d+(?:\.\d+)?_\d+(?:\.\d+)?")


def source_of(audio_id: str) -> str:
    """The video of a clip named like DESED's (`Y<video>_<start>_<end>`); any other clip is a source of its own."""
    named = _VIDEO_CLIP.fullmatch(audio_id)
    return named[1] if named else audio_id


def group_by_pattern(audio_ids: Sequence[str], pattern: str) -> dict[str, str]:
    """audio_id -> what the one group of `pattern` finds in it. OptionsError when it cannot be read or finds nothing."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise OptionsError(f"--group_by {pattern}: not a regular expression ({error})") from None
    if compiled.groups != 1:
        raise OptionsError(
            f"--group_by {pattern}: has {compiled.groups} groups in parentheses; write source, clip, or a regular "
            "expression with exactly one"
        )
    found = {audio_id: compiled.search(audio_id) for audio_id in audio_ids}
    groups = {audio_id: match[1] for audio_id, match in found.items() if match is not None and match[1] is not None}
    missing = [audio_id for audio_id in audio_ids if audio_id not in groups]
    if missing:
        raise OptionsError(f"--group_by {pattern}: finds nothing in {missing[0]} ({len(missing)} clips in all)")
    return groups


def group_by_column(audio_ids: Sequence[str], path: Path, column: str) -> dict[str, str]:
    """audio_id -> what stands in a column of a table with filenames. EventTableError when it has none of a clip."""
    columns, rows = read_cells(path, ("filename", column))
    groups: dict[str, str] = {}
    for row, cells in rows:
        of_row = dict(zip(columns, cells, strict=True))
        audio_id = audio_id_of(of_row["filename"])
        if groups.setdefault(audio_id, of_row[column]) != of_row[column]:
            raise EventTableError(f"{path}, row {row}: {audio_id} stands twice with different {column}; keep one")
    missing = [audio_id for audio_id in audio_ids if not groups.get(audio_id)]
    if missing:
        raise EventTableError(f"{path}: no {column} of {missing[0]} ({len(missing)} clips in all); add it")
    return {audio_id: groups[audio_id] for audio_id in audio_ids}


def assign_folds(group_of_clip: Mapping[str, str], num_folds: int, seed: int) -> dict[str, int]:
    """audio_id -> fold, whole groups together, the folds as equal in clips as that allows.

    group_of_clip: audio_id -> group. Groups of one size are drawn at random. DesedTaskError when there are fewer groups
    than folds.
    """
    sizes: dict[str, int] = {}
    for group in group_of_clip.values():
        sizes[group] = sizes.get(group, 0) + 1
    if not 2 <= num_folds <= len(sizes):
        raise DesedTaskError(
            f"{len(group_of_clip)} clips of {len(sizes)} sources cannot be cut into {num_folds} folds; "
            "ask for at least 2 folds, and at most as many as there are sources"
        )
    drawn = np.random.default_rng(seed).permutation(sorted(sizes)).tolist()
    num_clips: NDArray[np.int64] = np.zeros(num_folds, dtype=np.int64)
    fold_of_group = {}
    for group in sorted(drawn, key=lambda group: -sizes[group]):
        fold = int(num_clips.argmin())
        fold_of_group[group] = fold
        num_clips[fold] += sizes[group]
    return {audio_id: fold_of_group[group] for audio_id, group in group_of_clip.items()}
