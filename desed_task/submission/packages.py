"""A submission, opened: recognised, unpacked where it is an archive, and checked before anything is scored.

`open_submission` takes a file, a folder or a zip archive (which is unpacked to a temporary folder and removed again),
in any of the `layouts`. What cannot be right is refused, all faults at once; what is only incomplete becomes a note
that stands beside the scores.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from desed_task.errors import SubmissionError
from desed_task.submission.checking import Submission, check_system
from desed_task.submission.evaluation_set import EvaluationSet
from desed_task.submission.event_lists import TABLE_SUFFIXES
from desed_task.submission.faults import Faults
from desed_task.submission.layouts import find_systems
from desed_task.submission.score_folders import Memory

# The challenge's limit, and that of 2024: four single systems and four ensembles.
MAX_SYSTEMS = 4
MAX_SYSTEMS_2024 = 8
_ARCHIVES = (".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz")
_LEFT_PACKED = (".pdf", ".wav", ".flac", ".ckpt")


@contextmanager
def open_submission(path: Path, evaluation_set: EvaluationSet, max_systems: int = MAX_SYSTEMS) -> Iterator[Submission]:
    """Recognise, read and check a submission. SubmissionError with all its faults."""
    if not path.exists():
        raise SubmissionError(f"{path}: no such file or folder; name what is to be scored")
    if path.is_dir() or path.suffix.lower() in TABLE_SUFFIXES:
        yield _check(path, path, evaluation_set, max_systems, Faults(path))
        return
    with tempfile.TemporaryDirectory(prefix="submission") as folder:
        unpacked = Path(folder) / path.stem
        _unpack(path, unpacked)
        yield _check(path, unpacked, evaluation_set, max_systems, Faults(path, unpacked))


def _unpack(archive: Path, folder: Path) -> None:
    """All that may be part of outputs. SubmissionError for what is no archive, broken, or larger than the disk."""
    if not zipfile.is_zipfile(archive):
        if archive.suffix.lower() == ".zip":
            raise SubmissionError(f"{archive}: no zip archive, or one whose end is missing; pack or send it again")
        raise SubmissionError(f"{archive}: neither a table (.tsv, .csv) nor a folder nor a zip archive; name one")
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as package:
            members = [member for member in package.infolist() if _is_unpacked(member.filename)]
            leading_out = [member.filename for member in members if _leads_out(member.filename)]
            if leading_out:
                raise SubmissionError(f"{archive}: its entry {leading_out[0]} leads out of the archive; pack it again")
            if sum(member.file_size for member in members) > shutil.disk_usage(folder).free:
                raise SubmissionError(f"{archive}: unpacked it is larger than the free space; unpack it elsewhere")
            for member in tqdm(members, desc=f"unpacking {archive.name}", unit="file", disable=None, leave=False):
                package.extract(member, folder)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise SubmissionError(f"{archive}: cannot be unpacked ({error}); pack it again") from None


def _is_unpacked(name: str) -> bool:
    # What else lies among score tables is unpacked, too, so that it can be refused.
    return Path(name).suffix.lower() not in _LEFT_PACKED and "__MACOSX" not in Path(name).parts


def _leads_out(name: str) -> bool:
    way = PurePosixPath(name.replace("\\", "/"))
    return way.is_absolute() or ".." in way.parts


def _archives_in(folder: Path) -> str:
    """A remark on the archives in a submission in which nothing else was found."""
    inner = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in _ARCHIVES)
    return f"; it holds archives, such as {inner[0]}: unpack them" if inner else ""


def _check(path: Path, folder: Path, evaluation_set: EvaluationSet, max_systems: int, faults: Faults) -> Submission:
    found = find_systems(folder, evaluation_set.same_source)
    if not any(system.outputs for system in found):
        archives = _archives_in(folder) if folder.is_dir() else ""
        faults.add(
            f"{path}: no system in it: neither score tables (onset, offset, classes) nor event lists (filename, onset, "
            f"offset, event_label); docs/submissions.md shows the layouts{archives}"
        )
        faults.raise_if_any()
    packaged = [system for system in found if system.folder is not None]
    if len(packaged) > max_systems:
        faults.add(f"{path}: {len(packaged)} systems, more than {max_systems}; leave some out")
    for system in packaged:
        if not system.outputs:
            assert system.folder is not None
            faults.add(
                f"{system.folder}: no scores, operating points or events in it; add them or remove the folder"
                f"{_archives_in(system.folder)}"
            )
    memory = Memory()
    systems = [check_system(system, folder, evaluation_set, faults, memory) for system in found if system.outputs]
    faults.raise_if_any()
    return Submission(path, tuple(systems))
