"""Operating points: event lists whose file names tell the threshold, in every naming that is in use.

    predictions_th_0.01.tsv                 the baselines of 2021 to 2024 (psds_eval); `th` may be `thr` or `threshold`
    0.010.tsv                               the notebooks of psds_eval
    baseline_0.1.csv  predictions0.5.csv    the examples of psds_eval and DESED_task
    predictions_05_student.tsv              the baseline's decision list at 0.5: a leading 0 without a point

In a folder with `th` in file names, a list at 0.5 that is named in another way is the system's decision list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from desed_task.events import EventTable
from desed_task.submission.evaluation_set import EvaluationSet
from desed_task.submission.event_lists import EventList, check_event_list
from desed_task.submission.faults import Faults

_NAMED = re.compile(r"(?:^|[^a-z])(?:th|thr|thresh|threshold)[-_=]?(-?\d*\.?\d+)", re.IGNORECASE)
_DECIMAL = re.compile(r"(?:^|(?<=[^\d.]))(-?\d*\.\d+)(?![\d.])")
_LEADING_ZERO = re.compile(r"(?:^|[_-])(0\d+)(?=[_-]|$)")
_WHOLE = re.compile(r"(?:^|[_-])([01])$")


def threshold_of(name: str) -> float | None:
    """The threshold in a file name without its suffix; None when it has none."""
    named = _NAMED.search(name)
    if named:
        return float(named[1])
    decimals = _DECIMAL.findall(name)
    if decimals:
        # `_0.5` after a word is not minus; `--0.5` and a bare `-0.5` are.
        text = decimals[-1]
        return abs(float(text)) if re.search(r"\w" + re.escape(text), name) and text.startswith("-") else float(text)
    leading_zero = _LEADING_ZERO.search(name)
    if leading_zero:
        return float(f"0.{leading_zero[1][1:]}")
    whole = _WHOLE.search(name)
    return float(whole[1]) if whole else None


def is_named_by_threshold(name: str) -> bool:
    """Whether the name says that its number is a threshold."""
    return _NAMED.search(name) is not None


def split_decisions(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """(operating points, decision lists) among the event lists of one folder.

    A single list without a threshold in its name, or with a 0.5 that is not called a threshold, is a decision list.
    Among files named `..._th_...`, so is each that is not, if it has no threshold or 0.5.
    """
    named = [path for path in paths if is_named_by_threshold(path.stem)]
    if named or len(paths) == 1:
        decisions = [path for path in paths if path not in named and threshold_of(path.stem) in (None, 0.5)]
        return [path for path in paths if path not in decisions], decisions
    return list(paths), []


def check_points(
    paths: Sequence[Path], evaluation_set: EvaluationSet, faults: Faults
) -> tuple[dict[float, EventTable], int] | None:
    """threshold -> events, ascending, and how many events pass the end of their clip; None when there are faults."""
    before = len(faults)
    lists: dict[float, EventList] = {}
    path_of: dict[float, Path] = {}
    for path in tqdm(paths, desc=f"reading {paths[0].parent.name}", unit="point", disable=None, leave=False):
        threshold = threshold_of(path.stem)
        if threshold is None:
            faults.add(f"{path}: no threshold in the file name; call it predictions_th_0.50{path.suffix}")
        elif not 0.0 <= threshold <= 1.0:
            faults.add(f"{path}: threshold {threshold:g} is not in [0, 1]; name the file after its threshold")
        elif threshold in path_of:
            faults.add(f"{path}: threshold {threshold:g} has the file {path_of[threshold].name}, too; remove one")
        else:
            path_of[threshold] = path
        found = check_event_list(path, evaluation_set, faults)
        if threshold is not None and found is not None:
            lists.setdefault(threshold, found)
    if len(faults) > before:
        return None
    return {threshold: lists[threshold].table for threshold in sorted(lists)}, sum(one.padded for one in lists.values())
