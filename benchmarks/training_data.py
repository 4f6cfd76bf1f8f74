"""How fast are training batches made from the packed store? Beside a loop of soundfile over the same clips.

    python -m benchmarks.training_data [--size small] [--repeats 7]

Rows `data path ...`: clips per second in batches of 48 ten-second clips at 16 kHz, float32 in [-1, 1], in random order,
page cache warm. Ours is the whole of what a training asks for (`BatchDataset[epoch, step]`: order, excerpts, targets);
the peer reads the int16 wav files of the same clips with `soundfile.read` and stacks them. Both sides in turn, an epoch
each, so that neither finds the caches full of what the other read; medians over the epochs; a checksum of each batch is
taken on both sides and compared, outside of the time but for the row that says so. As in a training, malloc keeps what
is freed, for both sides.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from desed_task.clips import Clip, ClipSet
from desed_task.data.dataset import BatchDataset
from desed_task.data.resident import AskedResidence, build_excerpts
from desed_task.data.store import PackedStore, open_store
from desed_task.data.stored_source import StoredSource
from desed_task.errors import DesedTaskError
from desed_task.events import Event
from desed_task.labels import DESED_LABELS, LabelSet
from desed_task.timeline import FrameGrid
from desed_task.training.allocator import keep_freed_memory

Row = dict[str, Any]
RATE, SECONDS, BATCH, SEED = 16_000, 10.0, 48, 5
LONG_SECONDS = 12.0
NUM_CLIPS = {"full": 480, "small": 96}
LABELS, GRID = LabelSet(DESED_LABELS), FrameGrid(RATE, 256, 4)
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Corpus:
    """Recordings on disk and their packed store."""

    clip_set: ClipSet
    store: PackedStore

    def dataset(self, residence: AskedResidence, device: torch.device = CPU) -> BatchDataset:
        """Batches of 48 of these clips."""
        (excerpts,) = build_excerpts([self.store], device, residence)
        num_samples = GRID.num_samples(SECONDS)
        source = StoredSource(self.clip_set, self.store, BATCH, LABELS, GRID, num_samples, excerpts)
        return BatchDataset([source], num_samples, GRID.num_frames(num_samples), len(LABELS), SEED, device=device)


def rows(arguments: Namespace) -> list[Row]:
    """arguments.size: full | small; arguments.repeats: epochs that are timed."""
    keep_freed_memory()
    num_clips, repeats = NUM_CLIPS[arguments.size], int(arguments.repeats)
    with _written(num_clips, SECONDS, "none") as plain:
        mapped = plain.dataset("mapped")
        found = [
            _beside_soundfile("data path", plain, mapped, repeats),
            _beside_soundfile("data path, checksums timed", plain, mapped, repeats, timed_checksums=True),
            _alone("data path, resident in memory", plain.dataset("resident"), repeats),
        ]
        if torch.cuda.is_available():
            cuda = torch.device("cuda:0")
            found.append(_alone("data path, mapped to a GPU", plain.dataset("mapped", cuda), repeats))
            found.append(_alone("data path, resident on a GPU", plain.dataset("resident", cuda), repeats))
    with _written(num_clips, LONG_SECONDS, "strong") as cut:
        found.append(_alone("data path, targets and crops", cut.dataset("mapped"), repeats))
    return found


def _beside_soundfile(
    name: str, corpus: Corpus, dataset: BatchDataset, repeats: int, timed_checksums: bool = False
) -> Row:
    paths = {clip.audio_id: clip.path for clip in corpus.clip_set.clips}
    ours: list[float] = []
    theirs: list[float] = []
    for epoch in range(-1, repeats):  # the first one warms up and is not counted
        batches, mine = [], 0.0
        for step in range(len(dataset)):
            batch, checksum, seconds = _timed(dataset.__getitem__, (max(epoch, 0), step), _checksum_of, timed_checksums)
            batches.append(([paths[audio_id] for audio_id in batch.audio_ids], checksum))
            mine += seconds
            del batch
        peer = 0.0
        for chosen, checksum in batches:
            _, expected, seconds = _timed(_read, chosen, _checksum, timed_checksums)
            if checksum != expected:
                raise DesedTaskError(f"{name}: a batch of {chosen[0].stem} and others is not what soundfile reads")
            peer += seconds
        if epoch >= 0:
            ours.append(mine)
            theirs.append(peer)
    num_clips = BATCH * len(dataset)
    ratio = median(peer / mine for mine, peer in zip(ours, theirs, strict=True))
    peer_name = f"soundfile {soundfile.__version__}"
    return _row(name, num_clips / median(ours), peer_name, num_clips / median(theirs), ratio)


def _alone(name: str, dataset: BatchDataset, repeats: int) -> Row:
    seconds = []
    for epoch in range(-1, repeats):
        start = time.perf_counter()
        for step in range(len(dataset)):
            dataset[max(epoch, 0), step]
        if dataset.device.type == "cuda":
            torch.cuda.synchronize(dataset.device)
        seconds.append(time.perf_counter() - start)
    return _row(name, BATCH * len(dataset) / median(seconds[1:]), None, None, None)


def _read(paths: list[Path]) -> Tensor:
    return torch.from_numpy(np.stack([soundfile.read(path, dtype="float32")[0] for path in paths]))


def _timed(
    make: Callable[[Any], Any], of: Any, checksum: Callable[[Any], int], all_of_it: bool
) -> tuple[Any, int, float]:
    """What is made, its checksum, and the seconds of the making (with `all_of_it` of both)."""
    start = time.perf_counter()
    made = make(of)
    seconds = time.perf_counter() - start
    found = checksum(made)
    return made, found, time.perf_counter() - start if all_of_it else seconds


def _checksum_of(batch: Any) -> int:
    return _checksum(batch.waveform)


def _checksum(waveform: Tensor) -> int:
    """Of the bits of all samples, each row's sum weighed by its place."""
    sums = waveform.numpy().view(np.uint64).sum(axis=1)
    return int((sums * np.arange(1, len(sums) + 1, dtype=np.uint64)).sum())


@contextmanager
def _written(num_clips: int, seconds: float, supervision: Any) -> Iterator[Corpus]:
    """Noise as int16 wav files, about four events in each clip, and their store."""
    rng = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as name:
        folder, clips, events = Path(name), [], {}
        for number in range(num_clips):
            clip = Clip(f"clip{number:05d}", folder / f"clip{number:05d}.wav", seconds)
            samples = rng.integers(-32768, 32768, int(seconds * RATE), dtype=np.int16)
            soundfile.write(clip.path, samples, RATE, subtype="PCM_16")
            onsets = np.sort(rng.uniform(0, seconds - 1, int(rng.integers(1, 8)))).tolist()
            events[clip.audio_id] = tuple(Event(at, at + 1, LABELS[int(rng.integers(len(LABELS)))]) for at in onsets)
            clips.append(clip)
        clip_set = ClipSet("noise", tuple(clips), supervision, events)
        yield Corpus(clip_set, open_store(clip_set, folder, RATE))


def _row(name: str, value: float, peer: str | None, peer_value: float | None, ratio: float | None) -> Row:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, {gpu}"
    row = {"name": name, "value": value, "unit": "clips/s", "peer": peer, "peer_value": peer_value, "ratio": ratio}
    return {**row, "machine": machine, "threads": torch.get_num_threads()}


def main() -> int:
    """Print the rows."""
    parser = ArgumentParser(description="Rows `data path` of the training's benchmark.")
    parser.add_argument("--size", choices=tuple(NUM_CLIPS), default="full")
    parser.add_argument("--repeats", type=int, default=7)
    for row in rows(parser.parse_args()):
        beside = f", {row['peer']} {row['peer_value']:,.0f}, {row['ratio']:.1f} times" if row["peer"] else ""
        print(f"{row['name']}: {row['value']:,.0f} {row['unit']}{beside}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
