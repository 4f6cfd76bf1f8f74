"""Unpacking zip and tar archives: nothing lands outside the destination, and what was begun is completed.

A zip in several parts (a.z01, a.z02 ... beside a.zip) is unpacked by the name of its last one.

Refused: absolute names and `..`, links, devices, encrypted members, two members of one name, more bytes than allowed or
than there is room for. Each file is written as <name>.partial and renamed when it is whole; one that already stands
there with the same content is left alone, so that unpacking again completes a half-unpacked tree and repairs it.
"""

from __future__ import annotations

import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from desed_task.data.fetch.split_zip import is_split, opened_zip_file
from desed_task.errors import FetchError

MOST_BYTES = 100_000_000_000
_BLOCK_BYTES = 1 << 18
_DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError),
    NotImplementedError,  # a zip compressed in a way that this Python does not know
)
# Where a member belongs below the destination; None leaves it out.
Placement = Callable[[PurePosixPath], PurePosixPath | None]


@dataclass(frozen=True)
class _Member:
    """One entry of an archive: the bytes that it declares, why it is refused (None: it is not), its content."""

    name: str
    is_folder: bool
    size: int
    fault: str | None
    open: Callable[[], IO[bytes] | None]


def below(*folders: str) -> Placement:
    """Keep what lies in one of `folders`, at any depth, without what stands before: x/audio/a.wav -> audio/a.wav."""

    def place(path: PurePosixPath) -> PurePosixPath | None:
        first = next((depth for depth, part in enumerate(path.parts[:-1]) if part in folders), None)
        return PurePosixPath(*path.parts[first:]) if first is not None else None

    return place


def everything(path: PurePosixPath) -> PurePosixPath:
    """Each member where its name says."""
    return path


def extract(archive: Path, destination: Path, place: Placement = everything, most_bytes: int = MOST_BYTES) -> int:
    """Unpack `archive` into `destination`; how many files belong there. FetchError on anything named above.

    A zip is looked through before its first byte is written; a tar can only be read in its order, and what stood before
    a refused member stays.
    """
    placed: dict[PurePosixPath, str] = {}
    with _opened(archive, most_bytes) as members:
        for member in tqdm(members, desc=f"unpacking {archive.name}", unit="file", disable=None):
            where = None if member.is_folder else place(PurePosixPath(member.name))
            if where is None:
                continue
            if where in placed:
                names = f"{placed[where]!r} and {member.name!r}"
                raise FetchError(f"{archive}: {names} are both {where}; it is not what was published, delete it")
            placed[where] = member.name
            _write(archive, member, destination / where)
    return len(placed)


def check_archive(archive: Path) -> None:
    """FetchError unless `archive` is a zip with its directory and all its parts, or a tar that begins like one."""
    with _opened(archive, MOST_BYTES) as members:
        next(iter(members), None)


@contextmanager
def _opened(archive: Path, most_bytes: int) -> Iterator[Iterable[_Member]]:
    """The archive's members, none of which is refused; of a zip all are known before the first is given."""
    try:
        if is_split(archive) or zipfile.is_zipfile(archive):
            with opened_zip_file(archive) as opened_zip:
                members = (_zip_member(opened_zip, info) for info in opened_zip.infolist())
                yield list(_checked(archive, members, most_bytes))
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive, "r:*") as opened_tar:
                yield _checked(archive, (_tar_member(opened_tar, info) for info in opened_tar), most_bytes)
        else:
            raise FetchError(f"{archive}: neither zip nor tar ({_looks_like(archive)}); delete it and fetch it again")
    except _DAMAGE as error:
        raise FetchError(f"{archive}: damaged ({error}); delete it and fetch it again") from None
    except FileNotFoundError as error:
        raise FetchError(f"{error.filename}: not there; fetch it again") from None
    except OSError as error:
        place, reason = error.filename or archive, error.strerror or error
        raise FetchError(f"{place}: {reason}; see to that and run the command again") from None


def _zip_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    mode = info.external_attr >> 16
    fault = "is encrypted" if info.flag_bits & 1 else None
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        fault = "is a link or a device"
    return _Member(info.filename, info.is_dir(), info.file_size, fault, lambda: opened.open(info))


def _tar_member(opened: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    fault = None if info.isreg() or info.isdir() else "is a link or a device"
    return _Member(info.name, info.isdir(), info.size, fault, lambda: opened.extractfile(info))


def _checked(archive: Path, members: Iterable[_Member], most_bytes: int) -> Iterator[_Member]:
    total = 0
    for member in members:
        total += member.size
        fault = member.fault or _fault_of_name(member)
        if fault:
            raise FetchError(f"{archive}: {member.name!r} {fault}; it is not what was published, delete it")
        if total > most_bytes:
            raise FetchError(f"{archive}: unpacks to more than {most_bytes / 1e9:g} GB; it is not what was published")
        yield member


def _fault_of_name(member: _Member) -> str | None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        return "would be written outside the destination"
    if "\\" in member.name or "\0" in member.name or ":" in member.name.partition("/")[0]:
        return "has a name that is no plain path"
    return "has no name" if not path.parts and not member.is_folder else None


def _write(archive: Path, member: _Member, target: Path) -> None:
    if target.is_file() and target.stat().st_size == member.size and _has_content_of(member, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if member.size > free:
        raise FetchError(f"{target.parent}: {free / 1e9:.1f} GB free, {archive.name} needs more; make room")
    partial = target.with_name(f"{target.name}.partial")
    with partial.open("wb") as stream:
        for block in _blocks(member):
            stream.write(block)
    if partial.stat().st_size != member.size:
        raise FetchError(f"{archive}: damaged ({member.name} is shorter than it says); delete it and fetch it again")
    partial.replace(target)


def _has_content_of(member: _Member, target: Path) -> bool:
    with target.open("rb") as stream:
        return all(stream.read(len(block)) == block for block in _blocks(member))


def _blocks(member: _Member) -> Iterator[bytes]:
    """The member's content, never more than it declares."""
    content, left = member.open(), member.size
    if content is None:
        return
    with content:
        while left and (block := content.read(min(left, _BLOCK_BYTES))):
            left -= len(block)
            yield block
        content.read(1)  # a zip compares the checksum of a member when its end is reached


def _looks_like(archive: Path) -> str:
    with archive.open("rb") as stream:
        start = stream.read(64).lstrip()
    if not start:
        return "it is empty"
    return "it is a web page" if start[:1] == b"<" else f"it begins with {start[:16]!r}"
