"""How fast are clips read from an LMDB? Beside opening the same FLAC files, the published reader and the packed store.

    python -m benchmarks.lmdb_reading [--json FILE] [--size small] [--repeats 5]

Mixtures of 5 s at 22.05 kHz, FLAC of 16 bits, some 150 kB each, in random order; every side reads all of them in its
turn, so that none finds the caches full of what another read; medians over the rounds.

    fetch ...    MB of undecoded recordings a second, from memory the system has, and from the disk (cold)
    decode ...   clips a second as float32 in batches of 64, page cache warm: decoded from the LMDB when they are heard,
                 by a few threads or by one, or from a copy of it in memory; peers: a loop of soundfile.read over the
                 files, a loop over lmdb, msgpack and soundfile as GISE-51's readers have it, and the int16 store
    memory ...   MB by which the anonymous memory (RssAnon) of a process grows from hearing a tenth of the clips to
                 hearing all: mapped at most 20, whatever the size of the LMDB; in memory that of the file

Batches of all sides are compared, outside of the time.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.machine import anonymous_bytes, describe_machine
from benchmarks.row_files import write_rows
from desed_task.audio.records import close_lmdb, read_record
from desed_task.clips import ClipSet
from desed_task.data import mapped
from desed_task.data.corpora.lmdb import LmdbOptions, read_lmdb
from desed_task.data.flac_files import encode_flac
from desed_task.data.joined import open_stores
from desed_task.data.lmdb_items import items_of_folders
from desed_task.data.lmdb_packing import LmdbPacking, pack_lmdb
from desed_task.data.mapped import ClipStore, MappedExcerpts
from desed_task.errors import DesedTaskError

Row = dict[str, Any]
RATE, SECONDS, BATCH, SEED = 22_050, 5.0, 64, 8
NUM_SAMPLES = int(RATE * SECONDS)
NUM_CLIPS = {"full": 2_048, "small": 64}
LIMIT_MB = 20.0
# A batch of some clips, by their numbers: (clips, samples).
Side = Callable[[Sequence[int]], Tensor]
Fetch = Callable[[int], bytes]


@dataclass(frozen=True)
class Corpus:
    """The same mixtures as files and in an LMDB."""

    folder: Path

    @property
    def files(self) -> list[Path]:
        """By name, which is their order in the LMDB."""
        return sorted((self.folder / "mixtures").glob("*.flac"))

    @property
    def lmdb(self) -> Path:
        """The packed file."""
        return self.folder / "mixtures.lmdb"

    def clips(self, **options: Any) -> ClipSet:
        """As a corpus of a conf."""
        return read_lmdb(LmdbOptions(name="lmdb", path=self.lmdb, **options), "weak")

    def open(self, **options: Any) -> ClipStore:
        """The store that a training opens."""
        return open_stores(self.clips(**options), self.folder / "store", RATE)


def main(argv: Sequence[str]) -> int:
    """Print the rows, and write them where --json says."""
    parser = ArgumentParser(description="Reading clips from an LMDB, beside files and the packed store.")
    parser.add_argument("--json", type=Path, help="File for the rows.")
    parser.add_argument("--size", choices=tuple(NUM_CLIPS), default="full")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help="Only the memory of this process, as JSON.")
    arguments = parser.parse_args(argv)
    if arguments.measure is not None:
        print(json.dumps(_measure(Corpus(arguments.measure))))
        return 0
    found = rows(arguments)
    for row in found:
        beside = f", {row['peer']} {row['peer_value']:,.1f}, ratio {row['ratio']:.2f}" if row["peer"] else ""
        print(f"{row['name']}: {row['value']:,.1f} {row['unit']}{beside}")
    if arguments.json is not None:
        write_rows(found, arguments.json)
    return 0


def rows(arguments: Namespace) -> list[Row]:
    """arguments.size: full | small; arguments.repeats: rounds that are timed."""
    repeats = int(arguments.repeats)
    with tempfile.TemporaryDirectory() as name:
        corpus = _write(Path(name), NUM_CLIPS[arguments.size])
        # Before this process holds the LMDB open.
        of_memory = _memory_rows(corpus)
        found = [*_fetch_rows(corpus, repeats), *_decode_rows(corpus, repeats), *of_memory]
        close_lmdb(corpus.lmdb)
    return [{**row, "machine": describe_machine(), "size": arguments.size} for row in found]


def _fetch_rows(corpus: Corpus, repeats: int) -> list[Row]:
    files = corpus.files
    sides: dict[str, Fetch] = {
        "lmdb": lambda clip: read_record(corpus.lmdb / str(clip)),
        "files": lambda clip: files[clip].read_bytes(),
    }
    megabytes = sum(file.stat().st_size for file in files) / 1e6

    def fetched(fetch: Fetch) -> Callable[[Sequence[int]], int]:
        return lambda clips: sum(len(fetch(clip)) for clip in clips)

    found = []
    for name, before in (("fetch, LMDB", _nothing), ("fetch, LMDB, cold", lambda: _drop_cached(corpus))):
        readers = {side: fetched(fetch) for side, fetch in sides.items()}
        seconds = _in_turn(readers, len(files), repeats, before)
        found.append(_row(name, "MB/s", megabytes, seconds, "lmdb", "files", "opening the files"))
    return found


def _decode_rows(corpus: Corpus, repeats: int) -> list[Row]:
    files = corpus.files
    stores = {
        "mapped": corpus.open(),
        "in memory": corpus.open(in_memory=True),
        "store": corpus.open(decode="once"),
    }
    sides: dict[str, Side] = {
        "files": lambda clips: _stacked(soundfile.read(files[clip], dtype="float32")[0] for clip in clips),
        **{name: _side_of(store) for name, store in stores.items()},
        "one thread": _side_of(stores["mapped"], num_threads=1),
    }
    _require_equal(sides, range(min(BATCH, len(files))))
    readers = {name: _in_batches(side) for name, side in sides.items()}
    seconds = _in_turn(readers, len(files), repeats)
    # LMDB lets a process open a file once.
    close_lmdb(corpus.lmdb)
    with _published(corpus.lmdb) as published:
        _require_equal({"files": sides["files"], "published": published}, range(min(BATCH, len(files))))
        seconds |= _in_turn({"published": _in_batches(published)}, len(files), repeats)
    loop, threads = f"soundfile {soundfile.__version__} over the files", mapped.DECODING_THREADS
    compared = [
        (f"decode, LMDB mapped, {threads} threads", "mapped", "files", loop),
        ("decode, LMDB mapped, 1 thread", "one thread", "files", loop),
        (f"decode, LMDB in memory, {threads} threads", "in memory", "files", loop),
        ("decode, LMDB mapped, beside the published reader", "mapped", "published", "lmdb, msgpack, soundfile"),
        ("decode, LMDB mapped, beside the int16 store", "mapped", "store", "int16 store"),
        ("decode, int16 store", "store", "files", loop),
    ]
    return [_row(name, "clips/s", len(files), seconds, *sides_and_peer) for name, *sides_and_peer in compared]


def _memory_rows(corpus: Corpus) -> list[Row]:
    """Measured in a process of its own, which nothing else has filled."""
    command = [sys.executable, "-m", "benchmarks.lmdb_reading", "--measure", str(corpus.folder)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        raise DesedTaskError(f"memory: the process that reads failed with exit code {ran.returncode}; see above")
    found = []
    for way, few, many in json.loads(ran.stdout.splitlines()[-1]):
        growth, limit = (many - few) / 1e6, LIMIT_MB if way == "mapped" else None
        size = f"LMDB of {corpus.lmdb.stat().st_size / 1e6:.0f} MB"
        note = f"RssAnon {few / 1e6:.0f} MB after a tenth of the clips, {many / 1e6:.0f} MB after all; {size}"
        row = {"name": f"memory, LMDB {way}", "value": growth, "unit": "MB", "peer": "at most" if limit else None}
        ratio = limit / max(growth, 1.0) if limit else None
        found.append({**row, "peer_value": limit, "ratio": ratio, "note": note})
    return found


def _measure(corpus: Corpus) -> list[tuple[str, int, int]]:
    """Way, anonymous bytes of this process after a tenth of the clips were heard, and after all were."""
    num_clips = len(corpus.files)
    found = []
    batch = torch.zeros(BATCH, NUM_SAMPLES)  # one for all: what a batch takes is no memory of the reading
    for way in ("mapped", "in memory"):
        few, many = (_hear(corpus, way, number, batch) for number in (max(1, num_clips // 10), num_clips))
        found.append((way, few, many))
    return found


def _hear(corpus: Corpus, way: str, num_clips: int, batch: Tensor) -> int:
    """The anonymous memory of this process when it has heard so many clips, of which only they are in the store."""
    clip_set = corpus.clips(in_memory=way == "in memory").select(list(range(num_clips)))
    excerpts = MappedExcerpts(open_stores(clip_set, corpus.folder / "store", RATE))
    for first in range(0, num_clips, BATCH):
        clips = range(first, min(first + BATCH, num_clips))
        excerpts.fill([(clip, 0) for clip in clips], batch[: len(clips)])
    return anonymous_bytes()


def _in_turn(
    readers: Mapping[str, Callable[[Sequence[int]], Any]],
    num_clips: int,
    repeats: int,
    before: Callable[[], None] | None = None,
) -> dict[str, list[float]]:
    """Seconds of every side for all clips in random order, one round after another; the first is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for number in range(-1, repeats):
        order = np.random.default_rng((SEED, number + 1)).permutation(num_clips).tolist()
        for name, read in readers.items():
            (before or _nothing)()
            start = time.perf_counter()
            read(order)
            if number >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _row(
    name: str, unit: str, amount: float, seconds: Mapping[str, list[float]], side: str, other: str, peer: str
) -> Row:
    value, peer_value = amount / median(seconds[side]), amount / median(seconds[other])
    ratio = median(theirs / ours for ours, theirs in zip(seconds[side], seconds[other], strict=True))
    return {"name": name, "value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}


def _side_of(store: ClipStore, num_threads: int | None = None) -> Side:
    excerpts = MappedExcerpts(store)

    def batch(clips: Sequence[int]) -> Tensor:
        waveforms, before = torch.empty(len(clips), NUM_SAMPLES), mapped.DECODING_THREADS
        mapped.DECODING_THREADS = num_threads or before
        try:
            excerpts.fill([(clip, 0) for clip in clips], waveforms)
        finally:
            mapped.DECODING_THREADS = before
        return waveforms

    return batch


@contextmanager
def _published(path: Path) -> Iterator[Side]:
    """A loop as GISE-51's readers have it: a transaction for each record, decoded as float64 by soundfile."""
    import lmdb
    import msgpack

    with lmdb.open(
        str(path), subdir=False, max_readers=1, readonly=True, lock=False, readahead=False, meminit=False
    ) as environment:

        def decoded(clip: int) -> NDArray[np.float32]:
            with environment.begin(write=False) as transaction:
                audio, _ = msgpack.unpackb(transaction.get(str(clip).encode("ascii")))
            samples: NDArray[np.float64] = soundfile.read(io.BytesIO(audio))[0]
            return samples.astype(np.float32)

        yield lambda clips: _stacked(decoded(clip) for clip in clips)


def _stacked(waveforms: Iterator[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.stack(list(waveforms)))


def _in_batches(side: Side) -> Callable[[Sequence[int]], None]:
    def read(clips: Sequence[int]) -> None:
        for first in range(0, len(clips), BATCH):
            side(clips[first : first + BATCH])

    return read


def _require_equal(sides: Mapping[str, Side], clips: Sequence[int]) -> None:
    batches = {name: side(clips) for name, side in sides.items()}
    first = next(iter(batches.values()))
    for name, batch in batches.items():
        if not torch.equal(batch, first):
            raise DesedTaskError(f"decode: the clips of side {name!r} are not those of the files")


def _write(folder: Path, num_clips: int) -> Corpus:
    """Coloured noise that swells and fades, which FLAC makes about as small as mixtures of recordings."""
    rng = np.random.default_rng(SEED)
    corpus = Corpus(folder)
    (folder / "mixtures").mkdir()
    for number in tqdm(range(num_clips), desc="writing mixtures", unit="clip", disable=None):
        noise = np.convolve(rng.normal(size=NUM_SAMPLES), 0.9 ** np.arange(40), mode="same")
        samples = 900 * noise * np.sin(np.linspace(0, np.pi, NUM_SAMPLES)) ** 2
        content = encode_flac(np.rint(samples).clip(-32_768, 32_767).astype(np.int16), RATE)
        (folder / "mixtures" / f"mix_{number:05d}.flac").write_bytes(content)
        (folder / "mixtures" / f"mix_{number:05d}.txt").write_text("0.5\t4.5\tnoise\n", encoding="utf-8")
    pack_lmdb(items_of_folders([folder / "mixtures"], ","), LmdbPacking(corpus.lmdb, 1 << 20, 1000))
    return corpus


def _drop_cached(corpus: Corpus) -> None:
    """Ask the system to forget the files, so that they come from the disk."""
    close_lmdb(corpus.lmdb)
    for path in (corpus.lmdb, *corpus.files):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _nothing() -> None:
    """Pages stay where they are."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
