"""AudioSet (Gemmeke et al. 2017): tables from where they are published, clips of 10 s from YouTube.

    <root>/class_labels_indices.csv, <root>/<part>_segments.csv     part: balanced_train, eval or unbalanced_train
    <root>/audio/<part>/<YTID>.wav                                  44.1 kHz

The tables have neither size nor checksum beside them; a list must hold as many segments as its second line says. Videos
vanish: of the balanced list some hundreds are gone every year. What could not be had is in missing_files/ with the
reason, and is not asked for again unless that is wished.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from desed_task.data.corpora.audioset import CLASS_TABLE, read_segments
from desed_task.data.fetch.clips import ClipPart, fetch_clips
from desed_task.data.fetch.download import Check, RemoteFile, fetch_file
from desed_task.data.fetch.downloaders import find_downloader
from desed_task.data.fetch.lock import alone
from desed_task.data.fetch.report import FetchReport
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.data.fetch.youtube import ClipDownloader, VideoClip
from desed_task.errors import CorpusError, FetchError

TABLES = "https://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv"
PARTS = ("balanced_train", "eval", "unbalanced_train")
# Two million clips are fetched only by who asks for them.
USUAL_PARTS = ("balanced_train", "eval")
_STATED = re.compile(r"^#.*num_segs=(\d+)", re.MULTILINE)


def table_of(root: Path, part: str) -> Path:
    """The list of a part."""
    return root / f"{part}_segments.csv"


def folder_of(root: Path, part: str) -> Path:
    """The clips of a part."""
    return root / "audio" / part


def fetch_audioset(
    root: Path,
    parts: Collection[str] = USUAL_PARTS,
    num_jobs: int = 3,
    *,
    retry_missing: bool = False,
    downloader: ClipDownloader | None = None,
    yt_dlp_flags: Sequence[str] = (),
    tables: str = TABLES,
    policy: RetryPolicy | None = None,
) -> FetchReport:
    """Complete the `parts` of AudioSet in `root`; what could not be had is in the report.

    Arguments and errors are those of `fetch_desed`; tables: the address that they lie under.
    """
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise FetchError(f"audioset: part {min(unknown)!r} is none of {', '.join(PARTS)}")
    policy = policy or RetryPolicy()

    def bring() -> ClipDownloader:
        return downloader or find_downloader(policy.clip_timeout, yt_dlp_flags)

    missing, listed = {}, {}
    with alone(root):
        _have(root / CLASS_TABLE, tables, policy, _check_classes)
        for part in parts:
            _have(table_of(root, part), tables, policy, _check_segments)
        for part in parts:
            clips = _clips_of(table_of(root, part))
            name = f"audioset_{part}"
            missing_table = root / "missing_files" / f"missing_files_{part}.tsv"
            of_part = ClipPart(name, clips, folder_of(root, part), missing_table)
            missing[name] = len(fetch_clips(of_part, bring, num_jobs, policy, retry_missing))
            listed[name] = len(clips)
    return FetchReport(missing, listed)


def _have(table: Path, tables: str, policy: RetryPolicy, check: Check) -> None:
    """The table, checked; one that is there is not fetched."""
    if table.is_file():
        check(table)
    else:
        fetch_file(RemoteFile(f"{tables}/{table.name}"), table, policy, check)


def _check_classes(path: Path) -> None:
    with path.open(encoding="utf-8", errors="replace") as stream:
        if not stream.readline().startswith("index,mid,display_name"):
            raise FetchError(f"{path}: not the table of AudioSet's classes; delete it, so that it is fetched again")


def _check_segments(path: Path) -> None:
    """FetchError unless there are as many segments as the list says."""
    try:
        num = sum(1 for _ in read_segments(path))
    except CorpusError as error:
        raise FetchError(f"{error} (delete {path.name}, so that it is fetched again)") from None
    stated = _STATED.search(path.read_text(encoding="utf-8")[:1000])
    if stated is None or int(stated[1]) != num:
        says = f"states {stated[1]}" if stated else "does not state how many"
        raise FetchError(f"{path}: holds {num} segments and {says}; delete it, so that it is fetched again")


def _clips_of(table: Path) -> list[VideoClip]:
    """The segments as clips, each video once: AudioSet has one segment of a video."""
    clips = {}
    for number, (video_id, start, end, _) in read_segments(table):
        try:
            clip = VideoClip(f"{video_id}.wav", video_id, float(start), float(end))
        except ValueError:
            raise FetchError(f"{table}, row {number}: {start}, {end} are no seconds; fetch the table again") from None
        if clip.duration <= 0 or "/" in video_id:
            raise FetchError(
                f"{table}, row {number}: {video_id} from {start} to {end} is no clip; fetch the table again"
            )
        clips[clip.filename] = clip
    return list(clips.values())
