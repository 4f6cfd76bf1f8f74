"""Recordings that lie in an LMDB: named by the path of its file, then the record's key, `mixtures.lmdb/17`.

Everything that reads or looks at a recording goes through `open_recording`, `status_of` and `is_recording`, which take
such a path as they take that of a file. An LMDB that is a folder is named by the file in it, `mixtures/data.mdb/17`.

Each process opens a file once: read-only, without LMDB's locks (nobody writes to a finished file; what is being packed
has another name), its pages shared with all other processes. A child of a fork opens it anew. Any number of threads may
read. The system may read ahead, which GISE-51's readers tell it not to: a record of 150 kB that is not in memory yet
came page by page in 2.8 ms without, in 0.5 ms with it. lmdb comes with the extra [train]; where it is not installed,
files are read as ever.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Lock
from typing import Any, NamedTuple

from desed_task.audio.record_layout import Record, parse_record
from desed_task.errors import AudioError

DATA_FILE = "data.mdb"
KEYS, LENGTH = b"__keys__", b"__len__"
# A key -> its value, a view that ends with the transaction; None where there is none.
Lookup = Callable[[bytes], memoryview | None]


class Status(NamedTuple):
    """Size in bytes, that of the whole record in an LMDB, and time of the last change, that of the whole LMDB."""

    size: int
    mtime_ns: int


def open_recording(path: Path) -> io.BufferedReader | io.BytesIO:
    """A recording's bytes as a stream. OSError as `path.open`; AudioError for a record that is none."""
    try:
        return path.open("rb")
    except NotADirectoryError:
        return io.BytesIO(read_record(path))


def status_of(path: Path) -> Status:
    """OSError where there is no such recording."""
    try:
        status = path.stat()
        return Status(status.st_size, status.st_mtime_ns)
    except NotADirectoryError:
        file = open_lmdb(path.parent, anew=True)
        size = file.size_of(path.name.encode())
        if size is None:
            raise FileNotFoundError(errno.ENOENT, f"no record {path.name!r}", str(path)) from None
        return Status(size, file.mtime_ns)


def is_recording(path: Path) -> bool:
    """Whether there is a file, or a record, of this path."""
    try:
        return path.is_file() or (path.parent.is_file() and status_of(path).size > 0)
    except (OSError, AudioError):
        return False


def read_record(path: Path) -> bytes:
    """The recording of `FILE/KEY`, a whole FLAC file. AudioError when there is none."""
    with open_lmdb(path.parent).reading() as value_of:
        value = value_of(path.name.encode())
        if value is None:
            raise AudioError(f"{path}: no such record in {path.parent.name}")
        return bytes(record_of(value, path).audio)


def record_of(value: memoryview, path: Path) -> Record:
    """The parts of the record of `FILE/KEY`; AudioError names it."""
    try:
        return parse_record(value)
    except ValueError as error:
        raise AudioError(f"{path}: not a record of a recording and its label ({error}); pack it again") from None


class LmdbFile:
    """One LMDB as it lies on disk, read only."""

    def __init__(self, path: Path) -> None:
        """AudioError for a file that is missing, cut off or no LMDB."""
        lmdb = import_lmdb(path)
        self.path = path
        try:
            status = path.stat()
            if status.st_size == 0:
                raise AudioError(f"{path}: the file is empty (0 bytes); pack it again")
            self._environment: Any = lmdb.open(
                str(path), subdir=False, readonly=True, lock=False, readahead=True, meminit=False
            )
        except OSError as error:
            raise AudioError(f"{path}: cannot be read ({error.strerror})") from None
        except lmdb.Error:
            raise AudioError(f"{path}: not an LMDB; name one that recipes/pack_lmdb.py wrote") from None
        self.identity = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        self.mtime_ns = status.st_mtime_ns
        self._readers, self._idle = 0, Condition(Lock())
        # Beyond the end of a file that was cut off the system ends the process.
        whole = (self._environment.info()["last_pgno"] + 1) * self._environment.stat()["psize"]
        if status.st_size < whole:
            self.close()
            raise AudioError(f"{path}: cut off, {status.st_size} of {whole} bytes; fetch or pack it again")

    @contextmanager
    def reading(self) -> Iterator[Lookup]:
        """A transaction: its values are views that end with it. AudioError where the file is damaged."""
        with self._idle:
            self._readers += 1
        try:
            with self._environment.begin(buffers=True) as transaction:
                yield transaction.get
        except import_lmdb(self.path).Error as error:
            raise AudioError(f"{self.path}: damaged ({error}); fetch or pack it again") from None
        finally:
            with self._idle:
                self._readers -= 1
                self._idle.notify_all()

    def size_of(self, key: bytes) -> int | None:
        """Bytes of a value, which is not read; None where there is none."""
        with self.reading() as value_of:
            value = value_of(key)
            return None if value is None else len(value)

    def close(self) -> None:
        """Once nobody reads."""
        with self._idle:
            self._idle.wait_for(lambda: self._readers == 0)
            self._environment.close()


_opened: dict[Path, LmdbFile] = {}
_opening = Lock()


def open_lmdb(path: Path, anew: bool = False) -> LmdbFile:
    """The file, opened when this process first asks for it; with `anew` again where it has changed since."""
    path = path if path.is_absolute() else path.absolute()  # the current folder may be another one later
    file = _opened.get(path)
    if file is not None and not anew:
        return file
    with _opening:
        # LMDB lets a process open a file once, whatever it is called.
        resolved = path.resolve()
        file = _opened.get(resolved)
        if file is not None and anew and not _is_unchanged(file):
            _close(resolved)
            file = None
        file = file or LmdbFile(resolved)
        _opened[path] = _opened[resolved] = file
        return file


def close_lmdb(path: Path) -> None:
    """Let go of a file, so that others in this process can write or replace it."""
    with _opening:
        _close(path.resolve())


def data_file_of(path: Path) -> Path:
    """The file of an LMDB that is a file, or a folder."""
    return path / DATA_FILE if path.is_dir() else path


def import_lmdb(path: Path) -> Any:
    """The package; AudioError, for the sake of `path`, where it is not installed."""
    try:
        import lmdb
        import msgpack  # noqa: F401
    except ImportError:
        raise AudioError(
            f"{path}: reading an LMDB needs the packages lmdb and msgpack; `pip install 'desed-task[train]'`"
        ) from None
    return lmdb


def _is_unchanged(file: LmdbFile) -> bool:
    try:
        status = file.path.stat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) == file.identity


def _close(resolved: Path) -> None:
    """Forget a file under all its names, then close it."""
    file = _opened.get(resolved)
    for name in [name for name, opened in _opened.items() if opened is file]:
        del _opened[name]
    if file is not None:
        file.close()


def _forget_in_child() -> None:
    """What a fork brought along belongs to the parent; nobody reads in a child that has just begun."""
    global _opening  # noqa: PLW0603
    _opening = Lock()
    for file in set(_opened.values()):
        file._environment.close()
    _opened.clear()


os.register_at_fork(after_in_child=_forget_in_child)
