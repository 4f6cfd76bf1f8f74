"""Extraction: an embedder hears every recording of a conf once, and what it says is stored for trainings to read.

Recordings are decoded at the embedder's own rate by a few threads, ahead of the network, padded to the clip length of
the detector, and heard in batches. In the compact layout, embeddings that follow the clip's time in more frames than
the detector's are pooled to these. Files of the published layouts hold both embeddings of a published network: that of
the clip, and `frame`, or all tokens of an AST.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path
from time import monotonic
from typing import cast

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from desed_task.audio.reading import AudioInfo, Waveform, read_waveform
from desed_task.batch import send
from desed_task.clips import Clip, ClipSet
from desed_task.data.checking import read_headers
from desed_task.data.decoding import in_threads
from desed_task.embedders import BuiltEmbedder
from desed_task.embeddings.embedder import Embedder, mel_clock
from desed_task.embeddings.layouts import LAYOUTS, LayoutName, Part, layout_of
from desed_task.embeddings.origin import Recording, recording_of
from desed_task.embeddings.parts import Parts, Plan, difference_of_store
from desed_task.embeddings.store import store_path
from desed_task.embeddings.store_file import Clock, Contents, opened
from desed_task.errors import CorpusError
from desed_task.features.frontend import FrontendOptions
from desed_task.models.embedding import Embeds
from desed_task.training.energy import EnergyReading

LOG = logging.getLogger(__name__)
# Of clips longer than the detector's window so much may be cut, where embeddings do not say how fast they are.
_TOLERANCE_SECONDS = 0.1
_SECONDS_PER_READING = 30.0
Meter = Callable[[], EnergyReading]


@dataclass(frozen=True)
class Extraction:
    """How embeddings are made.

    embedders: of each part of a file, what it holds. listener: what the detector hears with.
    """

    embedders: Mapping[Part, BuiltEmbedder]
    listener: FrontendOptions
    layout: LayoutName
    batch_size: int
    device: torch.device

    @property
    def main(self) -> BuiltEmbedder:
        """The embedder of `frame_embeddings`, or of all that a compact file holds."""
        return self.embedders["frame"]

    @property
    def sample_rate(self) -> int:
        """That of the embedder."""
        return self.main.options.features.sample_rate

    @property
    def num_samples(self) -> int:
        """Of a clip, at the embedder's rate."""
        own = round(self.main.clip_seconds * self.main.system_rate)
        return ceil(own * (self.sample_rate / self.main.system_rate))

    @property
    def contents(self) -> Contents:
        """What a file says of itself."""
        return Contents(self.main.options.output, self._clock, self.main.origin())

    @property
    def longest_seconds(self) -> float:
        """Of a recording that can be stored: what is cut of it is no more than an embedding frame."""
        return self.main.clip_seconds + (_TOLERANCE_SECONDS if self._clock is None else self._clock.step)

    @cached_property
    def _clock(self) -> Clock | None:
        """Of the main embedding, in seconds; None where it does not follow the clip's time."""
        shape, mel_frame = self.main.shape(self.listener), mel_clock(self.listener)
        if shape.step is None:
            return None
        return Clock(mel_frame.first + shape.first * mel_frame.step, shape.step * mel_frame.step)


def layout_embedders(embedder: BuiltEmbedder, layout: LayoutName) -> dict[Part, BuiltEmbedder]:
    """Of each part of a file of that layout, what it holds."""
    if layout == "compact":
        return {"frame": _changed(embedder, mode="stored")}
    own = _changed(embedder, mode="frozen")
    offered, output = _outputs(own), own.options.output
    if output == "global" and "frame" in offered:
        output = "frame"
    if output == "frame" and "tokens" in offered:
        output = "tokens"  # as published; `frame` is made of them in reading
    parts: dict[Part, BuiltEmbedder] = {"frame": _changed(own, output=output)}
    return parts | ({"global": _changed(own, output="global")} if "global" in offered else {})


def _changed(embedder: BuiltEmbedder, **changes: str) -> BuiltEmbedder:
    options = embedder.options.model_copy(update=changes)
    return BuiltEmbedder(options, embedder.system_rate, embedder.clip_seconds, embedder.listener)


def _outputs(embedder: BuiltEmbedder) -> tuple[str, ...]:
    """The embeddings that its network offers."""
    with torch.device("meta"):
        offered: tuple[str, ...] = cast(Embeds, embedder.network().network).EMBEDDINGS
    return offered


def extract(
    clip_sets: Mapping[str, ClipSet], extraction: Extraction, folder: Path, overwrite: bool, meter: Meter
) -> list[Path]:
    """Make the file of every set that is not there yet, in `folder`; all of them. DesedTaskError for what cannot be.

    meter: starts the meter, or says which runs.
    """
    for name, clip_set in clip_sets.items():
        _require_short(name, clip_set.clips, extraction.longest_seconds)
    hear = _Hear(extraction)
    paths = [store_path(folder, name) for name in clip_sets]
    for path, clip_set in zip(paths, clip_sets.values(), strict=True):
        plan = Plan(extraction.layout, extraction.contents, clip_set.clips)
        with _alone_with(path):
            if not _is_there(path, plan, overwrite):
                _extract_set(Parts(path, plan), hear, overwrite, meter())
    return paths


def size_in_words(path: Path, embedder: BuiltEmbedder) -> str:
    """What a file holds and takes, and how much it would take in the layout of 2023."""
    with opened(path) as file:
        layout = layout_of(file)
        rows = layout.rows(file)
        frames, dim = layout.shape(file, "frame", next(iter(rows.values())))
    published = 0
    for built in layout_embedders(embedder, "2023").values():
        shape = built.shape(built.options.features)
        published += np.dtype(np.float32).itemsize * shape.frames * shape.dim
    num_bytes = path.stat().st_size
    return (
        f"{path}: {len(rows)} clips of {frames} x {dim}, layout {layout.name}, {num_bytes / 1e6:.1f} MB; layout 2023 "
        f"takes {len(rows) * published / 1e6:.1f} MB, {len(rows) * published / num_bytes:.2g} times as much"
    )


class _Hear:
    """Clips in batches, at the embedder's rate -> what a file holds of each. The networks are read when first used."""

    def __init__(self, extraction: Extraction) -> None:
        self.extraction, self._embedders = extraction, dict[Part, Embedder]()

    def __call__(self, waveforms: NDArray[np.float32]) -> dict[Part, NDArray[np.floating]]:
        """(clips, samples) -> part -> (clips, embedding_frames, dim)."""
        embedders, heard = self._built(), send(waveforms, self.extraction.device)
        with torch.inference_mode():
            return {part: self._as_stored(embedder(heard).values) for part, embedder in embedders.items()}

    def _as_stored(self, values: Tensor) -> NDArray[np.floating]:
        is_half = LAYOUTS[self.extraction.layout].dtype is np.float16
        stored: NDArray[np.floating] = (values.half() if is_half else values).cpu().numpy()
        return stored

    def _built(self) -> Mapping[Part, Embedder]:
        if not self._embedders:
            for part, built in self.extraction.embedders.items():
                embedder = built.embedder()
                # The recordings are decoded at the rate of the embedder and not of the detector.
                embedder.hearing.system_rate = embedder.hearing.sample_rate
                self._embedders[part] = embedder.to(self.extraction.device)
        return self._embedders


def _extract_set(parts: Parts, hear: _Hear, overwrite: bool, energy: EnergyReading) -> None:
    lacking = parts.begin(overwrite)
    clips = [clip for number in lacking for clip in parts.clips[number]]
    total = len(parts.plan.clips)
    if len(clips) < total:
        LOG.info("%s: %d of %d clips were extracted before; going on", parts.path, total - len(clips), total)
    extraction, read_at = hear.extraction, monotonic()
    decoded = in_threads(lambda clip: _decoded(clip, extraction.sample_rate, extraction.num_samples), clips)
    with tqdm(total=total, initial=total - len(clips), desc=parts.path.stem, unit="clip", disable=None) as progress:
        for number in lacking:
            recordings: list[Recording] = []
            blocks: list[dict[Part, NDArray[np.floating]]] = []
            for batch in _batches(parts.clips[number], extraction.batch_size):
                waveforms, heard = zip(*(next(decoded) for _ in batch), strict=True)
                blocks.append(hear(np.stack(waveforms)))
                _require_finite(batch, blocks[-1], extraction.layout)
                recordings.extend(heard)
                progress.update(len(batch))
            parts.write(number, {part: np.concatenate([of[part] for of in blocks]) for part in blocks[0]}, recordings)
            if monotonic() - read_at > _SECONDS_PER_READING:
                energy.flush()
                read_at = monotonic()
    parts.assemble()


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


@contextmanager
def _alone_with(path: Path) -> Iterator[None]:
    """Alone with a store; waits, and says so, while another process extracts it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(f"{path.parent}: cannot be made ({error.strerror}); name another --output_dir") from None
    lock_path = path.with_name(f".{path.stem}.lock")
    lock = FileLock(lock_path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        LOG.warning("%s: another process extracts it; waiting for it", path)
        lock.acquire()
    try:
        yield
        # Whoever waits for the file removed here, and whoever makes it anew, finds the store complete.
        lock_path.unlink(missing_ok=True)
    finally:
        lock.release()
