"""The clips of one part, several at a time: what is there stays, what is missing is asked for, what is gone is noted.

A clip is there when a readable recording of plausible length has its name, in the folder or in its `_16k` twin. Each
comes as <name>.partial and is renamed after it was checked, so that whatever ends the work, SIGKILL included, the next
run goes on from there. The part's table of missing files is kept up to date on the way.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from desed_task.audio.reading import AudioInfo, check_header
from desed_task.data.checking import read_headers
from desed_task.data.fetch.downloaders import WORK_PREFIX
from desed_task.data.fetch.missing import PERMANENT, TEMPORARY, Missing, read_missing, write_missing
from desed_task.data.fetch.pace import Pace
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.data.fetch.youtube import ClipDownloader, ClipFailureError, Failure, VideoClip, fault_of, meaning_of
from desed_task.errors import AudioError, FetchError

LOG = logging.getLogger(__name__)
_NOTED_EVERY_SECONDS = 2.0


@dataclass(frozen=True)
class ClipPart:
    """One part: its name, its clips, the folder they belong into, the table of those that are missing."""

    name: str
    clips: Sequence[VideoClip]
    folder: Path
    missing_table: Path


def fetch_clips(
    part: ClipPart,
    find_downloader: Callable[[], ClipDownloader],
    num_jobs: int,
    policy: RetryPolicy,
    retry_missing: bool = False,
) -> dict[str, Missing]:
    """Ask for every clip that is not there; those that are missing afterwards, filename -> why.

    Clips known to be gone are not asked for unless `retry_missing`. FetchError when no answer comes for many in a row;
    what was had until then stays.
    """
    present, faulty = _present(part)
    listed = {clip.filename for clip in part.clips}
    known = read_missing(part.missing_table)
    missing = {name: why for name, why in known.items() if name in listed - present}
    wanted = [
        clip
        for clip in part.clips
        if clip.filename not in present
        and (retry_missing or clip.filename not in missing or missing[clip.filename].kind != PERMANENT)
    ]
    if wanted:
        _fetch(part, wanted, missing, find_downloader(), num_jobs, policy)
    for name in faulty.keys() - missing.keys():
        _remove_twin(faulty[name], part.folder)
    in_order = {clip.filename: missing[clip.filename] for clip in part.clips if clip.filename in missing}
    write_missing(in_order, part.missing_table)
    return in_order


def _present(part: ClipPart) -> tuple[set[str], dict[str, Path]]:
    """The clips that are there, and filename -> path of recordings that cannot be what their name says."""
    present: set[str] = set()
    faulty: dict[str, Path] = {}
    for folder in (part.folder.with_name(f"{part.folder.name}_16k"), part.folder):
        held = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        clips = [clip for clip in part.clips if clip.filename in held and clip.filename not in present]
        headers = read_headers([folder / clip.filename for clip in clips], part.name) if clips else []
        for clip, header in zip(clips, headers, strict=True):
            path = folder / clip.filename
            fault = fault_of(clip, header) if isinstance(header, AudioInfo) else str(header).removeprefix(f"{path}: ")
            if fault is None:
                present.add(clip.filename)
            else:
                faulty.setdefault(clip.filename, path)
                LOG.warning("%s: %s; it is fetched again", path, fault)
    return present, faulty


def _remove_twin(path: Path, folder: Path) -> None:
    """A faulty recording in the `_16k` folder would be taken before the new one."""
    if path.parent != folder:
        path.unlink(missing_ok=True)


def _fetch(
    part: ClipPart,
    wanted: Sequence[VideoClip],
    missing: dict[str, Missing],
    downloader: ClipDownloader,
    num_jobs: int,
    policy: RetryPolicy,
) -> None:
    """Bring the wanted clips; `missing` is brought up to date, and on disk every few seconds and at the end."""
    part.folder.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(part.folder)
    pace = Pace(policy)
    noted = time.monotonic()
    with ThreadPoolExecutor(num_jobs, thread_name_prefix=f"fetch_{part.name}") as pool:
        futures = {pool.submit(_bring, clip, part.folder, downloader, pace, policy): clip.filename for clip in wanted}
        try:
            done = as_completed(futures)
            for future in tqdm(done, total=len(futures), desc=f"fetching {part.name}", unit="clip", disable=None):
                _note(future.result(), futures[future], missing)
                if time.monotonic() > noted + _NOTED_EVERY_SECONDS:
                    write_missing(missing, part.missing_table)
                    noted = time.monotonic()
        except CancelledError:
            raise FetchError(
                f"{part.name}: several clips in a row could not be had ({pace.last_reason}); what was fetched stays; "
                f"run the command again later, upgrade yt-dlp if the network is not why, or go on with --no_fetch"
            ) from None
        except OSError as error:
            place = error.filename or part.folder
            raise FetchError(f"{place}: {error.strerror}; see to that and run the command again") from None
        finally:
            if not all(future.done() for future in futures):  # an error, or Ctrl-C
                pace.stopped.set()
                downloader.end_all()
                pool.shutdown(wait=True, cancel_futures=True)
            write_missing(missing, part.missing_table)


def _note(why: Missing | None, filename: str, missing: dict[str, Missing]) -> None:
    if why is None:
        missing.pop(filename, None)
    else:
        missing[filename] = why


def _bring(
    clip: VideoClip, folder: Path, downloader: ClipDownloader, pace: Pace, policy: RetryPolicy
) -> Missing | None:
    """Bring one clip; why it did not come, None when it did. CancelledError when the pace is lost, or stopped."""
    partial = folder / f"{clip.filename}.partial"
    last_fault = reason = ""
    for _ in range(policy.clip_attempts):
        if not pace.wait():
            raise CancelledError
        try:
            downloader.download(clip.video_id, clip.start, clip.end, partial)
            fault = fault_of(clip, check_header(partial))
        except ClipFailureError as failure:
            reason = str(failure)
            if meaning_of(reason) is Failure.STAYS:
                pace.answered()
                return Missing(PERMANENT, reason)
            pace.failed(reason)
        except AudioError as error:
            pace.answered()
            reason = str(error).removeprefix(f"{partial}: ")
        else:
            pace.answered()
            if fault is None:
                partial.replace(folder / clip.filename)
                return None
            if fault == last_fault:  # not a download cut short, the video is like that
                return Missing(PERMANENT, fault)
            last_fault = reason = fault
        finally:
            partial.unlink(missing_ok=True)
    pace.gave_up()
    if pace.is_lost:
        raise CancelledError
    return Missing(TEMPORARY, reason)


def _remove_leftovers(folder: Path) -> None:
    """What an earlier run that was killed left half done."""
    for path in folder.glob("*.partial"):
        path.unlink(missing_ok=True)
    for path in folder.glob(f"{WORK_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)
