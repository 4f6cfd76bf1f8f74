"""GISE-51 (Yadav & Foster 2021) fetched from Zenodo record 4593514: isolated events, noises and mixtures.

    <root>/train, val, eval, train_p2 ...   mixtures: a FLAC and a .txt each
    <root>/isolated_events, noises          what they are mixed from
    <root>/mixtures_jams                    how: Scaper's JAMS
    <root>/pretrained-models                checkpoints

Each is an archive <part>.tar.gz of the record, whose size and md5 Zenodo's API tells. What an archive holds goes into
the folder of its name, whether it lies in such a folder in the archive, in one within another, or in none. An archive
waits in downloads/ until it is unpacked, and may be put there by hand; then downloads/<part>.files lists what it held,
and a part is fetched again only where one of these files is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from desed_task.data.fetch.archives import Placement, check_archive, extract
from desed_task.data.fetch.download import fetch_file
from desed_task.data.fetch.lock import alone
from desed_task.data.fetch.report import FetchReport
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.data.fetch.zenodo import ZENODO, find_files
from desed_task.errors import FetchError

LOG = logging.getLogger(__name__)
RECORD = 4593514
# Named in the published instructions and scripts.
SIZES = ("train_5k", "train_10k", "train_15k", "train_20k", "train_30k", "train_40k", "train_50k")
MORE = ("train_p2", "train_p3", "train_p4", "train_p5")
MIXTURES = ("train", "val", "eval")
PARTS = (*MIXTURES, *SIZES, *MORE, "isolated_events", "noises", "mixtures_jams", "pretrained-models")


@dataclass(frozen=True)
class _Fetching:
    """Where to and how."""

    root: Path
    policy: RetryPolicy
    zenodo: str

    def archive(self, part: str) -> Path:
        """Where the archive of a part waits."""
        return self.root / "downloads" / f"{part}.tar.gz"

    def files(self, part: str) -> Path:
        """What lists the files of a part, once it is unpacked."""
        return self.root / "downloads" / f"{part}.files"


def fetch_gise51(
    root: Path, parts: Collection[str] = MIXTURES, *, zenodo: str = ZENODO, policy: RetryPolicy | None = None
) -> FetchReport:
    """Complete the `parts` in `root`: how many files each has. FetchError where that cannot be; call again to go on."""
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise FetchError(f"gise51: part {min(unknown)!r} is none of {', '.join(PARTS)}")
    fetching = _Fetching(root, policy or RetryPolicy(), zenodo)
    with alone(root):
        for part in (part for part in PARTS if part in parts):
            if lacking_file(root, part) is not None:
                _have(fetching, part)
        return FetchReport({}, {f"gise51 {part}": len(_listed(fetching.files(part))) for part in parts})


def lacking_file(root: Path, part: str) -> str | None:
    """The first file of a part that is not there, or its list; None where the part is complete."""
    listing = _Fetching(root, RetryPolicy(), ZENODO).files(part)
    if not listing.is_file():
        return str(listing.relative_to(root))
    return next((name for name in _listed(listing) if not (root / name).is_file()), None)


def _listed(listing: Path) -> list[str]:
    return listing.read_text(encoding="utf-8").splitlines()


def _have(fetching: _Fetching, part: str) -> None:
    """Have the archive, unpack it, list what it held, remove it."""
    archive = fetching.archive(part)
    _fetch(fetching, archive)
    check_archive(archive)
    names: list[str] = []
    extract(archive, fetching.root, _into(part, names))
    if not names:
        raise FetchError(f"{archive}: holds no file; delete it and fetch it again")
    listing = fetching.files(part)
    partial = listing.with_name(f"{listing.name}.partial")
    partial.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    partial.replace(listing)
    archive.unlink()
    LOG.info("%s: unpacked into %s and removed", archive, fetching.root / part)


def _into(part: str, names: list[str]) -> Placement:
    """A placement in the part's folder, that notes where each file belongs."""

    def place(path: PurePosixPath) -> PurePosixPath:
        folders = path.parts[:-1]
        within = path.parts[folders.index(part) + 1 :] if part in folders else path.parts
        where = PurePosixPath(part, *within)
        names.append(str(where))
        return where

    return place


def _fetch(fetching: _Fetching, archive: Path) -> None:
    page = f"{fetching.zenodo}/records/{RECORD}"
    remedy = f"fetch {archive.name} from {page} elsewhere, put it into {archive.parent} and run the command again"
    try:
        files = find_files(RECORD, fetching.policy, fetching.zenodo)
    except FetchError as error:
        if archive.is_file():
            LOG.warning("%s: taken as it is, since %s", archive, error)
            return
        raise FetchError(f"{error}; {remedy}") from None
    if archive.name not in files:
        raise FetchError(f"{page}: lists no {archive.name} (it has {', '.join(sorted(files)) or 'none'}); {remedy}")
    fetch_file(files[archive.name], archive, fetching.policy)
