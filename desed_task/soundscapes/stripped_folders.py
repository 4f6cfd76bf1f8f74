"""Folders of recordings without their silence: <source>/<label>/<name>.* becomes <target>/<label>/<name>.wav.

Each recording keeps its rate; it is written as 16-bit PCM of one channel, whole or not at all, so an interrupted run
goes on where it was. Of what too little is left nothing is written, and its name is returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import Field
from tqdm import tqdm

from desed_task.audio.reading import check_header, read_waveform, write_waveform
from desed_task.errors import CorpusError
from desed_task.options import Options
from desed_task.soundscapes.output import open_stripped_dir
from desed_task.soundscapes.processes import mapping_over
from desed_task.soundscapes.recorded import list_recordings
from desed_task.soundscapes.stripping import StripOptions


class Stripping(Options):
    """What a folder of stripped recordings was made from."""

    source: Path = Field(description="The folder of class folders.")
    strip: StripOptions = Field(description="How silence is told from sound.")


def strip_folders(source: Path, target: Path, options: StripOptions, num_jobs: int) -> dict[str, list[str]]:
    """Strip every recording: label -> names of those of which too little is left.

    CorpusError where there is nothing to strip or two recordings would become one, AudioError for one that is bad.
    """
    recordings = _list_recordings(source)
    open_stripped_dir(target, Stripping(source=source.resolve(), strip=options))
    dropped: dict[str, list[str]] = {recording.parent.name: [] for recording in recordings}
    for label in dropped:
        (target / label).mkdir(exist_ok=True)
    with mapping_over(min(num_jobs, len(recordings))) as map_in_order:
        kept = map_in_order(partial(_strip, target, options), recordings)
        shown = tqdm(kept, total=len(recordings), desc="stripping", unit="file", disable=None)
        for recording, is_kept in zip(recordings, shown, strict=True):
            if not is_kept:
                dropped[recording.parent.name].append(recording.name)
    return dropped


def _list_recordings(source: Path) -> Sequence[Path]:
    if not source.is_dir():
        raise CorpusError(f"{source}: no such folder; name the one with a folder per class")
    labels = sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
    recordings = [recording for label in labels for recording in list_recordings(label)]
    if not recordings:
        raise CorpusError(f"{source}: holds no class folder; recordings must lie in <label>/ there")
    first: dict[tuple[str, str], Path] = {}
    for recording in recordings:
        other = first.setdefault((recording.parent.name, recording.stem), recording)
        if other != recording:
            raise CorpusError(f"{recording}: would become the same file as {other.name}; rename one")
    return recordings


def _strip(target: Path, options: StripOptions, recording: Path) -> bool:
    """Whether enough was left to be written."""
    label = recording.parent.name
    path = target / label / f"{recording.stem}.wav"
    if path.is_file():
        return True
    sample_rate = check_header(recording).sample_rate
    isolated = options.isolate(read_waveform(recording, sample_rate), sample_rate, label)
    for _, waveform in isolated:
        write_waveform(path, waveform, sample_rate)
    return bool(isolated)
