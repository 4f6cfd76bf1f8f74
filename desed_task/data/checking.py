"""Every recording of a training, checked by its header before anything long begins.

One pass collects all faults: the one truncated download among thousands is named in seconds and not after an hour, and
the hundred after it are in a list and not in a hundred runs. A missing recording is a warning (figures on fewer clips
are marked as not comparable); one that is empty, truncated, no audio, or of another length than its table says ends
the work. Recordings that are packed unchanged were decoded from end to end when they were packed.
"""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from desed_task.audio.reading import AudioInfo, check_header
from desed_task.audio.records import is_recording
from desed_task.clips import Clip, ClipSet
from desed_task.data.decoding import in_threads
from desed_task.data.store import is_packed
from desed_task.errors import AudioError, CorpusError

LOG = logging.getLogger(__name__)

FAULTS_FILE = "faulty_recordings.tsv"
# Tables are rounded to .1 s and decoders of compressed audio pad by as much; a broken download is off by more.
DURATION_TOLERANCE_SECONDS = 0.25
# libsndfile's length of a stream that does not state one, in seconds at the highest rate that is read.
_LONGEST_SECONDS = 1e9


@dataclass(frozen=True)
class Fault:
    """A recording that cannot be used, and why."""

    clip_set: str
    path: Path
    reason: str


def check_recordings(
    clip_sets: Sequence[ClipSet], store: Path, sample_rate: int, num_threads: int | None = None
) -> None:
    """Warn of what is missing; AudioError, in one sentence, for all recordings that cannot be used.

    More than one missing or faulty recording are listed in <store>/faulty_recordings.tsv (clip_set, filename, fault),
    which goes when there is none.
    """
    parts = [part for clip_set in clip_sets for part in clip_set.parts or (clip_set,)]
    # A set may be used twice, such as for training and, by its tags, for validation.
    clip_sets = list({(part.name, tuple(clip.path for clip in part.clips)): part for part in parts}.values())
    missing = [Fault(clip_set.name, path, "missing") for clip_set in clip_sets for path in clip_set.missing]
    faults = [fault for clip_set in clip_sets for fault in find_faults(clip_set, store, sample_rate, num_threads)]
    listed_in = _write_list([*missing, *faults], store / FAULTS_FILE)
    for clip_set in clip_sets:
        if clip_set.missing:
            where = f"the missing ones are in {listed_in}" if listed_in else f"{clip_set.missing[0].name} is missing"
            LOG.warning("%s; %s", presence(clip_set), where)
    if faults:
        raise AudioError(_sentence(clip_sets, faults, listed_in))


def find_faults(clip_set: ClipSet, store: Path, sample_rate: int, num_threads: int | None = None) -> list[Fault]:
    """Its recordings that cannot be used. Reads headers, unless the set is packed as it is."""
    if clip_set.heard_from != "store":
        return []  # looked at when the set was read
    if all(is_recording(clip.path) for clip in clip_set.clips) and is_packed(clip_set, store, sample_rate):
        return []
    infos = read_headers([clip.path for clip in clip_set.clips], clip_set.name, num_threads)
    reasons = [_reason(clip, info, clip_set.durations_table) for clip, info in zip(clip_set.clips, infos, strict=True)]
    return [
        Fault(clip_set.name, clip.path, reason)
        for clip, reason in zip(clip_set.clips, reasons, strict=True)
        if reason is not None
    ]


def read_headers(paths: Sequence[Path], name: str, num_threads: int | None = None) -> list[AudioInfo | AudioError]:
    """What each recording says of itself, or why it cannot be read."""
    headers = in_threads(_header_or_error, paths, num_threads)
    return list(tqdm(headers, total=len(paths), desc=f"checking {name}", unit="clip", disable=None))


def read_true_durations(clips: Sequence[Clip], name: str) -> list[Clip]:
    """The clips with the durations of their headers; one that cannot be read keeps its own, and is for the check."""
    infos = read_headers([clip.path for clip in clips], name)
    return [
        Clip(clip.audio_id, clip.path, info.duration)
        if isinstance(info, AudioInfo) and info.duration < _LONGEST_SECONDS
        else clip
        for clip, info in zip(clips, infos, strict=True)
    ]


def presence(clip_set: ClipSet) -> str:
    """How many of the listed recordings are there, in words."""
    return f"{clip_set.name}: {clip_set.files_present} of {clip_set.files_expected} files present"


def _header_or_error(path: Path) -> AudioInfo | AudioError:
    try:
        return check_header(path)
    except AudioError as error:
        return error


def _reason(clip: Clip, info: AudioInfo | AudioError, table: Path | None) -> str | None:
    if isinstance(info, AudioError):
        return str(info).removeprefix(f"{clip.path}: ")
    if table is None or info.duration > _LONGEST_SECONDS:
        return None
    if abs(info.duration - clip.duration) > DURATION_TOLERANCE_SECONDS:
        return f"lasts {info.duration:.2f} s, {clip.duration:g} s in {table.name}"
    return None


def _sentence(clip_sets: Sequence[ClipSet], faults: Sequence[Fault], listed_in: Path | None) -> str:
    """One sentence: presence and number of faults of each set that has any, its first fault in full."""
    parts = []
    for clip_set in clip_sets:
        of_set = [fault for fault in faults if fault.clip_set == clip_set.name]
        if of_set:
            first = f"{'first ' * (len(of_set) > 1)}{of_set[0].path}: {of_set[0].reason.partition(';')[0]}"
            parts.append(f"{presence(clip_set)}, {len(of_set)} unusable, {first}")
    remedy = "fetch it again or delete it" if len(faults) == 1 else "fetch them again or delete them"
    return f"{'; '.join(parts)}; {remedy}{f' (all are listed in {listed_in})' if listed_in else ''}"


def _write_list(faults: Sequence[Fault], path: Path) -> Path | None:
    """Where the faults are listed; None, and no list, where one sentence can say them all."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(("clip_set", "filename", "fault"))
    writer.writerows((fault.clip_set, str(fault.path), fault.reason) for fault in faults)
    # Two trainings may check at once.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        if len(faults) < 2:
            if path.is_file():
                path.unlink(missing_ok=True)
            return None
        if not path.is_file() or path.read_text(encoding="utf-8") != text.getvalue():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(text.getvalue(), encoding="utf-8")
            partial.replace(path)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be written ({error.strerror}); name another store") from None
    return path
