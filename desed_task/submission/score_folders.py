"""A folder of score tables as a mapping audio_id -> ScoreTable that reads a table when it is asked for.

Every table is read once to be checked; as many as fit the submission's `Memory` are kept, the others are read again
when they are scored. So a package of AudioSet's size (17,000 clips x 250 windows x 447 classes, 15 GB as float64) takes
no more memory than one of DESED's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from desed_task.formats.score_tables import (
    EDGE_TOLERANCE_SECONDS,
    SCORE_SUFFIX,
    check_score_table,
    clip_of_table,
    read_score_table,
)
from desed_task.labels import LabelSet
from desed_task.scores import ScoreTable
from desed_task.submission.evaluation_set import END_TOLERANCE_SECONDS, MAX_STRANGERS_TOLD, EvaluationSet
from desed_task.submission.faults import Faults

# What file managers leave behind.
_OF_DESKTOPS = {"thumbs.db", "desktop.ini", "__macosx"}
KEPT_BYTES = 512 * 2**20


@dataclass
class Memory:
    """How many bytes of scores may still be kept."""

    bytes_left: int = KEPT_BYTES

    def take(self, table: ScoreTable) -> bool:
        """Whether there is room for the table, which is then taken."""
        size = table.values.nbytes + table.edges.nbytes
        if size > self.bytes_left:
            return False
        self.bytes_left -= size
        return True


class ScoreFolder(Mapping[str, ScoreTable]):
    """Score tables by audio_id. padded: clips whose windows pass their end; lowest, highest: of all scores."""

    def __init__(self, folder: Path, paths: Mapping[str, Path], labels: LabelSet, memory: Memory) -> None:
        self.folder = folder
        self.labels = labels
        self.padded = 0
        self.lowest, self.highest = math.inf, -math.inf
        self._paths = dict(paths)
        self._kept: dict[str, ScoreTable] = {}
        self._memory = memory

    def keep(self, audio_id: str, table: ScoreTable) -> None:
        """Take note of a table that has been read, and keep it if there is room."""
        self.lowest = min(self.lowest, float(table.values.min()))
        self.highest = max(self.highest, float(table.values.max()))
        if self._memory.take(table):
            self._kept[audio_id] = table

    def __getitem__(self, audio_id: str) -> ScoreTable:
        table = self._kept.get(audio_id)
        return read_score_table(self._paths[audio_id]) if table is None else table

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def check_score_folder(
    folder: Path, evaluation_set: EvaluationSet, faults: Faults, memory: Memory
) -> ScoreFolder | None:
    """Read every table and add what is wrong; None when the folder cannot be scored."""
    before = len(faults)
    paths = _tables(folder, evaluation_set, faults)
    scores: ScoreFolder | None = None
    first: Path | None = None
    for audio_id, path in tqdm(paths.items(), desc=f"reading {folder.name}", unit="clip", disable=None, leave=False):
        table, sentences = check_score_table(path)
        for sentence in sentences:
            faults.add(sentence)
        if table is None:
            continue
        if scores is None or first is None:
            scores, first = ScoreFolder(folder, paths, table.labels, memory), path
            _check_classes(path, table.labels, evaluation_set, faults)
        elif table.labels != scores.labels:
            faults.add(f"{path}, row 1: {_class_difference(table.labels, scores.labels, first.name)}")
        scores.padded += _check_end(path, table, evaluation_set.seconds_of[audio_id], evaluation_set, faults)
        scores.keep(audio_id, table)
    return scores if len(faults) == before else None


def _tables(folder: Path, evaluation_set: EvaluationSet, faults: Faults) -> dict[str, Path]:
    """audio_id -> table, for the clips of the set; whatever else lies in the folder is a fault."""
    paths: dict[str, Path] = {}
    strangers: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.lower() in _OF_DESKTOPS:
            continue
        if path.is_dir() or path.suffix.lower() != SCORE_SUFFIX:
            faults.add(f"{path}: stands among score tables and is none; keep nothing but {SCORE_SUFFIX} files there")
            continue
        audio_id = clip_of_table(path)
        if audio_id in paths:
            faults.add(f"{path}: the clip {audio_id} has the table {paths[audio_id].name}, too; remove one")
        elif audio_id not in evaluation_set.seconds_of:
            strangers.append(path)
        else:
            paths[audio_id] = path
    if strangers and not paths:
        faults.add(
            f"{folder}: none of its {len(strangers)} clips, such as {clip_of_table(strangers[0])}, is in the table "
            "of durations; name the scores of this evaluation set"
        )
        return paths
    if len(strangers) > MAX_STRANGERS_TOLD:
        faults.add(
            f"{strangers[0]}: {clip_of_table(strangers[0])} and {len(strangers) - 1} other clips are not in the table "
            "of durations; remove the files or add the clips"
        )
        return paths
    for path in strangers:
        faults.add(f"{path}: {clip_of_table(path)} is not in the table of durations; remove the file or add the clip")
    if not paths:
        faults.add(f"{folder}: holds no score table; write one <audio_id>{SCORE_SUFFIX} per clip")
    return paths


def _check_classes(path: Path, labels: LabelSet, evaluation_set: EvaluationSet, faults: Faults) -> None:
    missing = [label for label in evaluation_set.truth_labels if label not in labels]
    if missing:
        faults.add(
            f"{path}, row 1: no column {missing[0]!r}, a class of the ground truth; its columns are "
            f"{', '.join(labels)}; name the classes as the ground truth does"
        )


def _class_difference(labels: LabelSet, expected: LabelSet, first_name: str) -> str:
    if set(labels) == set(expected):
        return f"the classes stand in another order than in {first_name}; write them in one order"
    other = next(iter(sorted(set(labels) ^ set(expected))))
    return f"other classes than in {first_name}, such as {other!r}; write all tables with one system"


def _check_end(path: Path, table: ScoreTable, seconds: float, evaluation_set: EvaluationSet, faults: Faults) -> bool:
    """Whether the windows pass the clip's end."""
    end, last_row = float(table.edges[-1]), len(table.values) + 1
    if end > evaluation_set.longest + END_TOLERANCE_SECONDS:
        faults.add(
            f"{path}, row {last_row}: the windows end at {end:.6g} s, {end - seconds:.3g} s beyond the clip and "
            f"beyond every clip of the set (tolerance {END_TOLERANCE_SECONDS} s); write times in seconds of the clip"
        )
    if end < seconds - END_TOLERANCE_SECONDS:
        faults.add(
            f"{path}, row {last_row}: the windows end at {end:.6g} s, before the clip does at {seconds:.6g} s "
            f"(tolerance {END_TOLERANCE_SECONDS} s); score the whole clip"
        )
    return end > seconds + EDGE_TOLERANCE_SECONDS
