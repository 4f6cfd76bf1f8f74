"""ESC-50 (Piczak 2015) fetched from the archive of its repository: meta/esc50.csv and 2000 recordings in audio/.

GitHub packs the archive when it is asked for, so neither its size nor a checksum is published; the zip's own checksums
are verified while it is unpacked, and the recordings are counted and their headers read.
"""

from __future__ import annotations

import csv
import logging
from pathlib import Path, PurePosixPath

from desed_task.audio.reading import AudioInfo
from desed_task.data.checking import read_headers
from desed_task.data.fetch.archives import check_archive, extract
from desed_task.data.fetch.download import RemoteFile, fetch_file
from desed_task.data.fetch.lock import alone
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.errors import FetchError

LOG = logging.getLogger(__name__)
URL = "https://github.com/karolpiczak/ESC-50/archive/master.zip"
NUM_RECORDINGS = 2000
_KEPT = ("meta", "audio", "LICENSE", "README.md")


def fetch_esc50(root: Path, *, url: str = URL, policy: RetryPolicy | None = None) -> None:
    """Have ESC-50 in `root`, complete. FetchError, in one sentence, where that cannot be; calling again goes on."""
    archive = root / "downloads" / "ESC-50-master.zip"
    with alone(root):
        if not archive.exists() and not _fault(root):
            return
        fetch_file(RemoteFile(url), archive, policy, check_archive)
        extract(archive, root, _place)
        fault = _fault(root)
        if fault:
            raise FetchError(f"{archive}: {fault}; delete it, fetch {url} elsewhere and put it there")
        archive.unlink()
        LOG.info("%s: unpacked into %s and removed", archive, root)


def _place(path: PurePosixPath) -> PurePosixPath | None:
    """ESC-50-master/audio/a.wav -> audio/a.wav; its code and pictures are left out."""
    inside = PurePosixPath(*path.parts[1:])
    return inside if inside.parts and inside.parts[0] in _KEPT else None


def _fault(root: Path) -> str | None:
    """What is not as it should be; None when all is there."""
    table = root / "meta" / "esc50.csv"
    if not table.is_file():
        return "holds no meta/esc50.csv"
    with table.open(newline="", encoding="utf-8") as stream:
        names = {row.get("filename") or "" for row in csv.DictReader(stream)} - {""}
    if len(names) != NUM_RECORDINGS:
        return f"meta/esc50.csv lists {len(names)} recordings, {NUM_RECORDINGS} were published"
    headers = read_headers([root / "audio" / name for name in sorted(names)], "ESC-50")
    num_there = sum(isinstance(header, AudioInfo) for header in headers)
    return None if num_there == NUM_RECORDINGS else f"{num_there} of {NUM_RECORDINGS} recordings can be read"
