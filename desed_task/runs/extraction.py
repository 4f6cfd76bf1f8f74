"""Extraction: an embedder hears every recording of a conf once, and what it says is stored for trainings to read.

Recordings are decoded at the detector's rate by a few threads, ahead of the network, padded to the clip length of
the detector, and heard in batches of one part of the file after another (embeddings/parts.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.audio.reading import AudioInfo, Waveform, read_waveform
from desed_task.clips import Clip, ClipSet
from desed_task.data.checking import read_headers
from desed_task.data.decoding import in_threads
from desed_task.data.waiting_lock import alone_with
from desed_task.embeddings.layouts import LayoutName, Part
from desed_task.embeddings.origin import Recording, recording_of
from desed_task.embeddings.parts import Parts, Plan, difference_of_store
from desed_task.embeddings.store import store_path
from desed_task.errors import CorpusError, OptionsError
from desed_task.runs.extraction_embedders import Extraction
from desed_task.training.batch_split import is_out_of_memory
from desed_task.training.energy import EnergyReading

LOG = logging.getLogger(__name__)
_SECONDS_PER_READING = 30.0
Meter = Callable[[], EnergyReading]


def extract(
    clip_sets: Mapping[str, ClipSet], extraction: Extraction, folder: Path, overwrite: bool, meter: Meter
) -> list[Path]:
    """Make the file of every set that is not there yet, in `folder`; all of them. DesedTaskError for what cannot be.

    meter: starts the meter, or says which runs.
    """
    for name, clip_set in clip_sets.items():
        _require_short(name, clip_set.clips, extraction.longest_seconds)
    paths = [store_path(folder, name) for name in clip_sets]
    for path, clip_set in zip(paths, clip_sets.values(), strict=True):
        plan = Plan(extraction.layout, extraction.contents, clip_set.clips)
        _make_folder(path.parent)
        with alone_with(path.with_name(f".{path.stem}.lock"), str(path), "extracts"):
            if not _is_there(path, plan, overwrite):
                _extract_set(Parts(path, plan), extraction, overwrite, meter())
    return paths


def _extract_set(parts: Parts, extraction: Extraction, overwrite: bool, energy: EnergyReading) -> None:
    lacking = parts.begin(overwrite)
    clips = [clip for number in lacking for clip in parts.clips[number]]
    total = len(parts.plan.clips)
    if len(clips) < total:
        LOG.info("%s: %d of %d clips were extracted before; going on", parts.path, total - len(clips), total)
    read_at = monotonic()
    decoded = in_threads(lambda clip: _decoded(clip, extraction.sample_rate, extraction.num_samples), clips)
    with tqdm(total=total, initial=total - len(clips), desc=parts.path.stem, unit="clip", disable=None) as progress:
        for number in lacking:
            recordings: list[Recording] = []
            blocks: list[dict[Part, NDArray[np.floating]]] = []
            for batch in _batches(parts.clips[number], extraction.batch_size):
                waveforms, heard = zip(*(next(decoded) for _ in batch), strict=True)
                blocks.append(_heard(extraction, np.stack(waveforms)))
                _require_finite(batch, blocks[-1], extraction.layout)
                recordings.extend(heard)
                progress.update(len(batch))
            parts.write(number, {part: np.concatenate([of[part] for of in blocks]) for part in blocks[0]}, recordings)
            if monotonic() - read_at > _SECONDS_PER_READING:
                energy.flush()
                read_at = monotonic()
    parts.assemble()


def _heard(extraction: Extraction, waveforms: NDArray[np.float32]) -> dict[Part, NDArray[np.floating]]:
    """What a file holds of a batch; OptionsError where there is no memory for it."""
    try:
        return extraction.hear(waveforms)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        remedy = "lower it" if extraction.batch_size > 1 else "take another device"
        raise OptionsError(
            f"--batch_size {extraction.batch_size}: no memory for what the network makes of so many clips at a time on "
            f"{extraction.device}; {remedy}, and what is extracted is kept"
        ) from None


def _decoded(clip: Clip, sample_rate: int, num_samples: int) -> tuple[Waveform, Recording]:
    """(samples,) padded with zeros or cut at the end, and what the recording was."""
    recording = recording_of(clip.path)
    waveform = read_waveform(clip.path, sample_rate)[:num_samples]
    return np.pad(waveform, (0, num_samples - len(waveform))), recording


def _batches(clips: Sequence[Clip], size: int) -> Iterator[Sequence[Clip]]:
    return (clips[first : first + size] for first in range(0, len(clips), size))


def _require_finite(clips: Sequence[Clip], block: Mapping[Part, NDArray[np.floating]], layout: LayoutName) -> None:
    for values in block.values():
        for clip, of_clip in zip(clips, values, strict=True):
            if not np.isfinite(of_clip).all():
                remedy = "; --layout 2023 keeps what is too large for float16" if layout == "compact" else ""
                raise CorpusError(
                    f"{clip.path}: its embedding has values that are not finite as they are stored{remedy}"
                )


def _require_short(name: str, clips: Sequence[Clip], longest_seconds: float) -> None:
    """CorpusError for recordings that are longer than a window of the detector; of those a part is heard at a time."""
    headers = read_headers([clip.path for clip in clips], name)
    for header in headers:
        if not isinstance(header, AudioInfo):
            raise header
    longer = [
        (clip, header.duration)
        for clip, header in zip(clips, headers, strict=True)
        if isinstance(header, AudioInfo) and header.duration > longest_seconds
    ]
    if longer:
        clip, seconds = longer[0]
        raise CorpusError(
            f"{name}: {len(longer)} of {len(clips)} recordings are longer than the {longest_seconds:.2f} s of a stored "
            f"clip, such as {clip.path} with {seconds:.2f} s; take mode frozen, which hears them window by window, or "
            f"leave the set out with --sets"
        )


def _is_there(path: Path, plan: Plan, overwrite: bool) -> bool:
    """Whether a finished store is what is planned. CorpusError when it is another, unless that is overwritten."""
    if not path.is_file():
        return False
    try:
        difference = difference_of_store(path, plan)
    except CorpusError as error:
        difference = str(error).removeprefix(f"{path}: ").partition(";")[0]
    if difference is None:
        LOG.info("%s: is there", path)
        Parts(path, plan).remove()  # of a run that was killed right after the last step
        return True
    if not overwrite:
        raise CorpusError(f"{path}: {difference}; replace it with --overwrite, or name another --output_dir")
    LOG.info("%s: %s; it is replaced", path, difference)
    return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be made ({error.strerror}); name another --output_dir") from None
