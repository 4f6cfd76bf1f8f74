"""Recordings as FLAC: one channel, 16 bits, whole or not at all.

Samples are those that the packed store would hold, so a 16-bit recording at its own rate loses nothing.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.audio.reading import read_waveform
from desed_task.data.corpora.listing import list_recordings
from desed_task.data.decoding import in_threads
from desed_task.data.packing import to_int16
from desed_task.errors import CorpusError


def encode_flac(samples: NDArray[np.int16], sample_rate: int) -> bytes:
    """(samples,) -> a FLAC file."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def convert_folder(
    source: Path, target: Path, sample_rate: int, with_suffixes: Sequence[str] = (), num_threads: int | None = None
) -> tuple[int, int]:
    """Every recording right in `source` as <name>.flac at `sample_rate` in `target`; those that are there are kept.

    with_suffixes: of files beside the recordings (".txt", ".jams") that are copied along. Returns how many were written
    and how many there were. CorpusError for an empty folder, two recordings of one name, or a file that is not there.
    """
    if not source.is_dir():
        raise CorpusError(f"{source}: no such folder of recordings")
    recordings = list(list_recordings(source).values())
    _require_all(source, recordings, with_suffixes)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(f"{target}: cannot be made ({error.strerror})") from None
    wanted = [path for path in recordings if not (target / f"{path.stem}.flac").is_file()]
    done = in_threads(lambda path: _convert(path, target, sample_rate), wanted, num_threads)
    for _ in tqdm(done, total=len(wanted), desc=f"{source.name} to FLAC", unit="clip", disable=None):
        pass
    for path in recordings:
        for suffix in with_suffixes:
            _copy(path.with_suffix(suffix), target)
    return len(wanted), len(recordings)


def _require_all(source: Path, recordings: Sequence[Path], suffixes: Sequence[str]) -> None:
    if not recordings:
        raise CorpusError(f"{source}: no recordings here (wav, flac, ogg, mp3 ...)")
    by_stem: dict[str, Path] = {}
    for path in recordings:
        other = by_stem.setdefault(path.stem, path)
        if other is not path:
            raise CorpusError(f"{source}: {other.name} and {path.name} would both be {path.stem}.flac; move one away")
    for suffix in suffixes:
        lacking = [path for path in recordings if not path.with_suffix(suffix).is_file()]
        if lacking:
            raise CorpusError(
                f"{lacking[0].with_suffix(suffix)}: not there ({len(lacking)} of {len(recordings)} recordings have no "
                f"{suffix}); leave out --move_{suffix[1:]}"
            )


def _convert(path: Path, target: Path, sample_rate: int) -> None:
    written = target / f"{path.stem}.flac"
    partial = written.with_name(f"{written.name}.partial")
    partial.write_bytes(encode_flac(to_int16(read_waveform(path, sample_rate)), sample_rate))
    partial.replace(written)


def _copy(path: Path, target: Path) -> None:
    copied = target / path.name
    if not copied.is_file():
        partial = copied.with_name(f"{copied.name}.partial")
        shutil.copyfile(path, partial)
        partial.replace(copied)
