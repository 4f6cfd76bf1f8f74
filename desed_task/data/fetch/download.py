"""One file from a web server to disk: resumed, verified, and under its own name only when it is whole.

Until then it is called <name>.partial; beside it <name>.partial.version holds what the server calls this version of the
file. A later call goes on where an earlier one ended, however that ended. Size and checksum (md5 as Zenodo publishes
it, or sha256) are verified before the file is renamed; a wrong one is fetched once more from its first byte, then
refused. A file that someone put there by hand is verified in the same way and then used without any request.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from desed_task.data.fetch.http import BROKEN, PassingFailureError, RangeRefusedError, Reply, open_reply
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.errors import FetchError

LOG = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 18
_ALGORITHMS = ("md5", "sha256")
Check = Callable[[Path], None]


@dataclass(frozen=True)
class RemoteFile:
    """What to fetch: address, size in bytes and checksum ("md5:..." or "sha256:...") where they are known."""

    url: str
    size: int | None = None
    checksum: str | None = None

    def __post_init__(self) -> None:
        if self.checksum is not None and self.checksum.partition(":")[0] not in _ALGORITHMS:
            raise FetchError(f"{self.url}: checksum {self.checksum!r} is neither md5:... nor sha256:...")


def fetch_file(remote: RemoteFile, target: Path, policy: RetryPolicy | None = None, check: Check | None = None) -> None:
    """Have `remote` at `target`, whole. FetchError, in one sentence with the remedy, where that cannot be.

    check: a further look at the content before it gets its name; it raises FetchError.
    """
    policy = policy or RetryPolicy()
    if target.exists():
        _verify(remote, target, check, f"delete it, so that it is fetched from {remote.url}")
        return
    partial = target.with_name(f"{target.name}.partial")
    for is_last in (False, True):
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            _complete(remote, partial, policy)
        except OSError as error:
            raise FetchError(f"{partial}: cannot be written ({error.strerror}); make room or go elsewhere") from None
        except FetchError as error:
            place = str(target) if remote.size is None else f"{target} ({remote.size} bytes)"
            raise FetchError(f"{error}; fetch it elsewhere, put it at {place} and run the command again") from None
        try:
            _verify(remote, partial, check, f"the server at {remote.url} gives another file than was published")
        except FetchError as error:
            _forget(partial)
            if is_last:
                raise
            LOG.warning("%s; fetching it once more from the start", error)
        else:
            partial.replace(target)
            _forget(partial)
            return


def _complete(remote: RemoteFile, partial: Path, policy: RetryPolicy) -> None:
    """Bring the partial file to its full length, in as many requests as that takes."""
    attempt = 0
    with tqdm(desc=partial.stem, total=remote.size, unit="B", unit_scale=True, disable=None) as progress:
        while True:
            before = _size(partial)
            if remote.size is not None and before >= remote.size:
                return  # a longer one is found out when it is verified
            try:
                _continue(remote, partial, policy.timeout, progress)
                return
            except RangeRefusedError:
                _forget(partial)
                failure = PassingFailureError("the server has no such part of the file")
            except PassingFailureError as error:
                failure = error
            attempt = 1 if _size(partial) > before else attempt + 1
            if attempt >= policy.attempts:
                raise FetchError(f"{remote.url}: {failure} ({attempt} attempts, {_size(partial)} bytes are kept)")
            time.sleep(policy.wait_before(attempt, failure.wait))


def _continue(remote: RemoteFile, partial: Path, timeout: float, progress: tqdm[None]) -> None:
    """One request, from the end of what is there. PassingFailureError when it ends before the file does."""
    version_path = _version_path(partial)
    version = version_path.read_text(encoding="utf-8") if version_path.is_file() else None
    # Without a version to name and without a checksum, two versions could be joined unnoticed.
    first_byte = _size(partial) if version or remote.checksum else 0
    reply = open_reply(remote.url, first_byte, version, timeout)
    with closing(reply.body):
        if reply.first_byte not in (0, first_byte):
            raise RangeRefusedError
        if remote.size is not None and reply.total not in (None, remote.size):
            raise FetchError(f"{remote.url}: {reply.total} bytes on the server, {remote.size} were published")
        _require_room(partial, (reply.total or remote.size or 0) - reply.first_byte)
        if reply.version:
            version_path.write_text(reply.version, encoding="utf-8")
        progress.total = reply.total or remote.size
        progress.n = reply.first_byte
        progress.refresh()
        _append(reply, partial, progress)


def _append(reply: Reply, partial: Path, progress: tqdm[None]) -> None:
    # Nothing is held back in memory: what has come is on disk when the process is killed.
    with partial.open("r+b" if reply.first_byte else "wb", buffering=0) as stream:
        stream.seek(reply.first_byte)
        while True:
            try:
                block = reply.body.read1(_BLOCK_BYTES)
            except BROKEN as error:
                raise PassingFailureError(f"the connection broke ({error or type(error).__name__})") from None
            if not block:
                break
            stream.write(block)
            progress.update(len(block))
        if reply.total is not None and stream.tell() < reply.total:
            raise PassingFailureError(f"the connection ended after {stream.tell()} of {reply.total} bytes")


def _verify(remote: RemoteFile, path: Path, check: Check | None, remedy: str) -> None:
    size = path.stat().st_size
    if remote.size is not None and size != remote.size:
        raise FetchError(f"{path}: has {size} bytes, {remote.size} were published; {remedy}")
    if remote.checksum is not None:
        algorithm, _, expected = remote.checksum.partition(":")
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
        if found != expected.lower():
            raise FetchError(f"{path}: its {algorithm} is {found}, {expected} was published; {remedy}")
    if check is not None:
        check(path)


def _require_room(partial: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if num_bytes > free:
        raise FetchError(f"{partial.parent}: {free / 1e9:.1f} GB free, {num_bytes / 1e9:.1f} GB needed; make room")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _version_path(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.version")


def _forget(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _version_path(partial).unlink(missing_ok=True)
