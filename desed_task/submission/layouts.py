"""Layouts: what a path that is submitted holds, by its files and folders alone.

Recognised are, below a folder, in any mixture and depth:

    a folder of score tables                      scores; raw ones where a folder or file name on the way says
                                                  `raw` or `unprocessed`
    a folder of event lists                       operating points (see `operating_points`)
    one event list                                decisions

What lies below one system is told apart by the words in the names that are not of the layout (scores, output,
predictions, raw, ...): `run1`, `run_2`, `seed3` or `version_4` is a run, and so is a folder called by a number alone;
any other word is another system, such as `student` and `teacher`; inside a system's own folder it is another run. So
these are the same two systems:

    metrics_test/{student,teacher}_scores/{raw,postprocessed}/*.tsv           the baselines of 2023 and 2024
    metrics_test/{student,teacher}/scores/{raw,postprocessed}/*.tsv           a training run of this project
    metrics_test/{student,teacher}/scenario1/predictions_dtc.../predictions_th_*.tsv     the baselines of 2021 and 2022

A package has one folder per system, called by its label `<Name>_<Affiliation>_task4_<i>`, or with a meta YAML in it,
as the organisers' validator of 2024 wants it:

    <label>/<label>.meta.yaml
    <label>/<label>_run{1,2,3}.output/*.tsv               post-processed scores
    <label>/<label>_run{1,2,3}_unprocessed.output/*.tsv   raw scores

A YAML file is a meta when it has a section `submission`, or is called like one (`<label>.yaml`, `x.meta.yaml`); a run
folder's conf.yaml is none.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from desed_task.formats.score_tables import SCORE_SUFFIX, is_score_table
from desed_task.submission.event_lists import TABLE_SUFFIXES, is_event_list
from desed_task.submission.meta import has_submission_section
from desed_task.submission.operating_points import is_named_by_threshold, split_decisions

Kind = Literal["scores", "raw_scores", "points", "events"]

META_SUFFIXES = (".yaml", ".yml")
_LABEL = re.compile(r"^.+_task4[a-z]?(?:_[a-z]+)?_\d+$", re.IGNORECASE)
_RUN = re.compile(r"(?<![a-z])(run|seed|version)[\W_]*(\d+)", re.IGNORECASE)
_RUN_AT_END = re.compile(_RUN.pattern + "$", re.IGNORECASE)
_CRITERIA = re.compile(r"(?:dtc|gtc|cttc)[\d.]+", re.IGNORECASE)
_RAW_WORDS = {"raw", "unprocessed"}
_LAYOUT_WORDS = {
    *_RAW_WORDS,
    *("postprocessed", "processed", "post", "score", "scores", "output", "outputs", "prediction", "predictions"),
    *("operating", "points", "detections", "events", "metrics", "test", "scenario1", "scenario2", "tsv", "csv"),
}
# CodeCarbon's own tables lie in packages since 2024.
_NOT_OURS = re.compile(r"^(?:\..*|__macosx|.*codecarbon.*|emissions.*)$", re.IGNORECASE)
_NUM_LOOKED_AT = 20


@dataclass(frozen=True)
class Output:
    """What one run says in one way. `place`: the folder or file; `paths`: its files; `words`: what its name tells."""

    kind: Kind
    place: Path
    paths: tuple[Path, ...]
    words: tuple[str, ...]
    run: str | None


@dataclass(frozen=True)
class FoundSystem:
    """A system and its outputs; `folder`: its own folder in a package, None where it only has a name.

    no_metas: YAML files in its folder that are no meta.
    """

    label: str
    outputs: tuple[Output, ...]
    folder: Path | None = None
    meta: Path | None = None
    no_metas: tuple[Path, ...] = ()


def is_label(name: str) -> bool:
    """Whether the name is formed as the challenge's labels are."""
    return _LABEL.match(name) is not None


def find_systems(root: Path, ignored: Callable[[Path], bool] = lambda _: False) -> list[FoundSystem]:
    """The systems of a file or a folder, in order; none where nothing is recognised. `ignored`: tables of others."""
    if root.is_file():
        return [FoundSystem(root.stem, (Output("events", root, (root,), (), None),))]
    top = _unwrapped(root)
    folders = _system_folders(top)
    if folders:
        return [_packaged(folder, top, ignored) for folder in folders]
    of_system: dict[str, list[Output]] = {}
    outputs = list(_outputs(top, top, "", ignored))
    name = _name_of(root, top)
    if len(outputs) == 1:
        return [FoundSystem(" ".join(outputs[0].words) or name, tuple(outputs))]
    for output in outputs:
        of_system.setdefault(" ".join(output.words) or name, []).append(output)
    return [FoundSystem(label, tuple(found)) for label, found in of_system.items()]


def _unwrapped(folder: Path) -> Path:
    """The folder inside folders that hold nothing but one folder, as archives often begin; never a system's own."""
    while not is_label(folder.name):
        inside = [path for path in sorted(folder.iterdir()) if not _NOT_OURS.match(path.name)]
        if len(inside) != 1 or not inside[0].is_dir():
            break
        folder = inside[0]
    return folder


def _name_of(root: Path, top: Path) -> str:
    """The innermost folder from the root to the top that is called by more than words of the layout."""
    inner = [top, *(folder for folder in top.parents if folder.is_relative_to(root))]
    told = (folder.name for folder in inner if {word.lower() for word in _words(folder.name)} - _LAYOUT_WORDS)
    return next(told, root.name)


def _system_folders(top: Path) -> list[Path]:
    """The folders of a package's systems: called by a label or with a YAML file in them; `top` itself may be one."""
    if is_label(top.name) or _meta_files(top, None):
        below = [path for path in sorted(top.iterdir()) if path.is_dir() and is_label(path.name)]
        return [path for path in below if ".output" not in path.name] or [top]
    folders = [path for path in sorted(top.iterdir()) if path.is_dir() and not _NOT_OURS.match(path.name)]
    labelled = [path for path in folders if is_label(path.name) or _meta_files(path, None)]
    deeper = [inner for path in folders if path not in labelled for inner in _labelled_inside(path)]
    return labelled + deeper


def _labelled_inside(folder: Path) -> list[Path]:
    """`task4/<label>/` of packages for several tasks."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and is_label(path.name)]


def _yaml_files(folder: Path) -> list[Path]:
    files = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in META_SUFFIXES and path.is_file())
    return [path for path in files if not _NOT_OURS.match(path.name)]


def _meta_files(folder: Path, label: str | None) -> list[Path]:
    """The metas among the YAML files of a folder; with a label, those called by it."""
    named = [path for path in _yaml_files(folder) if label is None or path.name.partition(".")[0] == label]
    return named if label is not None else [path for path in named if _is_meta(path)]


def _is_meta(path: Path) -> bool:
    stem = path.name[: -len(path.suffix)].lower()
    return is_label(stem.partition(".")[0]) or stem.rpartition(".")[2] == "meta" or has_submission_section(path)


def _packaged(folder: Path, top: Path, ignored: Callable[[Path], bool]) -> FoundSystem:
    metas = _meta_files(folder, folder.name) or _meta_files(folder, None) or _meta_files(top, folder.name)
    outputs = tuple(_outputs(folder, folder, folder.name, ignored))
    others = tuple(path for path in _yaml_files(folder) if path not in metas)
    return FoundSystem(folder.name, outputs, folder, metas[0] if metas else None, others)


def _outputs(root: Path, folder: Path, label: str, ignored: Callable[[Path], bool]) -> Iterator[Output]:
    """Every output at or below a folder, in order of the names."""
    for where, names, files in os.walk(folder, followlinks=True):
        here = Path(where)
        names[:] = sorted(name for name in names if not _NOT_OURS.match(name) and not _leads_back(here / name))
        tables = [here / name for name in sorted(files) if Path(name).suffix.lower() in TABLE_SUFFIXES]
        tables = [path for path in tables if not _NOT_OURS.match(path.name) and not ignored(path)]
        if "detections.tsv" in files:
            # `recipes/evaluate.py` writes the same events once more, with their scores.
            tables = [path for path in tables if path.name != "events.tsv"]
        if not tables:
            continue
        if _holds_scores(tables):
            kind: Kind = "raw_scores" if _RAW_WORDS & set(_all_words(root, here)) else "scores"
            yield _output(kind, root, here, tuple(tables), label)
            names[:] = []
            continue
        lists = [path for path in tables if not _is_other_table(path)]
        points, decisions = ([], lists) if _are_called_by_runs(lists) else split_decisions(lists)
        if points:
            yield _output("points", root, here, tuple(points), label)
        for path in decisions:
            yield _output("events", root, path, (path,), label)


def _are_called_by_runs(lists: Sequence[Path]) -> bool:
    """Whether each of several event lists is of a run of its own: `run1.tsv`, `x_run2.tsv`."""
    runs = {_run_in(path.stem) for path in lists}
    return len(lists) == len(runs) > 1 and None not in runs and not any(is_named_by_threshold(p.stem) for p in lists)


def _leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that it lies in, where walking would never end."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


def _holds_scores(tables: list[Path]) -> bool:
    """Whether most of the tables are of scores; a few are looked at, and a broken one among them does not matter."""
    looked_at = [path for path in tables if path.suffix.lower() == SCORE_SUFFIX][:_NUM_LOOKED_AT]
    kinds = Counter(_kind_of(path) for path in looked_at)
    return kinds["scores"] > kinds["events"]


def _kind_of(path: Path) -> str:
    header = _header(path)
    return "scores" if is_score_table(header) else "events" if is_event_list(header) else "other"


def _is_other_table(path: Path) -> bool:
    """A sound table of something else: durations, tags, energy. What is broken is no other table, and is checked."""
    cells = {cell.strip() for cell in re.split(r"[\t,]", _header(path))}
    if cells & {"onset", "offset"}:
        return False
    return bool(cells & {"duration", "event_label", "event_labels", "emissions", "energy_consumed"})


def _header(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.readline(65536).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""


def _output(kind: Kind, root: Path, place: Path, paths: tuple[Path, ...], label: str) -> Output:
    told = _told(root, place, label)
    return Output(kind, place, paths, tuple(_telling_words(_RUN.sub(" ", told))), _run_in(told))


def _telling_words(told: str) -> Iterator[str]:
    """The words that are not of the layout; `crnn/crnn_scores` says crnn once, `mean_teacher/teacher` both."""
    above: list[str] = []
    for name in told.split("/"):
        words = [word for word in _words(name) if word.lower() not in _LAYOUT_WORDS]
        yield from words[len(above) if words[: len(above)] == above else 0 :]
        above = words or above


def run_of(way: Path) -> str | None:
    """The run that a path below a system's folder is of, None where it names none."""
    return _run_in(_on_the_way(way))


def _run_in(told: str) -> str | None:
    run = _RUN.search(told)
    return None if run is None else f"{run[1].lower()}{run[2]}"


def _on_the_way(way: Path) -> str:
    """The names of a path, a number alone as a seed."""
    return "/".join(f"seed{name}" if name.isdecimal() else name for name in way.parts)


def _all_words(root: Path, place: Path) -> list[str]:
    return [word.lower() for word in _words(_told(root, place, ""))]


def _told(root: Path, place: Path, label: str) -> str:
    """The names on the way from the root, without the system's label, criteria, and the threshold of a file."""
    told = _on_the_way(place.relative_to(root))
    if place.suffix.lower() in TABLE_SUFFIXES and not place.is_dir():
        told = told[: -len(place.suffix)]
        told = told if _RUN_AT_END.search(told) else re.sub(r"\d*\.?\d+$", "", told)
        told = re.sub(r"(?<=[_-])0\d+(?=[_-]|$)", "", told)
    told = re.sub(re.escape(label), "", told, flags=re.IGNORECASE) if label else told
    return _CRITERIA.sub(" ", told)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", text) if word]
