"""DESED fetched into its published layout (DCASE Task 4, 2022): audio/, metadata/ and missing_files/ below one root.

real    metadata of Zenodo record 4639776; weak, unlabeled and validation clips from YouTube
strong  audioset_strong.tsv of record 6444477; its clips from YouTube
synth   dcase_synth.zip of record 6026841

Addresses, sizes and md5 are what Zenodo's API says of the records. An archive waits in downloads/ until it is unpacked,
and may be put there by hand. What is there is never fetched again: a part is complete when its tables are there and
every clip they list is a readable recording or noted as gone. The published script, in contrast, fetches everything
anew or, once audioset_strong.tsv is there, no strong clip at all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from desed_task.audio.reading import AudioInfo
from desed_task.data.checking import read_headers
from desed_task.data.fetch.archives import Placement, below, check_archive, extract
from desed_task.data.fetch.clips import ClipPart, fetch_clips
from desed_task.data.fetch.desed_layout import (
    REAL_CLIPS,
    REAL_METADATA,
    STRONG_CLIPS,
    STRONG_TABLE,
    SYNTHETIC,
    SYNTHETIC_CLIPS,
    Clips,
    Published,
)
from desed_task.data.fetch.download import Check, fetch_file
from desed_task.data.fetch.downloaders import find_downloader
from desed_task.data.fetch.lock import alone
from desed_task.data.fetch.missing import PERMANENT, Missing, read_missing, write_missing
from desed_task.data.fetch.report import FetchReport
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.data.fetch.youtube import ClipDownloader, parse_clip
from desed_task.data.fetch.zenodo import ZENODO, find_file
from desed_task.errors import FetchError
from desed_task.formats.dcase import read_filenames

LOG = logging.getLogger(__name__)
PARTS = ("strong", "real", "synth")


@dataclass(frozen=True)
class _Fetching:
    """Where to and how."""

    root: Path
    num_jobs: int
    retry_missing: bool
    policy: RetryPolicy
    zenodo: str

    def missing_table(self, clips: Clips) -> Path:
        return self.root / "missing_files" / f"missing_files_{clips.name}.tsv"


def fetch_desed(
    root: Path,
    parts: Collection[str] = PARTS,
    num_jobs: int = 3,
    *,
    retry_missing: bool = False,
    downloader: ClipDownloader | None = None,
    yt_dlp_flags: Sequence[str] = (),
    zenodo: str = ZENODO,
    policy: RetryPolicy | None = None,
) -> FetchReport:
    """Complete the `parts` ("strong", "real", "synth") of DESED in `root`; what could not be had is in the report.

    num_jobs: clips at a time. retry_missing: ask again for clips known to be gone. downloader: who brings clips (yt-dlp
    or the `desed` package, whichever is installed); yt_dlp_flags: more of its flags, such as ("--cookies", file).
    FetchError, in one sentence, when an archive cannot be had or YouTube gives no answer; calling again goes on.
    """
    unknown = set(parts) - set(PARTS)
    if unknown or num_jobs < 1:
        fault = f"part {min(unknown)!r} is none of {', '.join(PARTS)}" if unknown else f"num_jobs {num_jobs} is below 1"
        raise FetchError(f"desed: {fault}")
    fetching = _Fetching(root, num_jobs, retry_missing, policy or RetryPolicy(), zenodo)

    def bring() -> ClipDownloader:
        return downloader or find_downloader(fetching.policy.clip_timeout, yt_dlp_flags)

    missing: dict[str, int] = {}
    listed: dict[str, int] = {}
    with alone(root):
        # Archives first: where something is wrong it shows at once, and not after a day of clips.
        chosen = [*(REAL_CLIPS if "real" in parts else ()), *((STRONG_CLIPS,) if "strong" in parts else ())]
        if "real" in parts:
            _have_real_metadata(fetching)
        if "strong" in parts:
            _have_strong_table(fetching)
        if "synth" in parts:
            for name, (total, lacking) in _have_synthetic(fetching).items():
                listed[name], missing[name] = total, lacking
        for clips in chosen:
            listed[clips.name], missing[clips.name] = _have_clips(fetching, clips, bring)
    return FetchReport(missing, listed)


def _have_real_metadata(fetching: _Fetching) -> None:
    if any(not _has_content(fetching.root / clips.table) for clips in REAL_CLIPS):
        _unpack(fetching, REAL_METADATA)
    for clips in REAL_CLIPS:
        _require_table(fetching.root / clips.table, REAL_METADATA)


def _have_strong_table(fetching: _Fetching) -> None:
    table = fetching.root / STRONG_CLIPS.table
    if not _has_content(table):
        table.unlink(missing_ok=True)
        _have(fetching, STRONG_TABLE, table)


def _have_synthetic(fetching: _Fetching) -> dict[str, tuple[int, int]]:
    """name -> (clips listed, clips missing) of the synthetic parts."""
    if not all(_is_complete(fetching, clips) for clips in SYNTHETIC_CLIPS) or _archive(fetching, SYNTHETIC).exists():
        _unpack(fetching, SYNTHETIC)
    return {clips.name: _note_lacking(fetching, clips) for clips in SYNTHETIC_CLIPS}


def _is_complete(fetching: _Fetching, clips: Clips) -> bool:
    if not _has_content(fetching.root / clips.table):
        return False
    known = {} if fetching.retry_missing else read_missing(fetching.missing_table(clips))
    return not _lacking(fetching.root, clips) - known.keys()


def _note_lacking(fetching: _Fetching, clips: Clips) -> tuple[int, int]:
    _require_table(fetching.root / clips.table, SYNTHETIC)
    lacking = _lacking(fetching.root, clips)
    why = Missing(PERMANENT, f"not in {SYNTHETIC.name}")
    write_missing(dict.fromkeys(sorted(lacking), why), fetching.missing_table(clips))
    return len(_listed(fetching.root / clips.table)), len(lacking)


def _lacking(root: Path, clips: Clips) -> set[str]:
    """The listed recordings that are readable neither in the folder nor in its `_16k` twin."""
    lacking = set(_listed(root / clips.table))
    for folder in (root / f"{clips.folder}_16k", root / clips.folder):
        held = sorted(lacking & {entry.name for entry in folder.iterdir()}) if folder.is_dir() else []
        headers = read_headers([folder / name for name in held], clips.name) if held else []
        lacking -= {name for name, header in zip(held, headers, strict=True) if isinstance(header, AudioInfo)}
    return lacking


def _have_clips(fetching: _Fetching, clips: Clips, bring: Callable[[], ClipDownloader]) -> tuple[int, int]:
    """(clips listed, clips missing) of a part whose clips come from YouTube."""
    table = fetching.root / clips.table
    listed = [parse_clip(name, table) for name in _listed(table)]
    part = ClipPart(clips.name, listed, fetching.root / clips.folder, fetching.missing_table(clips))
    missing = fetch_clips(part, bring, fetching.num_jobs, fetching.policy, fetching.retry_missing)
    return len(listed), len(missing)


def _listed(table: Path) -> tuple[str, ...]:
    """The file names of a table of any kind, each once."""
    return tuple(dict.fromkeys(read_filenames(table)))


def _unpack(fetching: _Fetching, published: Published) -> None:
    """Have the archive, unpack it into the root, remove it. As long as it is there, unpacking is not finished."""
    archive = _archive(fetching, published)
    _have(fetching, published, archive, check_archive)
    extract(archive, fetching.root, _where_it_lacks(fetching.root))
    archive.unlink()
    LOG.info("%s: unpacked into %s and removed", archive, fetching.root)


def _where_it_lacks(root: Path) -> Placement:
    """audio/ and metadata/, whatever folder they are packed in; tables that are there stay as they are."""
    layout = below("audio", "metadata")

    def place(path: PurePosixPath) -> PurePosixPath | None:
        where = layout(path)
        is_kept = where is not None and where.suffix == ".tsv" and _has_content(root / where)
        return None if is_kept else where

    return place


def _have(fetching: _Fetching, published: Published, target: Path, check: Check | None = None) -> None:
    """The file at `target`; one that someone put there is taken after `check`, without asking Zenodo for its md5."""
    if target.exists():
        if check is not None:
            check(target)
        return
    page = f"{fetching.zenodo}/records/{published.record}"
    try:
        remote = find_file(published.record, published.name, fetching.policy, fetching.zenodo)
    except FetchError as error:
        remedy = f"fetch {published.name} from {page} elsewhere, put it at {target} and run the command again"
        raise FetchError(f"{error}; {remedy}") from None
    fetch_file(remote, target, fetching.policy, check)


def _archive(fetching: _Fetching, published: Published) -> Path:
    return fetching.root / "downloads" / published.name


def _require_table(table: Path, published: Published) -> None:
    if not _has_content(table):
        raise FetchError(f"{table}: not in {published.name} of Zenodo record {published.record}; report it, please")


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0
