"""FSD50K (Fonseca et al. 2022) fetched from Zenodo record 4060432 into its published layout.

Ground truth is one archive, the recordings of dev and eval are zips in several parts (18 GB and 7 GB). Names, sizes and
md5 of all parts are what Zenodo's API says of the record. Parts wait in downloads/ until all of them are unpacked, and
may be put there by hand. A part that came half is gone on with; recordings that are there are not fetched again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from desed_task.data.corpora.fsd50k import GROUND_TRUTH, audio_folders, read_ground_truth
from desed_task.data.corpora.listed import Shelves
from desed_task.data.fetch.archives import below, check_archive, extract
from desed_task.data.fetch.download import fetch_file
from desed_task.data.fetch.lock import alone
from desed_task.data.fetch.report import FetchReport
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.data.fetch.split_zip import part_paths
from desed_task.data.fetch.zenodo import ZENODO, find_files
from desed_task.errors import FetchError

LOG = logging.getLogger(__name__)
RECORD = 4060432
Whole = Literal["dev", "eval"]
PARTS: tuple[Whole, ...] = ("dev", "eval")


@dataclass(frozen=True)
class _Fetching:
    """Where to and how."""

    root: Path
    policy: RetryPolicy
    zenodo: str

    def archive(self, name: str) -> Path:
        """Where the archive of a folder of the layout waits."""
        return self.root / "downloads" / f"{name}.zip"


def fetch_fsd50k(
    root: Path, parts: Collection[str] = PARTS, *, zenodo: str = ZENODO, policy: RetryPolicy | None = None
) -> FetchReport:
    """Complete the `parts` of FSD50K in `root`. FetchError where that cannot be; calling again goes on."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise FetchError(f"fsd50k: part {min(unknown)!r} is none of {', '.join(PARTS)}")
    fetching = _Fetching(root, policy or RetryPolicy(), zenodo)
    listed = {}
    with alone(root):
        if not all((root / GROUND_TRUTH / f"{part}.csv").is_file() for part in PARTS):
            _unpack(fetching, GROUND_TRUTH)
        for part in (part for part in PARTS if part in parts):
            name = f"FSD50K.{part}_audio"
            listed[f"fsd50k_{part}"] = len(_listed(root, part))
            if _lacking(root, part) or fetching.archive(name).exists():
                _unpack(fetching, name)
            lacking = _lacking(root, part)
            if lacking:
                raise FetchError(
                    f"{root / name}: {len(lacking)} of {listed[f'fsd50k_{part}']} recordings are not there, such as "
                    f"{lacking[0]}.wav, and not in the archive either; report it, please"
                )
    return FetchReport({}, listed)


def _listed(root: Path, part: Whole) -> list[str]:
    table = root / GROUND_TRUTH / f"{part}.csv"
    if not table.is_file():
        raise FetchError(f"{table}: not in {GROUND_TRUTH}.zip of Zenodo record {RECORD}; report it, please")
    return [fname for fname, _, _ in read_ground_truth(table, part)]


def _lacking(root: Path, part: Whole) -> list[str]:
    shelves, folders = Shelves(), audio_folders(root, part)
    return [
        name for name in _listed(root, part) if all(shelves.find(folder, f"{name}.wav") is None for folder in folders)
    ]


def _unpack(fetching: _Fetching, name: str) -> None:
    """Have the archive with all its parts, unpack it, remove it. As long as it is there, unpacking is not finished."""
    archive = fetching.archive(name)
    if not _is_whole(archive):
        _fetch_parts(fetching, name)
        check_archive(archive)
    extract(archive, fetching.root, below(name))
    # The last part first: without it there is no archive that waits to be unpacked.
    for path in reversed(part_paths(archive)):
        path.unlink()
    LOG.info("%s: unpacked into %s and removed", archive, fetching.root)


def _is_whole(archive: Path) -> bool:
    """Whether somebody put the whole archive there, or an earlier run did and was ended while it unpacked."""
    try:
        check_archive(archive)
    except FetchError:
        return False
    return True


def _fetch_parts(fetching: _Fetching, name: str) -> None:
    folder, page = fetching.root / "downloads", f"{fetching.zenodo}/records/{RECORD}"
    remedy = f"fetch {name}.* from {page} elsewhere, put it into {folder} and run the command again"
    try:
        files = find_files(RECORD, fetching.policy, fetching.zenodo)
    except FetchError as error:
        raise FetchError(f"{error}; {remedy}") from None
    parts = {file: remote for file, remote in files.items() if file.rpartition(".")[0] == name}
    if f"{name}.zip" not in parts:
        raise FetchError(f"{page}: lists no {name}.zip; {remedy}")
    for file, remote in sorted(parts.items()):  # .z01 ... before .zip
        fetch_file(remote, folder / file, fetching.policy)
